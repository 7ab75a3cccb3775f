package web

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
)

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// mcp is a request of an MCP client.
func (s *site) mcp(server, bearer, body string, header ...string) *httptest.ResponseRecorder {
	return s.send("POST", "/mcp/"+server, body, append([]string{"Authorization", "Bearer " + bearer, "Content-Type", "application/json"}, header...)...)
}

// mint makes an MCP token for the connection.
func (s *site) mint(c connection.Connection) string {
	s.t.Helper()
	rec := s.api("POST", "/api/v1/connections/"+c.ID+"/mcp-tokens", "")
	if rec.Code != 201 {
		s.t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	return field(s.t, rec, "token")
}

// TestEndpoint: from a minted token through the control routes to the server.
func TestEndpoint(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	bearer := s.mint(c)
	if rec := s.mcp("notes", bearer, initialize); rec.Code != 200 || !strings.Contains(rec.Body.String(), "protocolVersion") {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if rec := s.mcp("notes", bearer, initialize, "Origin", loopURL); rec.Code != 200 {
		t.Errorf("our own origin: %d", rec.Code)
	}
	for _, origin := range []string{"https://evil.test", "null", loopURL + ".evil.test"} {
		want(t, origin, s.mcp("notes", bearer, initialize, "Origin", origin), 403, "cross_site")
	}
	want(t, "no such server", s.mcp("nothing", bearer, initialize), 404, "not_found")
	const where, invalid = `Bearer resource_metadata="` + loopURL + `/.well-known/oauth-protected-resource/mcp/`, `, error="invalid_token", error_description="the token is not valid here, or not any more"`
	for name, test := range map[string]struct{ server, authorization, challenge string }{
		"nothing":        {"notes", "", where + `notes", scope="notes.read"`},
		"another scheme": {"notes", "Basic " + bearer, where + `notes", scope="notes.read"`},
		"made up":        {"notes", "Bearer lyt_canary", where + `notes"` + invalid + `, scope="notes.read"`},
		"another server": {"mail", "Bearer " + bearer, where + `mail"` + invalid + `, scope="notes.read notes.write"`},
		"an API key":     {"notes", "Bearer " + apiKey, where + `notes"` + invalid + `, scope="notes.read"`},
	} {
		rec := s.send("POST", "/mcp/"+test.server, initialize, "Authorization", test.authorization)
		want(t, name, rec, 401, "invalid_token")
		if got := rec.Header().Get("WWW-Authenticate"); got != test.challenge { // RFC 6750 §3
			t.Errorf("%s: %s, want %s", name, got, test.challenge)
		}
		if strings.Contains(rec.Body.String(), "canary") {
			t.Errorf("%s: the token is repeated", name)
		}
	}
	if rec := s.send("POST", "/mcp/notes", initialize, "Authorization", "bearer  "+bearer, "Content-Type", "application/json"); rec.Code != 200 {
		t.Errorf("schemes have no case (RFC 9110 §11.1): %d", rec.Code)
	}
	if rec := s.signedIn("ada").fetch("POST", "/mcp/notes", initialize); rec.Code != 401 {
		t.Errorf("a page session is no MCP token: %d", rec.Code)
	}

	large := strings.Repeat("x", 8<<20+1)
	rec := s.mcp("notes", bearer, large)
	if rec.Code != 413 || !strings.Contains(rec.Body.String(), "body_too_large") {
		t.Errorf("too large: %d %s", rec.Code, rec.Body)
	}
	chunked := httptest.NewRequest("POST", loopURL+"/mcp/notes", struct{ *strings.Reader }{strings.NewReader(large)})
	chunked.ContentLength = -1
	chunked.Header.Set("Authorization", "Bearer "+bearer)
	chunked.Header.Set("Content-Type", "application/json")
	rec = httptest.NewRecorder()
	s.handler.ServeHTTP(rec, chunked)
	if rec.Code != 413 || !strings.Contains(rec.Body.String(), "body_too_large") {
		t.Errorf("too large, in chunks: %d %s", rec.Code, rec.Body)
	}
	if rec := s.mcp("notes", bearer, initialize); rec.Code != 200 {
		t.Errorf("afterwards: %d", rec.Code)
	}

	s.setStatus(c, connection.ReconnectNeeded)
	rec = s.mcp("notes", bearer, initialize)
	// In the words of JSON-RPC and under the request's own id: clients show that.
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), `"id":1`) || !strings.Contains(rec.Body.String(), "/mcp/connections/"+c.ID) || !strings.Contains(rec.Body.String(), "reconnect_needed") || !strings.Contains(rec.Body.String(), `"jsonrpc"`) {
		t.Errorf("reconnect needed: %d %s", rec.Code, rec.Body)
	}
	s.setStatus(c, connection.Connected)
	want(t, "disconnect", s.api("DELETE", "/api/v1/connections/"+c.ID, ""), 200, "")
	want(t, "after the disconnect", s.mcp("notes", bearer, initialize), 401, "invalid_token")
}

