package authserver_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

const (
	base     = "https://lanyard.example"
	drive    = base + "/mcp/drive"
	mail     = base + "/mcp/mail"
	verifier = "a-verifier-of-the-client-with-43-characters-or-more"
	browser  = "browser"
	callback = "https://client.example/callback"
)

var ann = authserver.User{Tenant: "default", ID: "ann"}

// servers is a catalogue.
type servers []presets.Server

func (s servers) Servers() []presets.Server { return s }

func (s servers) Server(name string) (presets.Server, bool) {
	for _, p := range s {
		if p.Name == name {
			return p, true
		}
	}
	return presets.Server{}, false
}

var twoServers = servers{
	{Name: "drive", DisplayName: "Drive", OAuthScopes: []presets.OAuthScope{{Scope: "files.read"}, {Scope: "files.write"}, {Scope: "files.read", Param: "user_scope"}}},
	{Name: "mail", DisplayName: "Mail"},
}

// world is an authorization server, its store and its clock.
type world struct {
	*authserver.Server
	store authserver.Store
	mu    sync.Mutex
	now   time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), store: fake.New().AuthServer()}
	w.Server = &authserver.Server{
		Store: w.store, Catalogue: twoServers, BaseURL: base, Redirects: authserver.DefaultRedirects, AllowLoopback: true,
		Now: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now },
	}
	return w
}

func (w *world) pass(d time.Duration) { w.mu.Lock(); defer w.mu.Unlock(); w.now = w.now.Add(d) }

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantCode reports unless err is an [*authserver.Error] of that code.
func wantCode(t *testing.T, err error, code string) *authserver.Error {
	t.Helper()
	var problem *authserver.Error
	if !errors.As(err, &problem) || problem.Code != code {
		t.Fatalf("error %v (%+v), want %s", err, problem, code)
	}
	return problem
}

// enter makes a registered client.
func (w *world) enter(t *testing.T, redirectURIs ...string) authserver.Client {
	t.Helper()
	c, secret, err := w.Enter(t.Context(), "A client", redirectURIs, authserver.AuthNone)
	ok(t, err)
	if secret != "" {
		t.Error("a public client has a secret")
	}
	return c
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// asking is an authorization request that is good.
func asking(client string) url.Values {
	return url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {callback}, "state": {"st4te"}, "resource": {drive},
		"code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
	}
}

// with is the values with one replaced; without one if there is none.
func with(q url.Values, name string, values ...string) url.Values {
	out := url.Values{}
	for k, v := range q {
		out[k] = v
	}
	if out[name] = values; len(values) == 0 {
		delete(out, name)
	}
	return out
}

// code goes through the person's part and returns the code.
func (w *world) code(t *testing.T, q url.Values) string {
	t.Helper()
	r, err := w.Authorize(t.Context(), q, browser)
	ok(t, err)
	_, err = w.Allow(t.Context(), r.ID, browser, ann, "flo_1", "")
	ok(t, err)
	to, err := w.Finish(t.Context(), r.ID, browser, ann, "con_1")
	ok(t, err)
	return query(t, to).Get("code")
}

func query(t *testing.T, raw string) url.Values {
	t.Helper()
	u, err := url.Parse(raw)
	ok(t, err)
	return u.Query()
}

// taking is the token request for a code.
func taking(client, code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "client_id": {client}, "redirect_uri": {callback},
		"code_verifier": {verifier}, "resource": {drive},
	}
}

func renewing(client string, refresh token.Secret) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "client_id": {client}, "refresh_token": {refresh.Reveal()}}
}

// signIn returns a client and its first tokens.
func (w *world) signIn(t *testing.T) (string, authserver.Answer) {
	t.Helper()
	c := w.enter(t, callback)
	a, err := w.Token(t.Context(), taking(c.ID, w.code(t, asking(c.ID))), "")
	ok(t, err)
	return c.ID, a
}

// wantLive reports unless the access token is good, or not, at the resource.
func (w *world) wantLive(t *testing.T, access token.Secret, resource string, want bool) {
	t.Helper()
	_, err := w.Check(t.Context(), access, resource)
	if want && err != nil || !want && !errors.Is(err, authserver.ErrNoGrant) {
		t.Errorf("access token at %s: %v, want good: %v", resource, err, want)
	}
}

// members reads a JSON document.
func members(t *testing.T, doc json.RawMessage) map[string]any {
	t.Helper()
	var m map[string]any
	ok(t, json.Unmarshal(doc, &m))
	return m
}

// register makes a client that registers itself, and returns the answer.
func (w *world) register(t *testing.T, body string) (id string, answer map[string]any) {
	t.Helper()
	doc, err := w.Register(t.Context(), []byte(body), "192.0.2.1")
	ok(t, err)
	answer = members(t, doc)
	return answer["client_id"].(string), answer
}
