package web

import (
	"net/url"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/token"
)

// TestTokensForAll: made by a person or for them, narrowed where their link is,
// listed without their values, gone with them.
func TestTokensForAll(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	s.connected("ada", "notes")
	ada, narrow := s.signedIn("ada"), s.signedIn("ada", "notes")

	made := ada.post("/mcp/all/mcp-tokens")
	bearer := made.Body.String()
	if made.Code != 200 || !strings.Contains(bearer, "lyt_") || !strings.Contains(bearer, loopURL+"/mcp") {
		t.Fatalf("%d %s", made.Code, excerpt(made))
	}
	wide := s.api("POST", "/api/v1/mcp-tokens", `{"user_id":"ada"}`)
	secret, id := field(t, wide, "token"), field(t, wide, "id")
	if field(t, wide, "url") != loopURL+"/mcp" {
		t.Errorf("%s", wide.Body)
	}
	for name, b := range map[string]*browser{"a person": ada, "one whose link is for one server": narrow} {
		rec := b.fetch("GET", "/api/v1/mcp-tokens", "")
		if got := strings.Contains(rec.Body.String(), id); got != (b == ada) || strings.Contains(rec.Body.String(), secret) {
			t.Errorf("%s: %s", name, rec.Body)
		}
	}
	want(t, "a wider token from a narrow link", narrow.fetch("POST", "/api/v1/mcp-tokens", `{"servers":["mail"]}`), 404, "server_unknown")
	want(t, "revoked from a narrow link", narrow.fetch("DELETE", "/api/v1/mcp-tokens/"+id, ""), 404, "token_unknown")
	own := narrow.fetch("POST", "/api/v1/mcp-tokens", "")
	m, err := s.host.BearerAll(t.Context(), token.Secret(field(t, own, "token")), "default")
	if err != nil || strings.Join(m.Servers, " ") != "notes" {
		t.Errorf("a narrow link's token is for %q, %v", m.Servers, err)
	}
	if page := ada.get("/mcp/all").Body.String(); !strings.Contains(page, id) || !strings.Contains(page, "notes__") || strings.Contains(page, secret) {
		t.Errorf("the page: %s", page)
	}

	again := s.api("POST", "/api/v1/mcp-tokens", `{"user_id":"ada"}`, "Idempotency-Key", "one")
	if second := s.api("POST", "/api/v1/mcp-tokens", `{"user_id":"ada"}`, "Idempotency-Key", "one"); field(t, second, "token") != field(t, again, "token") {
		t.Error("a repeated request made another token")
	}
	other := s.api("POST", "/api/v1/mcp-tokens", `{"user_id":"grace"}`, "Idempotency-Key", "one")
	if field(t, other, "token") == field(t, again, "token") {
		t.Error("two people have one token")
	}

	want(t, "delete the user", s.api("DELETE", "/api/v1/users/ada", ""), 200, "")
	if left, err := s.store.MCPTokens(t.Context(), host.ForUser("default", "ada")); err != nil || len(left) != 0 {
		t.Errorf("%d tokens outlive their person, %v", len(left), err)
	}
	if left, err := s.store.MCPTokens(t.Context(), host.ForUser("default", "grace")); err != nil || len(left) != 1 {
		t.Errorf("%d tokens of another person, %v", len(left), err)
	}
}

// TestOffer: which tools are offered is changed by the API and by the page, and
// what is not named stays.
func TestOffer(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	path := "/api/v1/connections/" + c.ID
	row := func() connection.Connection {
		t.Helper()
		c, err := s.store.Get(t.Context(), c.Key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	want(t, "the label alone", s.api("PATCH", path, `{"label":"Work"}`), 200, "")
	want(t, "the tools alone", s.api("PATCH", path, `{"tools":{"allow":["read_*"],"deny":["read_mail"]}}`), 200, "")
	if got := row(); got.Label != "Work" || !got.Tools.Offers("read_file") || got.Tools.Offers("read_mail") || got.Tools.Offers("write") {
		t.Errorf("%q %+v", got.Label, got.Tools)
	}
	want(t, "a pattern that is none", s.api("PATCH", path, `{"label":"Play","tools":{"deny":["a*b"]}}`), 400, "invalid_request")
	if got := row(); got.Label != "Work" || len(got.Tools.Deny) != 1 {
		t.Error("a refused change left something behind")
	}
	ada := s.signedIn("ada")
	offer := func(offered ...string) connection.ToolFilter {
		t.Helper()
		form := url.Values{"csrf": {ada.csrf()}, "shown": {"read_file", "write"}, "offer": offered}
		rec := ada.send("POST", "/mcp/connections/"+c.ID+"/offer", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Origin", loopURL)
		if rec.Code != 303 {
			t.Fatalf("%d %s", rec.Code, excerpt(rec))
		}
		return row().Tools
	}
	if f := offer("write"); !f.Offers("write") || f.Offers("read_file") || f.Offers("added_later") {
		t.Errorf("where some were allowed: %+v", f)
	}
	if f := offer(); f.Offers("write") || f.Offers("read_file") {
		t.Errorf("none was ticked: %+v", f)
	}
	want(t, "all again", s.api("PATCH", path, `{"tools":{}}`), 200, "")
	if f := offer("read_file"); f.Offers("write") || !f.Offers("read_file") || !f.Offers("added_later") {
		t.Errorf("where all were allowed: %+v", f)
	}
	// What the page did not show, and what a backend denied by its beginning, stays
	// denied when somebody saves the page.
	want(t, "some denied", s.api("PATCH", path, `{"tools":{"deny":["delete_*","wri*","hidden"]}}`), 200, "")
	if f := offer("read_file"); f.Offers("delete_later") || f.Offers("hidden") || f.Offers("write") || f.Offers("write_later") || !f.Offers("read_file") {
		t.Errorf("saved as it was: %+v", f)
	}
	if f := offer("read_file", "write"); f.Offers("delete_later") || f.Offers("hidden") || !f.Offers("write") {
		t.Errorf("one more was ticked: %+v", f)
	}
}
