package config

import (
	"fmt"

	"github.com/lanyardhq/lanyard/internal/flow"
)

// signIn reads how people sign in; or is a setting's value, or another.
func (c Config) signIn(or func(name, otherwise string) string) (flow.SignIn, error) {
	otherwise := flow.ByLink
	if c.Personal() {
		otherwise = flow.Local
	}
	in := flow.SignIn{
		Method: flow.Method(or("LANYARD_SIGN_IN", string(otherwise))), Issuer: or("LANYARD_OIDC_ISSUER", ""),
		Domains: split(or("LANYARD_OIDC_DOMAINS", ""), ","), Subjects: split(or("LANYARD_OIDC_SUBJECTS", ""), ","),
		UserClaim: or("LANYARD_OIDC_USER", ""), LoginURL: or("LANYARD_LOGIN_URL", ""),
	}
	switch or("LANYARD_OIDC_ANYBODY", "off") {
	case "on":
		in.Anybody = true
	case "off":
	default:
		return in, fmt.Errorf("%w: LANYARD_OIDC_ANYBODY must be on or off", ErrInvalid)
	}
	if in.Method == flow.Local && !c.Personal() {
		return in, fmt.Errorf("%w: LANYARD_SIGN_IN=local is for a machine whose pages nobody else can open: LANYARD_ADDR and LANYARD_BASE_URL must be loopback", ErrInvalid)
	}
	if err := in.Check(true); err != nil {
		return in, fmt.Errorf("%w: LANYARD_SIGN_IN=%s: %w (LANYARD_OIDC_ISSUER, LANYARD_OIDC_DOMAINS, LANYARD_OIDC_SUBJECTS, LANYARD_OIDC_ANYBODY, LANYARD_OIDC_USER, LANYARD_LOGIN_URL)", ErrInvalid, in.Method, err)
	}
	return in, nil
}
