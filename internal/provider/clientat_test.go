package provider

import (
	"net/url"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/token"
)

// TestShippedProvidersAtAHost: everything that is asked of GitLab and GitHub is
// asked where the client is, with what a person types or we fill in left aside.
func TestShippedProvidersAtAHost(t *testing.T) {
	t.Parallel()
	all := shippedProviders(t)
	for _, tt := range []struct{ name, host, web, api string }{
		{"gitlab", "", "https://gitlab.com", "https://gitlab.com/api/v4"},
		{"gitlab", "git.acme.example", "https://git.acme.example", "https://git.acme.example/api/v4"},
		{"github", "git.acme.example", "https://git.acme.example", "https://git.acme.example/api/v3"},
		{"github.app", "octocorp.ghe.com", "https://octocorp.ghe.com", "https://api.octocorp.ghe.com"},
	} {
		p := all[tt.name]
		target := targetOf(p)
		evil := map[string]string{"host": "evil.example", "api": "https://evil.example"}
		target.Params, target.Deployment = evil, evil
		if tt.host != "" {
			target.Client.Parameters = map[string]string{"host": tt.host}
		}
		c := &canned{body: `{"access_token":"a","refresh_token":"r","expires_in":7200,"token_type":"bearer","id":1}`}
		e := engineOver(c)
		to, err := e.AuthorizeURL(target, AuthorizeRequest{State: "s", Verifier: verifier})
		if err != nil || !strings.HasPrefix(to, tt.web+"/") {
			t.Errorf("%s at %s: a person is sent to %s, %v", tt.name, tt.host, to, err)
		}
		res, err := e.Exchange(t.Context(), target, "code", verifier, url.Values{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Identity(t.Context(), target, res); err != nil {
			t.Error(err)
		}
		if p.Refresh.Grant != "none" {
			if _, err := e.Refresh(t.Context(), target, held(p).Grant, token.Access{}); err != nil {
				t.Error(err)
			}
		}
		if _, err := e.Revoke(t.Context(), target, held(p)); err != nil {
			t.Error(err)
		}
		if len(c.seen) < 3 {
			t.Errorf("%s: %d requests", tt.name, len(c.seen))
		}
		for _, s := range c.seen {
			if !strings.HasPrefix(s.url, tt.web+"/") && !strings.HasPrefix(s.url, tt.api+"/") {
				t.Errorf("%s at %s: %s was asked", tt.name, tt.host, s.url)
			}
		}
		if identity := c.seen[1].url; identity != tt.api+"/user" {
			t.Errorf("%s at %s: whose account it is was asked at %s", tt.name, tt.host, identity)
		}
	}
}

// TestPrivateHostIsRefused: a host in a private network is no exception for being
// the client's.
func TestPrivateHostIsRefused(t *testing.T) {
	t.Parallel()
	p := shippedProviders(t)["gitlab"]
	for _, host := range []string{"gitlab.internal", "gitlab.acme.local", "git.lan", "git.home.arpa"} {
		target := targetOf(p)
		target.Client.Parameters = map[string]string{"host": host}
		c := &canned{}
		if _, err := engineOver(c).Exchange(t.Context(), target, "code", verifier, url.Values{}); err == nil || len(c.seen) != 0 {
			t.Errorf("%s: %v, %d requests", host, err, len(c.seen))
		}
	}
}
