package flow_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/presets"
)

// Files of an overlay: a provider that departs from the RFCs wherever it can, and
// a server that needs it. BASE is where the provider is.
const (
	oddProvider = `id: odd
display_name: Odd
parameters: {room: {label: Room, pattern: '^[a-z]+$'}}
authorization_endpoint: BASE/{room}/ask
token_endpoint: BASE/{room}/code
refresh_endpoint: BASE/{room}/again
client_auth: {methods: [header], header: "Key {client_secret}"}
pkce: {mode: required}
scope: {param: wants, separator: "|", offline: [forever], response: {path: may}}
authorization_params: {rename: {client_id: app}, fixed: {kind: long}}
callback: {capture: [corner]}
requests:
  code: {encoding: json, rename: {code: ticket}, omit: [grant_type], params: {app: "{client_id}"}}
  refresh: {encoding: query, params: {app: "{client_id}"}}
response:
  success: {path: fine, equals: "yes"}
  error: {code: [trouble]}
  tokens: [{root: data}]
  fields: {access_token: [pass], refresh_token: [next], expires_in: [seconds]}
  metadata: [data.house]
refresh: {rotation: always}
errors: [{when: {code: [worn_out]}, class: reauthorize}]
api: {authorization: "Pass {access_token}"}
identity: {from: request, request: {url: "BASE/{room}/who", method: POST}, subject: [n], label: [name]}
discovery: {request: {url: "BASE/{room}/places"}, kind: place, id: id, label: name, metadata: {place: id}}
revocation: {mode: custom, use: access_token, revokes: grant, request: {url: "BASE/{room}/end", method: DELETE, encoding: query, params: {why: done}}}
`
	oddServer = `name: odd
display_name: Odd
description: What is odd.
auth_type: oauth
oauth_service: odd
oauth_scopes: [look, touch]
oauth_to_env_mapping: {access_token: ODD_PASS, place: ODD_PLACE}
server: {registry: command, command: [odd-server]}
rotation: restart
`
)

// odd is that provider. It answers nothing that is not exactly as it wants it.
type odd struct {
	t         *testing.T
	mu        sync.Mutex
	challenge string
	next, n   int
	ended     bool
}

func (o *odd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q, auth := r.URL.Query(), r.Header.Get("Authorization")
	var body map[string]string
	_ = json.NewDecoder(r.Body).Decode(&body)
	pass := fmt.Sprintf("Pass pass-%s-%d", canary, o.n)
	switch request := r.Method + " " + r.URL.Path; request {
	case "GET /attic/ask":
		if q.Get("app") != "lanyard-client" || q.Has("client_id") || q.Get("wants") != "look|touch|forever" || q.Get("kind") != "long" {
			o.t.Errorf("asked with %v", q)
		}
		o.challenge = q.Get("code_challenge")
		back := url.Values{"code": {"ticket-" + canary}, "state": {q.Get("state")}, "corner": {"left"}}
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	case "POST /attic/code":
		if body["ticket"] != "ticket-"+canary || body["app"] != "lanyard-client" || len(body) != 4 || oauth2.S256ChallengeFromVerifier(body["code_verifier"]) != o.challenge ||
			auth != "Key "+canary+"-client-secret" {
			o.t.Errorf("the code came with %d fields", len(body))
		}
		o.grant(w, `"may": "look touch", "house": "red", `)
	case "POST /attic/again":
		if q.Get("refresh_token") != fmt.Sprintf("next-%s-%d", canary, o.next) || q.Get("app") != "lanyard-client" || o.ended {
			fmt.Fprint(w, `{"fine": "no", "trouble": "worn_out"}`)
			return
		}
		o.grant(w, "")
	case "POST /attic/who":
		o.answer(w, auth == pass, `{"n": 7, "name": "Ada"}`)
	case "GET /attic/places":
		o.answer(w, auth == pass, `[{"id": "p1", "name": "Attic"}]`)
	case "DELETE /attic/end":
		o.ended = true
		o.answer(w, auth == pass && q.Get("why") == "done", "")
	default:
		o.t.Errorf("unknown request %s", request)
	}
}

func (o *odd) grant(w http.ResponseWriter, more string) {
	o.n, o.next = o.n+1, o.next+1
	fmt.Fprintf(w, `{"fine": "yes", "data": {%s"pass": "pass-%s-%d", "next": "next-%[2]s-%d", "seconds": "900"}}`, more, canary, o.n, o.next)
}

func (o *odd) answer(w http.ResponseWriter, ok bool, body string) {
	if !ok {
		o.t.Error("a request does not prove itself as it should")
		w.WriteHeader(http.StatusUnauthorized)
	}
	fmt.Fprint(w, body)
}

// TestProviderFromAnOverlay: a provider and a server are added by their YAML, and
// everything that is done with a provider is done with it.
func TestProviderFromAnOverlay(t *testing.T) {
	t.Parallel()
	theirs := httptest.NewServer(&odd{t: t})
	defer theirs.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{"providers/odd.yaml": oddProvider, "servers/odd.yaml": oddServer} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "BASE", theirs.URL)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	catalogue, err := presets.Load([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	engine := &provider.Engine{AllowLoopback: true, Now: w.clock}
	w.start.Catalogue, w.start.Engine, w.fin.Catalogue, w.fin.Engine = catalogue, engine, catalogue, engine
	ctx := t.Context()

	f := w.begin(flow.StartRequest{Tenant: tenant, UserID: user, Server: "odd", Parameters: map[string]string{"room": "attic"}})
	to, err := w.start.Authorize(ctx, f.ID, anna)
	if err != nil {
		t.Fatal(err)
	}
	if f, err = w.fin.Finish(ctx, callbackFrom(t, to), anna); err != nil {
		t.Fatal(err)
	}
	c := w.row(f.Result.ConnectionID)
	set := w.open(c)
	if c.Account.Subject != "7" || c.Account.Label != "Ada" || set.Access.Metadata["place"] != "p1" || set.Access.Metadata["corner"] != "left" || set.Access.Metadata["data.house"] != "red" {
		t.Errorf("connected %+v with %v", c.Account, set.Access.Metadata)
	}

	client, _ := w.Client(ctx, "", "", "")
	target, _, err := flow.TargetOf(catalogue, "odd", c.Parameters, client, "https://lanyard.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := engine.Refresh(ctx, target, set.Grant, set.Access)
	if err != nil || !renewed.Rotated || renewed.Set.Access.Tokens[""].ExpiresAt.Sub(w.clock()).Seconds() != 900 {
		t.Fatalf("refresh: %v, rotated %v", err, renewed.Rotated)
	}
	if v, err := engine.Validate(ctx, target, renewed.Set.Access); v != provider.OK {
		t.Errorf("validate: %s %v", v, err)
	}
	if o, err := engine.Revoke(ctx, target, renewed.Set); err != nil || o.Revoked != provider.RevokedAtProvider {
		t.Errorf("revoke: %+v %v", o, err)
	}
	_, err = engine.Refresh(ctx, target, renewed.Set.Grant, renewed.Set.Access)
	if failed, ok := err.(*provider.Error); !ok || failed.Verdict != provider.Reconnect || failed.Code != "worn_out" {
		t.Errorf("after the end: %v", err)
	}
	w.noSecret(err)
}

// callbackFrom is what a browser that is sent to a provider brings back.
func callbackFrom(t *testing.T, to string) url.Values {
	t.Helper()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := browser.Get(to)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	back, err := answer.Location()
	if err != nil {
		t.Fatal(err)
	}
	return back.Query()
}
