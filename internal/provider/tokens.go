package provider

import (
	"slices"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

const maxMetadata = 1024

// granted is one token of a reply.
type granted struct {
	token       token.Token
	renewable   token.Renewable // RefreshToken is empty when none came
	scopesKnown bool
}

// roots are the places of a provider's tokens in a reply to a code.
func roots(p presets.Provider) []presets.TokenRoot {
	if len(p.Response.Tokens) == 0 {
		return []presets.TokenRoot{{}}
	}
	return p.Response.Tokens
}

// refreshRoot is where the reply to a refresh has the token of that name.
func refreshRoot(p presets.Provider, name string) string {
	for _, root := range roots(p) {
		if root.Name == name {
			return orElse(root.RefreshRoot, root.Root)
		}
	}
	return ""
}

// read takes one token from below a root; ok is false when there is none that
// could be sent in a header (RFC 6749 appendix A.12).
func read(p presets.Provider, doc any, now time.Time) (g granted, ok bool) {
	fields := p.Response.Fields
	access := firstText(doc, orPaths(fields.AccessToken, "access_token"))
	if !presentable(access) {
		return granted{}, false
	}
	g.token = token.Token{
		AccessToken: token.Secret(access),
		TokenType:   clean(firstText(doc, orPaths(fields.TokenType, "token_type")), maxCode, []string{access}),
		ExpiresAt:   expiry(doc, orPaths(fields.ExpiresIn, "expires_in"), orPaths(fields.ExpiresAt, "expires_at"), now),
	}
	ttl := p.Refresh.AccessTokenTTL.Value()
	if absent := p.Refresh.TTLIfAbsent; g.token.ExpiresAt.IsZero() && (absent == "" || absent == "ttl") && ttl > 0 {
		g.token.ExpiresAt = now.Add(ttl)
	}
	separator := orElse(p.Scope.Response.Separator, " ")
	g.token.Scopes, g.scopesKnown = scopes(lookup(doc, orElse(p.Scope.Response.Path, "scope")), separator)
	if refresh := firstText(doc, orPaths(fields.RefreshToken, "refresh_token")); presentable(refresh) {
		g.renewable.RefreshToken = token.Secret(refresh)
	}
	g.renewable.ExpiresAt = expiry(doc, orPaths(fields.RefreshTokenExpiresIn, "refresh_token_expires_in"),
		orPaths(fields.RefreshTokenExpiresAt, "refresh_token_expires_at"), now)
	return g, true
}

func presentable(secret string) bool {
	return secret != "" && !strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r > '~' })
}

// metadata keeps what the provider's file names, by path.
func metadata(p presets.Provider, doc any, into map[string]string, secrets []string) {
	for _, path := range p.Response.Metadata {
		if value, ok := text(lookup(doc, path)); ok {
			into[path] = clean(value, maxMetadata, secrets)
		}
	}
}

// summary fills in what all tokens of the set say together.
func (r *Result) summary(known map[string]bool) {
	r.ScopesGranted, r.ScopesKnown = nil, len(r.Set.Access.Tokens) > 0
	for _, name := range names(r.Set.Access.Tokens) {
		r.ScopesKnown = r.ScopesKnown && known[name]
		for _, scope := range r.Set.Access.Tokens[name].Scopes {
			if !slices.Contains(r.ScopesGranted, scope) {
				r.ScopesGranted = append(r.ScopesGranted, scope)
			}
		}
	}
}
