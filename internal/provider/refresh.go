package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// Refresh renews the tokens of the given names, or of all when none is given;
// names without anything to renew with are left out, and [ErrNotRenewable] means
// that none is left. Each is a request of its own, sent at most once (RFC 6749 §6). What is
// not renewed stays as it was, and a provider that sends no new refresh token
// means that the old one goes on.
//
// An error may come together with a result: Renewed then names what was
// renewed before or beside the failure, and must be stored, because its old
// refresh tokens may be spent.
func (e *Engine) Refresh(ctx context.Context, t Target, grant token.Grant, prev token.Access, names ...string) (Result, error) {
	p := t.Provider
	result := Result{Set: token.Set{
		Grant: token.Grant{Renewables: maps.Clone(grant.Renewables)},
		Access: token.Access{
			Tokens: maps.Clone(prev.Tokens), Metadata: maps.Clone(prev.Metadata), Values: maps.Clone(prev.Values),
		},
	}}
	f, err := e.fill(t, prev.Metadata)
	if err != nil {
		return result, err
	}
	names = renewable(p, grant, prev, names)
	if len(names) == 0 {
		return result, fmt.Errorf("%w at %s", ErrNotRenewable, p.DisplayName)
	}
	if result.Set.Access.Tokens == nil {
		result.Set.Access.Tokens = map[string]token.Token{}
	}
	if result.Set.Access.Metadata == nil {
		result.Set.Access.Metadata = map[string]string{}
	}
	known := map[string]bool{}
	var errs []error
	for _, name := range names {
		if err := e.renew(ctx, t, f, &result, name, known); err != nil {
			errs = append(errs, err)
		}
	}
	result.summary(known)
	return result, joined(errs)
}

// renewable are those of the asked names that can be renewed, or all that can.
func renewable(p presets.Provider, grant token.Grant, prev token.Access, asked []string) []string {
	var can []string
	switch p.Refresh.Grant {
	case presets.GrantNone:
	case presets.GrantExchange:
		can = names(prev.Tokens)
	default:
		can = names(grant.Renewables)
		can = slices.DeleteFunc(can, func(name string) bool { return grant.Renewables[name].RefreshToken == "" })
	}
	if len(asked) == 0 {
		return can
	}
	return slices.DeleteFunc(can, func(name string) bool { return !slices.Contains(asked, name) })
}

// renew renews one token within result.
func (e *Engine) renew(ctx context.Context, t Target, f fill, result *Result, name string, known map[string]bool) error {
	c, err := f.renewCall(t, result.Set, name)
	if err != nil {
		return err
	}
	doc, found, err := e.tokens(ctx, t.Provider, c, name)
	if err != nil {
		return err
	}
	g := found[name]
	known[name] = g.scopesKnown
	if !g.scopesKnown {
		g.token.Scopes = slices.Clone(result.Set.Access.Tokens[name].Scopes)
	}
	result.Set.Access.Tokens[name] = g.token
	result.Renewed = append(result.Renewed, name)
	old, renewed := result.Set.Grant.Renewables[name], g.renewable
	if renewed.RefreshToken == "" {
		renewed.RefreshToken = old.RefreshToken
	}
	rotated := renewed.RefreshToken != old.RefreshToken
	if renewed.ExpiresAt.IsZero() && !rotated {
		renewed.ExpiresAt = old.ExpiresAt
	}
	if renewed.RefreshToken != "" {
		if result.Set.Grant.Renewables == nil {
			result.Set.Grant.Renewables = map[string]token.Renewable{}
		}
		result.Set.Grant.Renewables[name] = renewed
	}
	result.Rotated = result.Rotated || rotated
	metadata(t.Provider, doc, result.Set.Access.Metadata, result.Set.Secrets())
	return nil
}

func (f fill) renewCall(t Target, set token.Set, name string) (call, error) {
	p := t.Provider
	if p.Refresh.Grant == presets.GrantExchange {
		return f.exchangeCall(t, opRefresh, set.Access.Tokens[name].AccessToken)
	}
	refresh := set.Grant.Renewables[name].RefreshToken.Reveal()
	params := map[string]string{"grant_type": "refresh_token", "refresh_token": refresh}
	c, err := f.tokenCall(t, opRefresh, orElse(p.RefreshEndpoint, p.TokenEndpoint), p.Requests.Refresh, params)
	c.secrets = append(c.secrets, refresh)
	return c, err
}
