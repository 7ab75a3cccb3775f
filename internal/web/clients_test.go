package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
)

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":`

// modern calls the tool whoami of a server as a modern client does.
func (s *site) modern(path, bearer, capabilities, more string) (status int, body string, header http.Header) {
	rec := s.send("POST", path, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{`+modernMeta+capabilities+`},"name":"whoami","arguments":{"text":"x"}`+more+`}}`,
		"Authorization", "Bearer "+bearer, "Content-Type", "application/json", "Accept", "application/json, text/event-stream",
		"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "whoami")
	return rec.Code, rec.Body.String(), rec.Header()
}

// TestClientsRevoked: who has signed in is listed, and one that is revoked is
// refused at its next request, at its session, too, and has to ask its person
// again.
func TestClientsRevoked(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	g, kept := s.letIn("default", "ada", c.ID), s.letIn("default", "ada", c.ID)
	s.letIn("default", "ada", c.ID, func(g *authserver.Grant) { g.Code.Taken, g.ClientName = false, "never came" })
	all := s.letIn("default", "ada", "")
	consent := authserver.Consent{Tenant: g.Tenant, UserID: "ada", ClientID: g.ClientID, Resource: g.Resource, ExpiresAt: time.Now().Add(time.Hour)}
	if err := s.grants.SaveConsent(t.Context(), consent); err != nil {
		t.Fatal(err)
	}
	rec := s.mcp("notes", accessOf(g).Reveal(), initialize)
	session := rec.Header().Get("Mcp-Session-Id")
	if rec.Code != 200 || session == "" {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if rec := s.mcp("notes", "", initialize, "Mcp-Session-Id", session, "Authorization", ""); rec.Code != 401 {
		t.Errorf("a session without a bearer: %d", rec.Code)
	}
	listed := s.api("GET", "/api/v1/connections/"+c.ID+"/clients", "").Body.String()
	if strings.Count(listed, `"client_id"`) != 2 || !strings.Contains(listed, g.ID) || strings.Contains(listed, "never came") || strings.Contains(listed, "canary") {
		t.Errorf("%s", listed)
	}
	ada := s.signedIn("ada")
	page := ada.get("/mcp/connections/" + c.ID).Body.String()
	if !strings.Contains(page, "A &lt;b&gt;client&lt;/b&gt;") || !strings.Contains(page, "/clients/"+g.ID+"/revoke") || strings.Contains(page, all.ID) {
		t.Error("the page does not list its clients")
	}
	if page := ada.get("/mcp/all").Body.String(); !strings.Contains(page, "/clients/"+all.ID+"/revoke") || strings.Contains(page, g.ID) {
		t.Error("the page of all servers does not list its clients")
	}
	if page := s.signedIn("ada", "notes").get("/mcp/all").Body.String(); strings.Contains(page, all.ID) {
		t.Error("a link for one server sees a client of all")
	}
	if rec := ada.post("/mcp/connections/" + c.ID + "/clients/" + g.ID + "/revoke"); rec.Code != 303 {
		t.Fatalf("revoke: %d", rec.Code)
	}
	list := `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`
	rec = s.mcp("notes", accessOf(g).Reveal(), list, "Mcp-Session-Id", session)
	want(t, "after the revocation", rec, 401, "invalid_token")
	if h := rec.Header().Get("WWW-Authenticate"); !strings.Contains(h, `error="invalid_token"`) || !strings.Contains(h, `resource_metadata="`+loopURL+`/.well-known/oauth-protected-resource/mcp/notes"`) {
		t.Errorf("%s", h)
	}
	if rec := s.mcp("notes", accessOf(kept).Reveal(), initialize); rec.Code != 200 {
		t.Errorf("another client: %d", rec.Code)
	}
	if left, err := s.grants.GetConsent(t.Context(), "default", "ada", g.ClientID, g.Resource); err != nil || left.ExpiresAt.After(time.Now()) {
		t.Errorf("its person is not asked again: %+v %v", left, err)
	}
	if rec := ada.post("/mcp/all/clients/" + all.ID + "/revoke"); rec.Code != 303 {
		t.Fatalf("revoke: %d", rec.Code)
	}
	rec = s.send("POST", "/mcp", initialize, "Authorization", "Bearer "+accessOf(all).Reveal(), "Content-Type", "application/json")
	want(t, "all servers", rec, 401, "invalid_token")
}

// TestClientsEndWithTheirConnection: what ends a connection, or a user, ends what
// their clients were allowed.
func TestClientsEndWithTheirConnection(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c, other := s.connected("ada", "notes"), s.connected("ada", "mail")
	g, stays, all := s.letIn("default", "ada", c.ID), s.letIn("default", "ada", other.ID), s.letIn("default", "ada", "")
	want(t, "disconnect", s.api("DELETE", "/api/v1/connections/"+c.ID, ""), 200, "")
	if _, err := s.grants.GetGrant(t.Context(), g.ID); err == nil {
		t.Error("the grant outlives its connection")
	}
	rec := s.mcp("notes", accessOf(g).Reveal(), initialize)
	want(t, "after the disconnect", rec, 401, "invalid_token")
	for _, g := range []authserver.Grant{stays, all} {
		if _, err := s.grants.GetGrant(t.Context(), g.ID); err != nil {
			t.Errorf("%s: %v", g.Resource, err)
		}
	}
	want(t, "delete the user", s.api("DELETE", "/api/v1/users/ada", ""), 200, "")
	for _, g := range []authserver.Grant{stays, all} {
		if _, err := s.grants.GetGrant(t.Context(), g.ID); err == nil {
			t.Errorf("%s outlives its user", g.Resource)
		}
	}
}

// TestTokensAtOtherEndpoints: a token is good at its own server and its own
// tenant's path, whatever else is right.
func TestTokensAtOtherEndpoints(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	s.connected("ada", "mail")
	abroad := c
	abroad.Tenant = "other"
	if err := s.store.Create(t.Context(), abroad); err != nil {
		t.Fatal(err)
	}
	ours, theirs := accessOf(s.letIn("default", "ada", c.ID)).Reveal(), accessOf(s.letIn("other", "ada", c.ID)).Reveal()
	minted := s.mint(c)
	for _, test := range []struct {
		path, bearer string
		status       int
	}{
		{"/mcp/notes", ours, 200}, {"/mcp/mail", ours, 401}, {"/t/other/mcp/notes", ours, 401}, {"/mcp", ours, 401}, {"/t/default/mcp/notes", ours, 404},
		{"/t/other/mcp/notes", theirs, 200}, {"/mcp/notes", theirs, 401}, {"/t/other/mcp/mail", theirs, 401}, {"/t/third/mcp/notes", theirs, 401}, {"/t/other/mcp", theirs, 401},
		{"/mcp/notes", minted, 200}, {"/t/other/mcp/notes", minted, 401},
	} {
		rec := s.send("POST", test.path, initialize, "Authorization", "Bearer "+test.bearer, "Content-Type", "application/json")
		if rec.Code != test.status || (rec.Code == 401) != (rec.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%s: %d %s", test.path, rec.Code, rec.Body)
		}
		if h := rec.Header().Get("WWW-Authenticate"); rec.Code == 401 && !strings.Contains(h, "oauth-protected-resource"+test.path+`"`) {
			t.Errorf("%s: %s", test.path, h)
		}
	}
}

