package provider

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// Where a grant was ended.
const (
	RevokedAtProvider = "provider"
	RevokedLocally    = "local_only"
)

// Outcome is what became of a revocation.
type Outcome struct {
	Revoked string
	// Detail is for the person who disconnected.
	Detail string
}

// Revoke ends the set at the provider. Revoking what has already ended
// succeeds. What one revocation ends is Provider.Revocation.Revokes: the caller
// decides first whether other connections would die with it.
//
// When err is not nil the outcome is local_only, and the provider may or may
// not have acted; the call may be repeated.
func (e *Engine) Revoke(ctx context.Context, t Target, set token.Set) (Outcome, error) {
	p := t.Provider
	local := Outcome{Revoked: RevokedLocally}
	if p.Revocation.Mode == "" || p.Revocation.Mode == "none" {
		local.Detail = p.DisplayName + " offers no way to revoke: remove the app in the account's settings there"
		return local, nil
	}
	victims := victims(p.Revocation, set)
	if len(victims) == 0 {
		local.Detail = "there was nothing to revoke"
		return local, nil
	}
	var errs []error
	for _, victim := range victims {
		if err := e.revoke(ctx, t, set.Access.Metadata, victim); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		local.Detail = p.DisplayName + " did not confirm: remove the app in the account's settings there"
		return local, joined(errs)
	}
	return Outcome{Revoked: RevokedAtProvider, Detail: "revoked at " + p.DisplayName}, nil
}

// victim is one token to revoke.
type victim struct {
	secret string
	hint   string // token_type_hint, RFC 7009 §2.1
}

// victims are the tokens to present: of each name the refresh token if there is
// one, unless the provider wants the access token. One is enough where it ends
// the whole grant.
func victims(r presets.Revocation, set token.Set) []victim {
	all := map[string]victim{}
	for name, t := range set.Access.Tokens {
		all[name] = victim{secret: t.AccessToken.Reveal(), hint: "access_token"}
	}
	if r.Use != "access_token" {
		for name, renewable := range set.Grant.Renewables {
			all[name] = victim{secret: renewable.RefreshToken.Reveal(), hint: "refresh_token"}
		}
	}
	var out []victim
	for _, name := range names(all) {
		out = append(out, all[name])
	}
	if len(out) > 1 && (r.Revokes == presets.RevokesGrant || r.Revokes == presets.RevokesAppInstall) {
		out = out[:1]
	}
	return out
}

func (e *Engine) revoke(ctx context.Context, t Target, metadata map[string]string, v victim) error {
	c, err := e.revokeCall(t, metadata, v)
	if err != nil {
		return err
	}
	_, err = e.send(ctx, t.Provider, c)
	var failed *Error
	if errors.As(err, &failed) && gone(t.Provider.Revocation, failed) {
		return nil
	}
	return err
}

// gone reports whether a refusal says that there is nothing left to end.
func gone(r presets.Revocation, failed *Error) bool {
	return failed.Code == "invalid_token" || slices.Contains(r.Gone, failed.Code) || statusIn(r.GoneStatus, failed.Status)
}

func (e *Engine) revokeCall(t Target, metadata map[string]string, v victim) (call, error) {
	f, err := e.fill(t, metadata)
	if err != nil {
		return call{}, err
	}
	r := t.Provider.Revocation
	if r.Mode == "custom" {
		return f.with("access_token", v.secret).with("token", v.secret).apiCall(t, opRevocation, *r.Request, v.secret)
	}
	u, err := f.url(r.Endpoint)
	if err != nil {
		return call{}, err
	}
	c := call{
		op: opRevocation, method: http.MethodPost, url: u, secrets: []string{v.secret},
		params: map[string]string{"token": v.secret, "token_type_hint": v.hint},
		header: http.Header{"Accept": {"application/json"}, "User-Agent": {userAgent}},
	}
	if err := f.authenticate(&c, t); err != nil {
		return call{}, err
	}
	err = f.texts(r.Params, func(name, value string) { c.params[name] = value })
	return c, err
}
