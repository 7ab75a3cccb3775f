package demo

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestJourney(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	got := s.connect()
	if got.TokenType != "Bearer" || got.ExpiresIn != 300 || got.Scope != "profile notes.read notes.write" || got.RefreshToken == "" {
		t.Fatal("token answer: wrong type, lifetime or scope, or no refresh token")
	}

	var who account
	s.api("GET", "/userinfo", got.AccessToken, "").json(t, &who)
	if who.Sub != "ada" || who.Name != "Ada Lovelace" || who.Email != "ada@demo.example" {
		t.Errorf("userinfo: %+v", who)
	}

	var list noteList
	s.api("GET", "/notes", got.AccessToken, "").json(t, &list)
	if len(list.Notes) != 3 {
		t.Errorf("%d sample notes, want 3", len(list.Notes))
	}
	added := s.api("POST", "/notes", got.AccessToken, `{"text": " buy <b>milk</b> "}`)
	var n note
	added.json(t, &n)
	if added.StatusCode != http.StatusCreated || n.Text != "buy <b>milk</b>" || n.ID == "" {
		t.Errorf("add: %d %+v", added.StatusCode, n)
	}
	if a := s.api("DELETE", "/notes/"+n.ID, got.AccessToken, ""); a.StatusCode != http.StatusNoContent {
		t.Errorf("delete: %d", a.StatusCode)
	}
	s.wantError(s.api("DELETE", "/notes/"+n.ID, got.AccessToken, ""), http.StatusNotFound, "not_found")

	s.clock.advance(5 * time.Minute)
	s.wantAPI(http.StatusUnauthorized, got.AccessToken)
	next := s.tokens(renewForm(got.RefreshToken))
	s.wantAPI(http.StatusOK, next.AccessToken)

	if a := s.post("/revoke", url.Values{"token": {next.RefreshToken}}); a.StatusCode != http.StatusOK {
		t.Errorf("revoke: %d", a.StatusCode)
	}
	s.wantAPI(http.StatusUnauthorized, next.AccessToken)
	s.wantError(s.post("/token", renewForm(next.RefreshToken)), http.StatusBadRequest, "invalid_grant")
}

func TestAccountsAreApart(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	ada := s.connect()
	token := s.open(authQuery())
	back := s.decideWith(url.Values{"consent": {token}, "account": {"grace"}, "scope": {"notes.read", "notes.write"}, "decision": {"allow"}}).sentBack(t)
	grace := s.tokens(redeemForm(back.Get("code")))

	var list noteList
	s.api("GET", "/notes", ada.AccessToken, "").json(t, &list)
	s.wantError(s.api("DELETE", "/notes/"+list.Notes[0].ID, grace.AccessToken, ""), http.StatusNotFound, "not_found")
	var still noteList
	s.api("GET", "/notes", ada.AccessToken, "").json(t, &still)
	if len(still.Notes) != 3 {
		t.Error("Grace deleted Ada's note")
	}
	s.post("/revoke", url.Values{"token": {grace.AccessToken}})
	s.wantAPI(http.StatusUnauthorized, grace.AccessToken)
	s.wantAPI(http.StatusOK, ada.AccessToken)
}

func TestGrantingLess(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	got := s.tokens(redeemForm(s.code("notes.read", "admin")))
	if got.Scope != "notes.read" {
		t.Fatalf("scope %q, want notes.read", got.Scope)
	}
	s.wantAPI(http.StatusOK, got.AccessToken)
	a := s.api("POST", "/notes", got.AccessToken, `{"text": "x"}`)
	s.wantError(a, http.StatusForbidden, "insufficient_scope")
	if h := a.Header.Get("WWW-Authenticate"); !strings.Contains(h, `error="insufficient_scope"`) || !strings.Contains(h, `scope="notes.write"`) {
		t.Errorf("challenge %q", h)
	}
	s.wantError(s.api("GET", "/userinfo", got.AccessToken, ""), http.StatusForbidden, "insufficient_scope")

	// What was not asked for cannot be granted either.
	token := s.open(authQuery("scope", "notes.read"))
	back := s.decideWith(url.Values{"consent": {token}, "account": {"ada"}, "scope": {"notes.read", "notes.write"}, "decision": {"allow"}}).sentBack(t)
	if got := s.tokens(redeemForm(back.Get("code"))); got.Scope != "notes.read" {
		t.Errorf("scope %q, want notes.read", got.Scope)
	}
}