// askedURL is the path of the link in an answer that asks.
func askedURL(t *testing.T, s *site, body string) (path, state string) {
	t.Helper()
	_, rest, ok := strings.Cut(body, `"url":"`+s.base)
	path, _, _ = strings.Cut(rest, `"`)
	_, rest, found := strings.Cut(body, `"requestState":"`)
	state, _, _ = strings.Cut(rest, `"`)
	if !ok || !found || !strings.HasPrefix(path, "/c/flo_") {
		t.Fatalf("it does not ask: %s", body)
	}
	return path, state
}

// TestAskedInTheMiddle: a call of a client that has signed in, whose connection
// has died, asks; its person connects; the call that is made again is served with
// what was granted anew.
func TestAskedInTheMiddle(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	bearer := accessOf(s.letIn("default", "ada", c.ID)).Reveal()
	const links = `{"elicitation":{"url":{}}}`
	if status, body, _ := s.modern("/mcp/notes", bearer, links, ""); status != 200 || !strings.Contains(body, "whoami") {
		t.Fatalf("before: %d %s", status, body)
	}
	before, err := s.store.TaskOf(t.Context(), c.Key)
	if err != nil {
		t.Fatal(err)
	}
	s.setStatus(c, connection.ReconnectNeeded)
	status, body, _ := s.modern("/mcp/notes", bearer, links, "")
	path, state := askedURL(t, s, body)
	if status != 200 || strings.Contains(path, "ada") || strings.Contains(path, "?") {
		t.Errorf("%d %s", status, path)
	}
	if _, again, _ := s.modern("/mcp/notes", bearer, links, ""); !strings.Contains(again, path) {
		t.Error("a call that is made again has another flow")
	}

	// Opened by another person, it leads nowhere and changes nothing.
	grace, nobody := s.signedIn("grace"), s.browser()
	want(t, "another person's page", grace.get(path), 403, "flow_other_person")
	want(t, "another person's consent", grace.post(path, "action", "authorize"), 403, "flow_other_person")
	want(t, "another person's cancel", grace.post(path, "action", "cancel"), 403, "flow_other_person")
	if rec := nobody.get(path); rec.Code != 401 || strings.Contains(rec.Body.String(), "Notes") {
		t.Errorf("nobody's page: %d %s", rec.Code, excerpt(rec))
	}
	want(t, "nobody's consent", nobody.post(path, "action", "authorize"), 401, "sign_in_required")
	if now, err := s.starter.Look(t.Context(), strings.TrimPrefix(path, "/c/")); err != nil || now.Browser != "" || now.Status != "started" {
		t.Errorf("it was changed: %+v %v", now, err)
	}

	ada := s.signedIn("ada")
	s.clock.advance(time.Second)
	to := ada.toProvider(strings.TrimPrefix(path, "/c/"))
	if rec := grace.get(s.answer(to)); codeOf(rec) != "state_other_browser" {
		t.Errorf("the provider's answer in another browser: %d %s", rec.Code, excerpt(rec))
	}
	if rec := ada.get(s.answer(to)); rec.Code != 303 {
		t.Fatalf("callback: %d %s", rec.Code, excerpt(rec))
	}
	status, body, _ = s.modern("/mcp/notes", bearer, links, `,"requestState":"`+state+`","inputResponses":{"connect":{"action":"accept"}}`)
	if status != 200 || !strings.Contains(body, "whoami") || strings.Contains(body, "isError") {
		t.Fatalf("after: %d %s", status, body)
	}
	after, err := s.store.TaskOf(t.Context(), c.Key)
	if err != nil || after.ID == before.ID {
		t.Errorf("the server that has the old token goes on: %v", err)
	}
	if now, err := s.store.Get(t.Context(), c.Key); err != nil || now.ConnectedAt.Equal(c.ConnectedAt) || now.Status != connection.Connected {
		t.Errorf("%+v %v", now.Status, err)
	}
}

