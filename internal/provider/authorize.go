package provider

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/lanyardhq/lanyard/presets"
)

// AuthorizeRequest is one authorization request (RFC 6749 §4.1.1).
type AuthorizeRequest struct {
	State string
	// Verifier is the PKCE code verifier (RFC 7636 §4.1); S256 of it is sent.
	Verifier string
	// Scopes that the person has seen, by parameter.
	Scopes Scopes
	// Extra are parameters that a caller may add, such as login_hint. Those that
	// the provider's file does not allow are left out.
	Extra map[string]string
}

// AuthorizeURL is where the person is sent.
func (e *Engine) AuthorizeURL(t Target, r AuthorizeRequest) (string, error) {
	p := t.Provider
	if t.Client.ID == "" || r.State == "" {
		return "", fmt.Errorf("%w: no client id or no state", ErrTarget)
	}
	if p.Lifecycle.Status == "sunset" {
		return "", fmt.Errorf("%w: %s ended its OAuth on %s: %s", ErrTarget, p.DisplayName, p.Lifecycle.Date, p.Lifecycle.Replacement)
	}
	if err := p.CheckRedirect(t.RedirectURI); err != nil {
		return "", fmt.Errorf("%w: %w", ErrTarget, err)
	}
	f, err := e.fill(t, nil)
	if err != nil {
		return "", err
	}
	endpoint, err := f.url(p.AuthorizationEndpoint)
	if err != nil {
		return "", err
	}
	config := oauth2.Config{
		ClientID:    t.Client.ID,
		RedirectURL: t.RedirectURI,
		Endpoint:    oauth2.Endpoint{AuthURL: endpoint.String()},
	}
	var options []oauth2.AuthCodeOption
	if p.PKCE.Mode != "disabled" {
		if len(r.Verifier) < 43 {
			return "", fmt.Errorf("%w: the PKCE verifier has less than 43 characters (RFC 7636 §4.1)", ErrTarget)
		}
		options = append(options, oauth2.S256ChallengeOption(r.Verifier))
	}
	u, err := url.Parse(config.AuthCodeURL(r.State, options...))
	if err != nil {
		return "", fmt.Errorf("%w: the authorization endpoint is not a URL", ErrTarget)
	}
	query := u.Query()
	if err := addScopes(query, p.Scope, r.Scopes); err != nil {
		return "", err
	}
	for name, value := range r.Extra {
		if slices.Contains(p.AuthorizationParams.Allowed, name) {
			query.Set(name, value)
		}
	}
	if err := f.texts(p.AuthorizationParams.Fixed, query.Set); err != nil {
		return "", err
	}
	for _, name := range p.AuthorizationParams.Omit {
		query.Del(name)
	}
	for name, theirs := range p.AuthorizationParams.Rename {
		if query.Has(name) {
			query.Set(theirs, query.Get(name))
			query.Del(name)
		}
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

func addScopes(query url.Values, s presets.Scope, asked Scopes) error {
	main := asked[""]
	if len(main) == 0 {
		main = s.Default
	}
	params := []presets.ScopeParam{{Param: s.Param, Separator: s.Separator}}
	params = append(params, s.Additional...)
	for i, param := range params {
		scopes := asked[param.Param]
		if i == 0 {
			scopes = append(slices.Clone(main), s.Offline...)
			param.Param = orElse(param.Param, "scope")
		}
		separator := orElse(param.Separator, " ")
		var unique []string
		for _, scope := range scopes {
			// A scope that held a separator would ask for more than was shown.
			if scope == "" || strings.Contains(scope, separator) || strings.ContainsFunc(scope, notScopeChar) {
				return fmt.Errorf("%w: %q is not one scope (RFC 6749 §3.3)", ErrTarget, scope)
			}
			if !slices.Contains(unique, scope) {
				unique = append(unique, scope)
			}
		}
		if len(unique) > 0 && param.Param != "none" {
			query.Set(param.Param, strings.Join(unique, separator))
		}
	}
	for name := range asked {
		if name != "" && !slices.ContainsFunc(s.Additional, func(p presets.ScopeParam) bool { return p.Param == name }) {
			return fmt.Errorf("%w: the provider has no scope parameter %q", ErrTarget, name)
		}
	}
	return nil
}

func notScopeChar(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