// TestKnownServer: what a server offers is on the page, in the API and at the
// endpoint while nothing runs, and while its connection needs its person.
func TestKnownServer(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	s.host.OnlyForCalls = true
	c := s.connected("ada", "chat")
	bearer := s.mint(c)
	for _, status := range []connection.Status{connection.Connected, connection.ReconnectNeeded} {
		s.setStatus(c, status)
		rec := s.mcp("chat", bearer, initialize)
		session := rec.Header().Get("Mcp-Session-Id")
		if rec.Code != 200 || session == "" || !strings.Contains(rec.Body.String(), `"serverInfo"`) {
			t.Fatalf("%s: %d %s", status, rec.Code, rec.Body)
		}
		if rec = s.mcp("chat", bearer, `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, "Mcp-Session-Id", session); !strings.Contains(rec.Body.String(), "say_hello") {
			t.Errorf("%s: %d %s", status, rec.Code, rec.Body)
		}
		if page := s.signedIn("ada").get("/mcp/connections/" + c.ID); !strings.Contains(page.Body.String(), "say_hello") {
			t.Errorf("%s: not on the page", status)
		}
		if rec := s.api("GET", "/api/v1/mcp/servers?user_id=ada", ""); !strings.Contains(rec.Body.String(), `"tools_count":1`) {
			t.Errorf("%s: %s", status, rec.Body)
		}
	}
	rec := s.mcp("chat", bearer, `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"say_hello"}}`, "Mcp-Session-Id", s.mcp("chat", bearer, initialize).Header().Get("Mcp-Session-Id"))
	if !strings.Contains(rec.Body.String(), `"id":3,"result"`) || !strings.Contains(rec.Body.String(), `"isError":true`) || !strings.Contains(rec.Body.String(), s.base+"/c/flo_") {
		t.Errorf("a call: %d %s", rec.Code, rec.Body)
	}
	if tasks, err := s.store.Tasks(t.Context()); err != nil || len(tasks) > 0 {
		t.Errorf("%d tasks, %v", len(tasks), err)
	}
}

func TestServerThatFails(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	bearer := s.mint(c)
	s.tasks.fail(errors.New("its own <b>words</b>"))
	rec := s.mcp("notes", bearer, initialize)
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), `"id":1`) || !strings.Contains(rec.Body.String(), "its own") || !strings.Contains(rec.Body.String(), "server_failed") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	want(t, "tools", s.api("GET", "/api/v1/connections/"+c.ID+"/tools", ""), 502, "server_failed")
	page := s.signedIn("ada").get("/mcp/connections/" + c.ID + "?tools")
	if page.Code != 200 || !strings.Contains(page.Body.String(), "its own &lt;b&gt;words&lt;/b&gt;") {
		t.Errorf("%d %s", page.Code, excerpt(page))
	}
	s.tasks.fail(nil)
	s.clock.advance(10 * time.Second)
	if rec := s.mcp("notes", bearer, initialize); rec.Code != 200 {
		t.Errorf("afterwards: %d %s", rec.Code, rec.Body)
	}
}

func TestMCPTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c, other := s.connected("ada", "notes"), s.connected("ada", "notes")
	path := "/api/v1/connections/" + c.ID + "/mcp-tokens"
	for body, status := range map[string]int{``: 201, `{}`: 201, `{"ttl":60}`: 201, `{"ttl":-1}`: 400, `{"ttl":9223372036854775807}`: 400, `{"ttl":"60"}`: 400} {
		if rec := s.api("POST", path, body); rec.Code != status {
			t.Errorf("%s: %d, want %d", body, rec.Code, status)
		}
	}
	bearer := s.mint(c)
	list := s.api("GET", path, "")
	if strings.Contains(list.Body.String(), "lyt_") || strings.Contains(list.Body.String(), `"token"`) {
		t.Error("tokens can be read again")
	}
	tokens, err := s.store.MCPTokens(t.Context(), c.Key)
	if err != nil || len(tokens) != 4 {
		t.Fatalf("%d, %v", len(tokens), err)
	}
	for _, m := range tokens {
		want(t, "through another connection", s.api("DELETE", "/api/v1/connections/"+other.ID+"/mcp-tokens/"+m.ID, ""), 404, "token_unknown")
		want(t, "revoke", s.api("DELETE", path+"/"+m.ID, ""), 204, "")
	}
	want(t, "a revoked token", s.mcp("notes", bearer, initialize), 401, "invalid_token")

	// The answer to an Idempotency-Key does not come back to life either.
	once := []string{"Idempotency-Key", "once"}
	minted := s.api("POST", path, "", once...)
	if again := s.api("POST", path, "", once...); minted.Code != 201 || field(t, again, "token") != field(t, minted, "token") {
		t.Error("a repeated request gets another token")
	}
	want(t, "revoke", s.api("DELETE", path+"/"+field(t, minted, "id"), ""), 204, "")
	want(t, "repeated after that", s.api("POST", path, "", once...), 409, "conflict")
	want(t, "and still revoked", s.mcp("notes", field(t, minted, "token"), initialize), 401, "invalid_token")

	// From the page: shown once, and revocable there.
	b := s.signedIn("ada")
	rec := b.post("/mcp/connections/" + c.ID + "/mcp-tokens")
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), "lyt_") {
		t.Fatalf("%d %s", rec.Code, excerpt(rec))
	}
	again := b.get("/mcp/connections/" + c.ID)
	if strings.Contains(again.Body.String(), "lyt_") {
		t.Error("the token is shown twice")
	}
	if tokens, err = s.store.MCPTokens(t.Context(), c.Key); err != nil || len(tokens) != 1 {
		t.Fatalf("%d, %v", len(tokens), err)
	}
	if rec := b.post("/mcp/connections/" + c.ID + "/mcp-tokens/" + tokens[0].ID + "/revoke"); rec.Code != 303 {
		t.Errorf("%d %s", rec.Code, excerpt(rec))
	}
}

func TestTools(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	path := "/api/v1/connections/" + c.ID + "/tools"
	for _, bad := range []string{"x", "-1", "61"} {
		want(t, "wait="+bad, s.api("GET", path+"?wait="+bad, ""), 400, "invalid_request")
	}
	if rec := s.api("GET", path+"?wait=60", ""); rec.Code != 200 || strings.Count(rec.Body.String(), `"name"`) != 2 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	for body, status := range map[string]int{``: 200, `{}`: 200, `{"text":"x"}`: 200, `[1]`: 400, `"x"`: 400, `1`: 400, `{`: 400, `{}{}`: 400} {
		if rec := s.api("POST", path+"/whoami", body); rec.Code != status {
			t.Errorf("%s: %d, want %d: %s", body, rec.Code, status, rec.Body)
		}
	}
	b := s.signedIn("ada")
	page := b.get("/mcp/connections/" + c.ID + "?tools")
	if page.Code != 200 || strings.Contains(page.Body.String(), "<b>odd") || !strings.Contains(page.Body.String(), "odd") {
		t.Errorf("a tool's name is markup: %s", excerpt(page))
	}
	rec := b.post("/mcp/connections/"+c.ID+"/tools/whoami", "arg.text", "line\r\nline", "arg.n", "7")
	if body := rec.Body.String(); rec.Code != 200 || strings.Contains(body, "<script>alert") || !strings.Contains(body, "&lt;script&gt;") || !strings.Contains(body, "7") {
		t.Errorf("%d %s", rec.Code, excerpt(rec))
	}
	rec = b.post("/mcp/connections/"+c.ID+"/tools/whoami", "arg.text", "x", "arg.n", "seven")
	if rec.Code != 200 || !strings.Contains(strings.ToLower(rec.Body.String()), "n must be of type integer") {
		t.Errorf("%d %s", rec.Code, excerpt(rec))
	}
	rec = b.post("/mcp/connections/"+c.ID+"/tools/whoami", "arguments", "{not json")
	if rec.Code != 200 || !strings.Contains(strings.ToLower(rec.Body.String()), "not json") {
		t.Errorf("%d %s", rec.Code, excerpt(rec))
	}
}

// TestDisconnectSays what became of the grant.
func TestDisconnectSays(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	one, two := s.connected("ada", "notes"), s.connected("ada", "mail")
	for i, want := range []string{"local_only", "provider"} { // the last sibling revokes
		c := []connection.Connection{one, two}[i]
		rec := s.api("DELETE", "/api/v1/connections/"+c.ID, "")
		if rec.Code != 200 || field(t, rec, "revoked") != want {
			t.Errorf("%d %s, want %s", rec.Code, rec.Body, want)
		}
		if got := s.api("DELETE", "/api/v1/connections/"+c.ID, ""); got.Code != 404 {
			t.Errorf("again: %d", got.Code)
		}
	}
	lines, _, err := s.store.Audit().List(t.Context(), one.Tenant, struct{ Connection, User string }{User: "ada"}, "", 100)
	if err != nil || len(lines) == 0 {
		t.Fatal(err)
	}
	if all := fmt.Sprintf("%+v", lines); strings.Contains(all, "canary") {
		t.Error("the audit tells a secret")
	}
}

// TestNoListening: where a stream would hold a process, GET is refused to who
// may come in, and to nobody else is anything else said than before.
func TestNoListening(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	bearer := s.mint(s.connected("ada", "notes"))
	s.host.Inline = true
	rec := s.send("GET", "/mcp/notes", "", "Authorization", "Bearer "+bearer)
	want(t, "GET", rec, 405, "method_not_allowed")
	if got := rec.Header().Get("Allow"); got != "POST, DELETE" {
		t.Errorf("Allow: %s", got)
	}
	want(t, "GET without a bearer", s.send("GET", "/mcp/notes", ""), 401, "invalid_token")
	s.host.Inline = false
	if rec := s.mcp("notes", bearer, initialize); rec.Code != 200 {
		t.Errorf("POST: %d", rec.Code)
	}
}