// TestAskedMeanwhile: the call that waits for its person is served as soon as they
// have connected, by a server that the end of the flow does not end again.
func TestAskedMeanwhile(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	s.setStatus(c, connection.ReconnectNeeded)
	bearer := s.mint(c)
	const links = `{"elicitation":{"url":{}}}`
	_, body, _ := s.modern("/mcp/notes", bearer, links, "")
	path, state := askedURL(t, s, body)
	done := make(chan string)
	go func() {
		_, body, _ := s.modern("/mcp/notes", bearer, links, `,"requestState":"`+state+`","inputResponses":{"connect":{"action":"accept"}}`)
		done <- body
	}()
	ada := s.signedIn("ada")
	if rec := ada.get(s.answer(ada.toProvider(strings.TrimPrefix(path, "/c/")))); rec.Code != 303 {
		t.Fatalf("callback: %d %s", rec.Code, excerpt(rec))
	}
	if body := <-done; !strings.Contains(body, `"text":"whoami`) || strings.Contains(body, "isError") {
		t.Errorf("%s", body)
	}
	before, err := s.store.TaskOf(t.Context(), c.Key)
	if err != nil {
		t.Fatal(err)
	}
	s.host.Restart(t.Context(), c.Key)
	if after, err := s.store.TaskOf(t.Context(), c.Key); err != nil || after.ID != before.ID {
		t.Errorf("a server that has the new token was ended: %v", err)
	}
}
