package host_test

import (
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/presets"
)

// forge is a catalogue whose provider has a host that is said with the client.
type forge struct{ catalogue }

func (forge) Provider(id string) (presets.Provider, bool) {
	return presets.Provider{ID: id, DisplayName: "Forge", AuthorizationEndpoint: "https://{host}/authorize", TokenEndpoint: "https://{host}/token",
		Parameters: map[string]presets.Parameter{
			"host": {Source: presets.SourceClient, Default: "forge.example", Pattern: `^[a-z.]+\.example$`},
			"api":  {Source: presets.SourceDerived, Cases: []presets.ParameterCase{{Value: "https://{host}/api"}}},
		}}, true
}

func forgeWorld(t *testing.T) (*world, *orders) {
	t.Helper()
	server := stdioServer("forge", "FORGE_HOST", "{host}", "FORGE_API", "{api}")
	server.Parameters = map[string]presets.Parameter{"host": {Source: presets.SourceClient}, "api": {Source: presets.SourceClient}}
	w, o := newOrders(t, server)
	w.service.Catalogue = forge{w.service.Catalogue.(catalogue)}
	w.service.Deployment = map[string]string{"host": "evil.example", "api": "https://evil.example"}
	return w, o
}

// TestServerIsWhereItsTokenIsFrom: a server is started for where access was
// granted, and a person names no other host.
func TestServerIsWhereItsTokenIsFrom(t *testing.T) {
	t.Parallel()
	w, o := forgeWorld(t)
	for granted, want := range map[string]string{"": "forge.example", "git.acme.example": "git.acme.example", "not allowed": ""} {
		c := w.connect("ada", "forge")
		_, err := w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error {
			c.Provider, c.Parameters = "forge", map[string]string{"host": "evil.example"}
			if granted != "" {
				c.ClientAt = map[string]string{"host": granted}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		s := w.begin(o, c)
		claim, err := w.service.Claim(t.Context(), s.Identity, claimRequest(s))
		if want == "" {
			if err == nil {
				t.Errorf("granted at %q, it is started with %v", granted, claim.Recipe.Env)
			}
			continue
		}
		if err != nil || claim.Recipe.Env["FORGE_HOST"] != want || claim.Recipe.Env["FORGE_API"] != "https://"+want+"/api" {
			t.Errorf("granted at %q: %v, %v", granted, claim.Recipe.Env, err)
		}
	}
}

// TestTaskOfAnotherHost: a server that runs for one host gets no token that was
// granted at another since.
func TestTaskOfAnotherHost(t *testing.T) {
	t.Parallel()
	w, o := forgeWorld(t)
	for _, name := range []string{"forge", "notes"} {
		c := w.connect("ada", name)
		regrant := func(change func(*connection.Connection)) {
			t.Helper()
			if _, err := w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error { change(c); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		regrant(func(c *connection.Connection) { c.Provider = "forge" })
		s := w.begin(o, c)
		if _, err := w.service.Claim(t.Context(), s.Identity, claimRequest(s)); err != nil {
			t.Fatal(err)
		}
		for _, suspect := range []bool{false, true} {
			ask := task.TokenRequest{TaskID: s.TaskID, MinTTL: 60, Suspect: suspect}
			if a, err := w.service.TaskToken(t.Context(), s.Identity, ask); err != nil || len(a.Tokens) == 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
		regrant(func(c *connection.Connection) {
			c.ClientAt, c.ConnectedAt = map[string]string{"host": "git.acme.example"}, w.clock.now().Add(time.Second)
		})
		for _, suspect := range []bool{false, true} {
			a, err := w.service.TaskToken(t.Context(), s.Identity, task.TokenRequest{TaskID: s.TaskID, MinTTL: 60, Suspect: suspect})
			if name == "forge" {
				wantErr(t, "a task of before", err, task.ErrRefused)
			}
			if given := len(a.Tokens) > 0; given != (name == "notes") {
				t.Errorf("%s, granted anew: a token %v, %v", name, given, err)
			}
		}
	}
}

// TestRemoteOfAnotherPlace: a remote server that refuses its token, and may take its
// time to, is not shown one that was granted for elsewhere meanwhile.
func TestRemoteOfAnotherPlace(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, farMCP())
	w, g, c := newRemote(t, "")
	server := presets.Server{Name: "far", DisplayName: "Far", AuthType: presets.TypeOAuth, OAuthService: "forge",
		Parameters: map[string]presets.Parameter{"host": {Source: presets.SourceClient}},
		Server:     presets.Program{Registry: presets.RegistryRemote, URL: f.URL + "/{host}/mcp"}}
	w.service.Catalogue = forge{catalogue{"far": server}}
	if _, err := w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error { c.Provider = "forge"; return nil }); err != nil {
		t.Fatal(err)
	}
	f.accept = func(string) bool {
		_, _ = w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error {
			c.ClientAt = map[string]string{"host": "git.acme.example"}
			return nil
		})
		g.renew(t.Context(), c.Key)
		return false
	}
	if _, _, err := via(t, w.service, c, "POST", callTool); err == nil {
		t.Error("the call was answered")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.headers) != 1 {
		t.Errorf("the server of before was asked %d times, last with %q", len(f.headers), f.headers[len(f.headers)-1].Get("Authorization"))
	}
}

// TestServerOfElsewhere: a preset that was replaced by one for the provider's default
// alone is not given what was granted at another host.
func TestServerOfElsewhere(t *testing.T) {
	t.Parallel()
	w, o := forgeWorld(t)
	for granted, good := range map[string]bool{"": true, "forge.example": true, "git.acme.example": false} {
		c := w.connect("ada", "notes") // which declares no host
		_, err := w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error {
			if c.Provider = "forge"; granted != "" {
				c.ClientAt = map[string]string{"host": granted}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		s := w.begin(o, c)
		if claim, err := w.service.Claim(t.Context(), s.Identity, claimRequest(s)); (err == nil) != good {
			t.Errorf("granted at %q: %d tokens, %v", granted, len(claim.Access.Tokens), err)
		}
	}
}
