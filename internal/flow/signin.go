package flow

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/presets"
)

// SignInClient is the name of no provider, under which a tenant's client at its
// OpenID Connect issuer is kept as those at providers are. A tenant never uses
// another one's: its secret would be sent to another issuer than its own.
const SignInClient = presets.SignInClient

// Method is how a tenant's people show who they are.
type Method string

// The methods of signing in.
const (
	// Local: whoever opens the page on this machine is its owner.
	Local Method = "local"
	// ByLink: a connect link, or the owner's, opens a page session.
	ByLink Method = "link"
	// OIDC: an OpenID Connect issuer says who it is.
	OIDC Method = "oidc"
	// LoginURL: the tenant's own login, whose backend confirms who it is.
	LoginURL Method = "login_url"
)

// The claims of an id token that can be the user's id.
const (
	ClaimSubject = "sub"
	ClaimEmail   = "email"
)

// SignIn is how a tenant's people sign in.
type SignIn struct {
	// Method, when empty, is ByLink.
	Method Method `json:"method,omitempty"`
	// Issuer is the OpenID Connect issuer, exactly as it names itself.
	Issuer string `json:"issuer,omitempty"`
	// Domains and Subjects are whom of the issuer's people the tenant lets in:
	// by the domain of an address that the issuer has verified, or by subject.
	// Either is enough.
	Domains  []string `json:"domains,omitempty"`
	Subjects []string `json:"subjects,omitempty"`
	// Anybody lets in everybody whom the issuer knows, instead of a list.
	Anybody bool `json:"anybody,omitempty"`
	// UserClaim is the claim that is the user's id: ClaimSubject, which it is
	// when empty, or ClaimEmail, if the issuer has verified it.
	UserClaim string `json:"user_claim,omitempty"`
	// LoginURL is the tenant's own login.
	LoginURL string `json:"login_url,omitempty"`
}

// Way is the method; of a tenant that says nothing, ByLink.
func (s SignIn) Way() Method {
	if s.Method == "" {
		return ByLink
	}
	return s.Method
}

// Elsewhere is the host where a person signs in; empty: not by a page of
// somebody else's.
func (s SignIn) Elsewhere() string {
	raw := map[Method]string{OIDC: s.Issuer, LoginURL: s.LoginURL}[s.Way()]
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

var domain = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)

// Check says what is wrong with the settings. allowLoopback lets the addresses
// be plain http on this machine.
func (s SignIn) Check(allowLoopback bool) error {
	way := s.Way()
	if way != OIDC && (s.Issuer != "" || len(s.Domains)+len(s.Subjects) > 0 || s.Anybody || s.UserClaim != "") {
		return fmt.Errorf("an issuer, and whom of it to let in, are for the method %s", OIDC)
	}
	if way != LoginURL && s.LoginURL != "" {
		return fmt.Errorf("a login URL is for the method %s", LoginURL)
	}
	switch way {
	case Local, ByLink:
		return nil
	case LoginURL:
		if err := checkAddress(s.LoginURL, allowLoopback); err != nil {
			return fmt.Errorf("the login URL %w", err)
		}
		return nil
	case OIDC:
		return s.checkOIDC(allowLoopback)
	}
	return fmt.Errorf("%q is no way to sign in: use %s, %s or %s", way, ByLink, OIDC, LoginURL)
}

func (s SignIn) checkOIDC(allowLoopback bool) error {
	if err := checkAddress(s.Issuer, allowLoopback); err != nil {
		return fmt.Errorf("the issuer %w", err)
	}
	if strings.Contains(s.Issuer, "?") { // OpenID Connect Discovery 1.0 §3
		return errors.New("the issuer must have no query")
	}
	if s.UserClaim != "" && s.UserClaim != ClaimSubject && s.UserClaim != ClaimEmail {
		return fmt.Errorf("the user's id must be the claim %s or %s", ClaimSubject, ClaimEmail)
	}
	for _, d := range s.Domains {
		if !domain.MatchString(d) {
			return fmt.Errorf("%q is no domain of addresses: write it in lower case, such as example.com", d)
		}
	}
	if slices.Contains(s.Subjects, "") {
		return errors.New("a subject is empty")
	}
	listed := len(s.Domains)+len(s.Subjects) > 0
	switch {
	case !listed && !s.Anybody:
		return errors.New("neither domains nor subjects are named, which would let in everybody whom the issuer knows: name some, or say that anybody may come in")
	case listed && s.Anybody:
		return errors.New("domains or subjects are named, and anybody is let in: choose one")
	}
	return nil
}

// checkAddress goes on with what was being checked, so that the caller names it.
func checkAddress(raw string, allowLoopback bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || strings.ContainsAny(raw, "\\#"):
		return errors.New("must be an address such as https://accounts.example.com, without a user or a fragment")
	case u.Scheme == "https", u.Scheme == "http" && allowLoopback && provider.IsLoopback(u.Hostname()):
		return nil
	}
	return errors.New("must be https")
}
