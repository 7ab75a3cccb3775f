package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// TestOwnerIsSignedInByNavigation: on loopback a browser that goes to a page, even
// to one that was kept, is the owner's; what a page of another site fetches or
// embeds is not, nor is a program that we run ourselves.
func TestOwnerIsSignedInByNavigation(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	s.foreign = func(r *http.Request) bool { return r.Header.Get("X-Peer") == "task" }
	c := s.connected("me", "notes")
	for _, path := range []string{"/mcp/servers", "/mcp/all", "/mcp/connections/" + c.ID} {
		for dest, status := range map[string]int{"": 200, "document": 200, "image": 401, "iframe": 401, "empty": 401, "script": 401} {
			for _, from := range []string{"none", "cross-site"} {
				b := s.browser()
				rec := b.send("GET", path, "", "Sec-Fetch-Dest", dest, "Sec-Fetch-Site", from)
				if _, signed := b.cookies[b.name("session")]; rec.Code != status || signed != (status == 200) {
					t.Errorf("%s, Sec-Fetch-Dest %q, %s: %d, session %v", path, dest, from, rec.Code, signed)
				}
				if says := strings.Contains(rec.Body.String(), `<bdi>me</bdi>`); says != (status == 200) {
					t.Errorf("%s, Sec-Fetch-Dest %q: says who is signed in: %v", path, dest, says)
				}
				if status == 401 && (strings.Contains(rec.Body.String(), "personal link") || !strings.Contains(rec.Body.String(), "Open your servers")) {
					t.Errorf("%s speaks of links, where none is needed: %s", path, excerpt(rec))
				}
			}
		}
		want(t, "a task's program at "+path, s.browser().send("GET", path, "", "X-Peer", "task"), 401, "")
		want(t, "the person at "+path, s.browser().send("GET", path, ""), 200, "")
		if rec := s.send("GET", path, "", "Host", "localhost:8080"); rec.Code != 302 || rec.Header().Get("Location") != loopURL+path {
			t.Errorf("%s by another name of this machine: %d %s", path, rec.Code, rec.Header().Get("Location"))
		}
		if rec := newSite(t, loopURL, "").browser().get(path); rec.Code != 401 || !strings.Contains(rec.Body.String(), "personal link") {
			t.Errorf("%s where nobody is the owner: %d %s", path, rec.Code, excerpt(rec))
		}
	}
	// A page is opened; a call and a form are not.
	want(t, "a call", s.browser().send("GET", "/api/v1/connections/"+c.ID, "", "Sec-Fetch-Dest", "document"), 401, "sign_in_required")
	fresh := s.browser()
	fresh.send("GET", "/static/app.js", "")
	want(t, "a form", fresh.post("/mcp/all/mcp-tokens"), 403, "cross_site")
}

// TestAttackCookiesOfAnotherPort: browsers send our cookies to a server that
// listens on this machine, too. In its hands they are nobody's.
func TestAttackCookiesOfAnotherPort(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	s.foreign = func(r *http.Request) bool { return r.Header.Get("X-Peer") == "task" }
	me := s.browser()
	me.get("/mcp/servers")
	want(t, "the person", me.fetch("GET", "/api/v1/connections", ""), 200, "")
	path := me.begins(s.asks(s.enter(appRedirect), "notes"))
	stolen := me.jar()
	want(t, "the API", s.send("GET", "/api/v1/connections", "", "Cookie", stolen, "X-Peer", "task"), 401, "sign_in_required")
	if rec := s.send("GET", path, "", "Cookie", stolen, "X-Peer", "task"); rec.Code != 404 {
		t.Errorf("a client's request: %d", rec.Code)
	}
}

// TestLinkDoesNotReplaceASessionByItself: somebody's link opened in a browser
// that is signed in waits for a click, and says whose place it takes.
func TestLinkDoesNotReplaceASessionByItself(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	path := s.link(`{"user_id":"mallory"}`)
	fresh, ada := s.browser(), s.signedIn("ada")
	if page := fresh.get(path).Body.String(); !strings.Contains(page, "data-auto") {
		t.Error("a browser without a session has to click")
	}
	page := ada.get(path).Body.String()
	if strings.Contains(page, "data-auto") || !strings.Contains(page, "signed in as") {
		t.Error("ada's session would be replaced without a word")
	}
}

