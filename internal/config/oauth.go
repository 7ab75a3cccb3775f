package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// webSchemes belong to no program of a person's own. A redirect to one of the
// last ones would run what a client wrote.
var webSchemes = []string{"https", "http", "javascript", "data", "vbscript", "file", "blob", "about"}

// CheckOAuthRedirect reports a redirect URI with a scheme of its own that no MCP
// client's can be: those of the web are not allowed by a list, but checked.
func CheckOAuthRedirect(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || strings.Contains(raw, "#") || slices.Contains(webSchemes, u.Scheme) {
		return fmt.Errorf("%q is not the redirect URI of a program, such as cursor://anysphere.cursor-mcp/oauth/callback", raw)
	}
	return nil
}

func oauthRedirects(text string) ([]string, error) {
	all := strings.Fields(text)
	for _, raw := range all {
		if err := CheckOAuthRedirect(raw); err != nil {
			return nil, fmt.Errorf("%w: LANYARD_OAUTH_REDIRECTS: %w", ErrInvalid, err)
		}
	}
	return all, nil
}