func TestDeny(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	a := s.decideWith(url.Values{"consent": {s.open(authQuery())}, "decision": {"deny"}})
	got := a.sentBack(t)
	if a.StatusCode != http.StatusSeeOther || got.Get("error") != "access_denied" || got.Get("state") != testState || got.Get("iss") != s.url || got.Has("code") {
		t.Errorf("denied: %d %v", a.StatusCode, got)
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	tokens := s.connect()
	for name, tt := range map[string]struct{ header, challenge string }{
		"none":            {"", `Bearer realm="demo"`},
		"another scheme":  {"Basic YXBwOng=", `Bearer realm="demo"`},
		"unknown":         {"Bearer nonsense", `error="invalid_token"`},
		"empty":           {"Bearer ", `Bearer realm="demo"`},
		"a refresh token": {"Bearer " + tokens.RefreshToken, `error="invalid_token"`},
	} {
		a := s.do(http.DefaultClient, "GET", s.url+"/notes", "", "Authorization", tt.header)
		if h := a.Header.Get("WWW-Authenticate"); a.StatusCode != http.StatusUnauthorized || !strings.Contains(h, tt.challenge) {
			t.Errorf("%s: %d %q", name, a.StatusCode, h)
		}
	}
	if a := s.do(http.DefaultClient, "GET", s.url+"/notes?access_token="+tokens.AccessToken, ""); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a token in the URL: %d, want 401", a.StatusCode)
	}
	for name, body := range map[string]string{"no JSON": "text", "no text": "{}", "blank": `{"text":"  "}`,
		"long": `{"text":"` + strings.Repeat("x", maxNoteRunes+1) + `"}`, "huge": strings.Repeat(" ", maxBody+1)} {
		if a := s.api("POST", "/notes", tokens.AccessToken, body); a.StatusCode != http.StatusBadRequest {
			t.Errorf("note %s: %d, want 400", name, a.StatusCode)
		}
	}
}

func TestNotesAreBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	tokens := s.connect()
	for range maxNotes - 3 {
		s.api("POST", "/notes", tokens.AccessToken, `{"text":"x"}`)
	}
	s.wantError(s.api("POST", "/notes", tokens.AccessToken, `{"text":"x"}`), http.StatusConflict, "too_many_notes")
}

func TestIntrospect(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	first := s.connect()
	inspect := func(token string) introspection {
		var out introspection
		s.post("/introspect", url.Values{"token": {token}}).json(t, &out)
		return out
	}
	got := inspect(first.AccessToken)
	want := introspection{Active: true, Scope: first.Scope, ClientID: testClient, Username: "ada@demo.example", TokenType: "Bearer",
		Expires: s.clock.Now().Add(5 * time.Minute).Unix(), Subject: "ada", Issuer: s.url}
	if got != want {
		t.Errorf("access token: %+v, want %+v", got, want)
	}
	if got := inspect(first.RefreshToken); !got.Active {
		t.Error("the refresh token is not active")
	}
	next := s.tokens(renewForm(first.RefreshToken))
	if got := inspect(first.RefreshToken); got != (introspection{}) {
		t.Errorf("a spent refresh token: %+v", got)
	}
	if got := inspect(next.RefreshToken); !got.Active {
		t.Error("asking about a spent token ended its family")
	}
	if got := inspect("nonsense"); got != (introspection{}) {
		t.Errorf("an unknown token: %+v", got)
	}
	s.clock.advance(5 * time.Minute)
	if got := inspect(next.AccessToken); got != (introspection{}) {
		t.Errorf("an expired token: %+v", got)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	var got map[string]any
	s.do(http.DefaultClient, "GET", s.url+"/.well-known/oauth-authorization-server", "").json(t, &got)
	if got["issuer"] != s.url || got["token_endpoint"] != s.url+"/token" || got["authorization_response_iss_parameter_supported"] != true {
		t.Errorf("metadata: %v", got)
	}
	if m, ok := got["code_challenge_methods_supported"].([]any); !ok || len(m) != 1 || m[0] != "S256" {
		t.Errorf("code_challenge_methods_supported: %v", got["code_challenge_methods_supported"])
	}
}