// TestDeletedLinksAndUsersAreSignedOut: nothing that was opened with a link
// outlives it, and nothing of a user outlives the user.
func TestDeletedLinksAndUsersAreSignedOut(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	created := s.api("POST", "/api/v1/links", `{"user_id":"ada"}`)
	ada := s.browser()
	path := strings.TrimPrefix(field(t, created, "url"), s.base)
	ada.get(path)
	ada.post(path)
	want(t, "with the link", ada.fetch("GET", "/api/v1/connections", ""), 200, "")
	want(t, "delete the link", s.api("DELETE", "/api/v1/links/"+field(t, created, "id"), ""), 204, "")
	want(t, "without the link", ada.fetch("GET", "/api/v1/connections", ""), 401, "sign_in_required")

	bob := s.browser()
	path = s.link(`{"user_id":"bob"}`)
	bob.get(path)
	bob.post(path)
	want(t, "before", bob.fetch("GET", "/api/v1/connections", ""), 200, "")
	want(t, "delete the user", s.api("DELETE", "/api/v1/users/bob", ""), 200, "")
	want(t, "after", bob.fetch("GET", "/api/v1/connections", ""), 401, "sign_in_required")
}

// TestConfirmReachesTheServer: the running server goes with the old tokens.
func TestConfirmReachesTheServer(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	s.confirm = true
	c := s.connected("ada", "notes")
	bearer := s.mint(c)
	s.mcp("notes", bearer, initialize)
	before, err := s.store.TaskOf(t.Context(), c.Key)
	if err != nil {
		t.Fatal(err)
	}
	ada := s.browser()
	start := s.api("POST", "/api/v1/mcp/servers/notes/oauth/connect", `{"user_id":"ada","connection_id":"`+c.ID+`","allow_other_account":true}`)
	id := field(t, start, "flow_id")
	ada.get("/c/" + id)
	asked := ada.toProvider(id)
	if rec := ada.get(s.answer(asked)); rec.Code >= 400 {
		t.Fatalf("callback: %d %s", rec.Code, excerpt(rec))
	}
	if now, err := s.store.TaskOf(t.Context(), c.Key); err != nil || now.ID != before.ID {
		t.Fatalf("a proposal touched the server: %v", err)
	}
	want(t, "confirm", s.api("POST", "/api/v1/flows/"+id+"/confirm", `{"user_id":"ada"}`), 200, "")
	if now, err := s.store.TaskOf(t.Context(), c.Key); err == nil && now.ID == before.ID {
		t.Error("the server still runs with the old tokens")
	}
}

// TestLinkIsForItsServersAlone: a link is sent by mail and by chat. Whoever
// opens one that is for a server gets nothing of what the user has elsewhere.
func TestLinkIsForItsServersAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	mine, other := s.connected("ada", "notes"), s.connected("ada", "mail")
	b := s.browser()
	path := s.link(`{"user_id":"ada","servers":["notes"]}`)
	b.get(path)
	b.post(path)
	list := b.fetch("GET", "/api/v1/connections", "").Body.String()
	if !strings.Contains(list, mine.ID) || strings.Contains(list, other.ID) {
		t.Errorf("listed: %s", list)
	}
	want(t, "of its server", b.get("/mcp/connections/"+mine.ID), 200, "")
	for _, call := range []string{
		"GET /api/v1/connections/ID", "PATCH /api/v1/connections/ID",
		"POST /api/v1/connections/ID/mcp-tokens", "GET /api/v1/connections/ID/mcp-tokens", "DELETE /api/v1/connections/ID/mcp-tokens/x",
		"GET /api/v1/connections/ID/tools", "POST /api/v1/connections/ID/tools/read", "DELETE /api/v1/connections/ID",
	} {
		method, path, _ := strings.Cut(strings.ReplaceAll(call, "ID", other.ID), " ")
		want(t, call, b.fetch(method, path, "{}"), 404, "connection_unknown")
	}
	want(t, "its page", b.get("/mcp/connections/"+other.ID), 404, "connection_unknown")
	for _, form := range []string{"rename", "mcp-tokens", "tools/read", "disconnect"} {
		want(t, form, b.post("/mcp/connections/"+other.ID+"/"+form, "label", "x"), 404, "connection_unknown")
	}
	if now, err := s.store.Get(t.Context(), other.Key); err != nil || now.Status != connection.Connected || now.Label != "" {
		t.Errorf("the other connection: %+v, %v", now.Status, err)
	}
}
