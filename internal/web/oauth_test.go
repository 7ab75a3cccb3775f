package web

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
)

const (
	// webRedirect is that of a client on the web, appRedirect of a program.
	webRedirect = "https://client.example/callback"
	appRedirect = "http://127.0.0.1/callback"
	verifier    = "a-verifier-of-the-client-with-43-characters-or-more"
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// enter makes a client that the operator has entered.
func (s *site) enter(redirects ...string) authserver.Client {
	s.t.Helper()
	c, _, err := s.oauth.Enter(s.t.Context(), "Notes reader", redirects, authserver.AuthNone)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// asks is the query of an authorization request that is good; more replaces, or
// with "" removes.
func (s *site) asks(c authserver.Client, server string, more ...string) url.Values {
	q := url.Values{"response_type": {"code"}, "client_id": {c.ID}, "redirect_uri": {c.RedirectURIs[0]}, "state": {"canary-state"},
		"resource": {s.base + "/mcp" + strings.TrimSuffix("/"+server, "/")}, "code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"}}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
		if more[i+1] == "" {
			q.Del(more[i])
		}
	}
	return q
}

// led is what a client's link does: a navigation from elsewhere.
func (b *browser) led(path string) *httptest.ResponseRecorder {
	return b.send(http.MethodGet, path, "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "document")
}

// begins an authorization: it returns the path of our page.
func (b *browser) begins(q url.Values) string {
	b.s.t.Helper()
	rec := b.led("/oauth/authorize?" + q.Encode())
	path := rec.Header().Get("Location")
	if rec.Code != http.StatusSeeOther || !strings.HasPrefix(path, "/oauth/requests/req_") {
		b.s.t.Fatalf("authorize: %d %s", rec.Code, excerpt(rec))
	}
	return path
}

// leads is where a page or a redirect sends the browser on to.
func leads(t testing.TB, rec *httptest.ResponseRecorder) *url.URL {
	t.Helper()
	raw := rec.Header().Get("Location")
	if m := follow.FindStringSubmatch(rec.Body.String()); rec.Code == http.StatusOK && m != nil {
		raw = html.UnescapeString(m[1])
	}
	u, err := url.Parse(raw)
	if err != nil || raw == "" {
		t.Fatalf("it leads nowhere: %d %s", rec.Code, excerpt(rec))
	}
	return u
}

// answered checks what a client is told, and returns its code.
func (s *site) answered(rec *httptest.ResponseRecorder, redirect string) string {
	s.t.Helper()
	u := leads(s.t, rec)
	q := u.Query()
	if !strings.HasPrefix(u.String(), redirect+"?") || q.Get("state") != "canary-state" || q.Get("iss") != s.base || q.Has("error") || q.Get("code") == "" {
		s.t.Fatalf("the client is told %s", u)
	}
	return q.Get("code")
}

// post as a program does: no cookies, no Origin.
func (s *site) form(path string, form url.Values, header ...string) *httptest.ResponseRecorder {
	return s.send(http.MethodPost, path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

func (s *site) redeem(c authserver.Client, code string, more ...string) *httptest.ResponseRecorder {
	f := url.Values{"grant_type": {"authorization_code"}, "client_id": {c.ID}, "code": {code}, "redirect_uri": {c.RedirectURIs[0]}, "code_verifier": {verifier}}
	for i := 0; i < len(more); i += 2 {
		f.Set(more[i], more[i+1])
	}
	return s.form("/oauth/token", f)
}

type tokens struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	Type      string `json:"token_type"`
	ExpiresIn int    `json:"expires_in"`
	Scope     string `json:"scope"`
	Error     string `json:"error"`
}

func (s *site) tokens(rec *httptest.ResponseRecorder) (out tokens) {
	s.t.Helper()
	if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil || rec.Code != http.StatusOK || rec.Header().Get("Cache-Control") != "no-store" {
		s.t.Fatalf("tokens: %d %v %s", rec.Code, err, rec.Body)
	}
	return out
}

// good reports whether an access token is one of ours at the server.
func (s *site) good(access, server string) bool {
	s.t.Helper()
	_, err := s.oauth.Check(s.t.Context(), token.Secret(access), s.base+"/mcp/"+server)
	return err == nil
}

// TestSignInThroughTheProvider: a client asks, the person allows it on one page of
// ours and at the provider, and the client has tokens of ours. No script runs.
func TestSignInThroughTheProvider(t *testing.T) {
	t.Parallel()
	for _, redirect := range []string{webRedirect, "http://127.0.0.1:33418/callback", authserver.DefaultRedirects[0]} {
		s := newSite(t, loopURL, "me")
		b, c := s.browser(), s.enter(redirect)
		path := b.begins(s.asks(c, "notes"))
		page := b.led(path)
		want(t, "our page", page, 200, "")
		for _, told := range []string{"Notes reader", "Read your notes", HostOf(s.provider.url), "Continue to", hostShown(redirect)} {
			if !strings.Contains(page.Body.String(), told) {
				t.Errorf("%s: the page does not say %q: %s", redirect, told, excerpt(page))
			}
		}
		if program := strings.Contains(page.Body.String(), "a program on this computer"); program != (redirect != webRedirect) {
			t.Errorf("%s: marked as a program: %v", redirect, program)
		}
		rec := b.post(path, "action", "allow", "connection", "other")
		asked := leads(t, rec)
		if "http://"+asked.Host != s.provider.url || asked.Query().Get("state") == "" || asked.Query().Get("scope") != "notes.read" {
			t.Fatalf("the provider is asked %s", asked)
		}
		if page := b.led(path); page.Header().Get("Refresh") == "" || !strings.Contains(page.Body.String(), "Not finished yet") {
			t.Errorf("meanwhile: %d %s", page.Code, excerpt(page))
		}
		back := b.led(s.answer(asked))
		if where := back.Header().Get("Location"); back.Code != 303 || !strings.HasPrefix(where, path+"?flow=flo_") {
			t.Fatalf("after the provider: %d %s", back.Code, excerpt(back))
		}
		code := s.answered(b.led(path), redirect)
		got := s.tokens(s.redeem(c, code))
		if got.Type != "Bearer" || got.ExpiresIn != 3600 || got.Scope != "notes.read" || !strings.HasPrefix(got.Access, "lat_") || !strings.HasPrefix(got.Refresh, "lrt_") {
			t.Errorf("%s: %d s, scope %q", redirect, got.ExpiresIn, got.Scope)
		}
		g, err := s.oauth.Check(t.Context(), token.Secret(got.Access), s.base+"/mcp/notes")
		if err != nil || g.UserID != "me" || g.ClientID != c.ID {
			t.Fatalf("%v %+v", err, g)
		}
		if con, err := s.store.Get(t.Context(), connection.Key{Tenant: g.Tenant, ID: g.Connection}); err != nil || con.UserID != "me" || con.Status != connection.Connected {
			t.Errorf("the grant's connection: %v %v", con.Status, err)
		}
		want(t, "the page once more", b.led(path), 409, "request_ended")
	}
}

// hostShown is how our page names where an answer goes.
func hostShown(redirect string) string {
	u, _ := url.Parse(redirect)
	if u.Scheme == "cursor" {
		return "cursor://" + u.Host
	}
	return u.Host
}

// TestChooseAnAccount: a person with two accounts says which; one that has died
// is granted anew on the way.
func TestChooseAnAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	first, second := s.connected("ada", "notes"), s.connected("ada", "notes")
	s.connected("ada", "mail")
	others := s.connected("grace", "notes")
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	path := ada.begins(s.asks(c, "notes"))
	page := ada.led(path).Body.String()
	if !strings.Contains(page, first.ID) || !strings.Contains(page, second.ID) || strings.Contains(page, others.ID) || !strings.Contains(page, ">Allow<") {
		t.Errorf("the page offers %s", page)
	}
	want(t, "another's connection", ada.post(path, "action", "allow", "connection", others.ID), 404, "connection_unknown")
	want(t, "none", ada.post(path, "action", "allow"), 404, "connection_unknown")
	want(t, "neither", ada.post(path, "connection", first.ID), 400, "invalid_request")
	code := s.answered(ada.post(path, "action", "allow", "connection", first.ID), webRedirect)
	g, err := s.oauth.Check(t.Context(), token.Secret(s.tokens(s.redeem(c, code)).Access), s.base+"/mcp/notes")
	if err != nil || g.Connection != first.ID {
		t.Errorf("%v, for %s", err, g.Connection)
	}

	if _, err := s.store.Update(t.Context(), second.Key, func(c *connection.Connection) error { c.Status = connection.ReconnectNeeded; return nil }); err != nil {
		t.Fatal(err)
	}
	path = ada.begins(s.asks(c, "notes"))
	if page := ada.led(path); !strings.Contains(page.Body.String(), "Reconnect needed") {
		// One account works and the client is remembered, but there is a choice.
		t.Fatalf("no choice: %d %s", page.Code, excerpt(page))
	}
	rec := ada.post(path, "action", "allow", "connection", second.ID)
	back := ada.led(s.answer(leads(t, rec)))
	code = s.answered(ada.led(back.Header().Get("Location")), webRedirect)
	g, err = s.oauth.Check(t.Context(), token.Secret(s.tokens(s.redeem(c, code)).Access), s.base+"/mcp/notes")
	if err != nil || g.Connection != second.ID {
		t.Errorf("renewed: %v, for %s", err, g.Connection)
	}
}

// TestMoreScopesLeadToTheProvider: a connection that lacks what is asked for is
// granted anew, with what it had.
func TestMoreScopesLeadToTheProvider(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	con := s.connected("ada", "notes")
	if _, err := s.store.Update(t.Context(), con.Key, func(c *connection.Connection) error {
		c.Scopes, c.ScopesAsked = []string{"profile"}, []string{"profile"}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	path := ada.begins(s.asks(c, "notes", "scope", "notes.read"))
	if page := ada.led(path); !strings.Contains(page.Body.String(), "More access is asked for") {
		t.Errorf("%d %s", page.Code, excerpt(page))
	}
	asked := leads(t, ada.post(path, "action", "allow", "connection", con.ID))
	if scope := asked.Query().Get("scope"); !strings.Contains(scope, "notes.read") || !strings.Contains(scope, "profile") {
		t.Errorf("the provider is asked for %q", scope)
	}
}

// TestPageSaysAllThatIsGiven: a client that asks for less uses the connection as a
// whole all the same.
func TestPageSaysAllThatIsGiven(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	s.connected("ada", "mail")
	ada := s.signedIn("ada")
	page := ada.led(ada.begins(s.asks(s.enter(webRedirect), "mail", "scope", "notes.read"))).Body.String()
	if !strings.Contains(page, "Read your notes") || !strings.Contains(page, "Change your notes") {
		t.Error("the page does not say all that is given")
	}
}

// TestBounded: a client's name neither turns around what stands behind it, nor
// hides, nor goes on for pages.
func TestBounded(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		" Team\n\tchat ":                   "Team chat",
		"\u202emoc.evil\u200b\x1b[31m\x00": "moc.evil[31m",
		strings.Repeat("é", 60):            strings.Repeat("é", maxClientName-1) + "…",
		"\u200b\u2066":                     "",
	} {
		if got := bounded(raw); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

// TestRememberedClient: a client on the web that was allowed before is not asked
// about again; a program is, each time, and so is whoever has a choice.
func TestRememberedClient(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	con := s.connected("ada", "notes")
	known, program := s.enter(webRedirect), s.enter(appRedirect)
	for c, again := range map[string]bool{known.ID: true, program.ID: false} {
		client := known
		if c == program.ID {
			client = program
		}
		ada := s.signedIn("ada")
		path := ada.begins(s.asks(client, "notes"))
		want(t, "the first time", ada.led(path), 200, "")
		s.answered(ada.post(path, "action", "allow", "connection", con.ID), client.RedirectURIs[0])
		path = ada.begins(s.asks(client, "notes"))
		embedded := ada.send("GET", path, "", "Sec-Fetch-Dest", "iframe", "Sec-Fetch-Site", "cross-site")
		if embedded.Code != 200 {
			t.Errorf("embedded: %d", embedded.Code)
		}
		rec := ada.led(path)
		if skipped := rec.Code == 303; skipped != again {
			t.Errorf("%s again: %d %s", client.RedirectURIs[0], rec.Code, excerpt(rec))
		}
		if again {
			s.tokens(s.redeem(client, s.answered(rec, webRedirect)))
		}
		grace := s.signedIn("grace")
		s.connected("grace", "notes")
		want(t, "another user", grace.led(grace.begins(s.asks(client, "notes"))), 200, "")
	}
	// After a form of ours a redirect would be held against form-action.
	ada := s.signedIn("ada")
	if rec := ada.get(ada.begins(s.asks(known, "notes"))); rec.Code != 200 || leads(t, rec).Host != "client.example" {
		t.Errorf("after a form: %d %s", rec.Code, excerpt(rec))
	}
	s.connected("ada", "notes")
	ada = s.signedIn("ada")
	want(t, "with a choice", ada.led(ada.begins(s.asks(known, "notes"))), 200, "")
}

// TestRememberedIsNotAnotherAccount: who gave one account is asked when another one
// is all that is left.
func TestRememberedIsNotAnotherAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	private, work := s.connected("ada", "notes"), s.connected("ada", "notes")
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	path := ada.begins(s.asks(c, "notes"))
	s.answered(ada.post(path, "action", "allow", "connection", private.ID), webRedirect)
	want(t, "disconnect", s.api("DELETE", "/api/v1/connections/"+private.ID, ""), 200, "")
	rec := ada.led(ada.begins(s.asks(c, "notes")))
	if want(t, "the other account alone", rec, 200, ""); !strings.Contains(rec.Body.String(), work.ID) {
		t.Errorf("%s", excerpt(rec))
	}
}

// TestSignInForAll: at /mcp a client gets what the person has, without a provider.
func TestSignInForAll(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	s.connected("ada", "notes")
	s.connected("ada", "mail")
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	path := ada.begins(s.asks(c, ""))
	page := ada.led(path).Body.String()
	if !strings.Contains(page, "<bdi>Notes</bdi>") || !strings.Contains(page, "<bdi>Mail</bdi>") || strings.Contains(page, "Chat") {
		t.Errorf("%s", page)
	}
	got := s.tokens(s.redeem(c, s.answered(ada.post(path, "action", "allow"), webRedirect)))
	g, err := s.oauth.Check(t.Context(), token.Secret(got.Access), s.base+"/mcp")
	if err != nil || g.Server != "" || g.Connection != "" || len(g.Servers) != 0 || got.Scope != "" {
		t.Errorf("%v %+v", err, g)
	}
	want(t, "again: what it would get may have grown", ada.led(ada.begins(s.asks(c, ""))), 200, "")

	limited := s.signedIn("ada", "notes")
	path = limited.begins(s.asks(c, ""))
	if page := limited.led(path).Body.String(); !strings.Contains(page, "<bdi>Notes</bdi>") || strings.Contains(page, "Mail") {
		t.Error("a session for one server lists others")
	}
	got = s.tokens(s.redeem(c, s.answered(limited.post(path, "action", "allow"), webRedirect)))
	if g, err := s.oauth.Check(t.Context(), token.Secret(got.Access), s.base+"/mcp"); err != nil || len(g.Servers) != 1 || g.Servers[0] != "notes" {
		t.Errorf("%v %v", err, g.Servers)
	}
	want(t, "another server", limited.led(limited.begins(s.asks(c, "mail"))), 403, "server_not_offered")
}

// TestKeyOnTheWay: a server that takes a key asks for it, and the client has its
// answer afterwards.
func TestKeyOnTheWay(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	path := ada.begins(s.asks(c, "keyed"))
	want(t, "our page", ada.led(path), 200, "")
	rec := ada.post(path, "action", "allow", "connection", "other")
	if rec.Code != 303 || rec.Header().Get("Location") != path {
		t.Fatalf("%d %s", rec.Code, excerpt(rec))
	}
	id := strings.TrimPrefix(path, "/oauth/requests/")
	page := ada.get(path).Body.String()
	if !strings.Contains(page, `name="request" value="`+id+`"`) || !strings.Contains(page, `name="env.KEY"`) || !strings.Contains(page, `name="param.shop"`) {
		t.Fatalf("%s", page)
	}
	bad := ada.post("/mcp/servers/keyed/key", "request", id, "env.KEY", "", "param.shop", "x")
	if bad.Code != 400 || !strings.Contains(bad.Body.String(), `href="`+path+`"`) {
		t.Errorf("no way back: %d %s", bad.Code, excerpt(bad))
	}
	typed := ada.post("/mcp/servers/keyed/key", "request", id, "env.KEY", "canary", "param.shop", "x")
	where := typed.Header().Get("Location")
	if typed.Code != 303 || !strings.HasPrefix(where, path+"?flow=") {
		t.Fatalf("%d %s", typed.Code, excerpt(typed))
	}
	// Another request does not take it up.
	other := ada.begins(s.asks(c, "keyed"))
	ada.post(other, "action", "allow", "connection", "other")
	if page := ada.get(other + strings.TrimPrefix(where, path)).Body.String(); !strings.Contains(page, `name="env.KEY"`) {
		t.Error("the key of one request was taken for another")
	}
	rec = ada.get(where) // a page, because a form came before
	got := s.tokens(s.redeem(c, s.answered(rec, webRedirect)))
	if g, err := s.oauth.Check(t.Context(), token.Secret(got.Access), s.base+"/mcp/keyed"); err != nil || g.Connection == "" || got.Scope != "" {
		t.Errorf("%v %+v", err, g)
	}
}

// TestWaitForConfirmation: where the tenant confirms who connected, the client
// gets nothing before.
func TestWaitForConfirmation(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	s.confirm = true
	c, ada := s.enter(webRedirect), s.browser()
	link := s.link(`{"user_id":"ada","servers":["notes"],"return_url":"https://app.test/done"}`)
	path := ada.begins(s.asks(c, "notes"))
	want(t, "not signed in", ada.led(path), 401, "")
	if page := ada.led(path).Body.String(); !strings.Contains(page, "An MCP client asks") || !strings.Contains(page, "Open your personal link in this browser") {
		t.Errorf("%s", page)
	}
	ada.get(link)
	if rec := ada.post(link); rec.Code != 303 || rec.Header().Get("Location") != path {
		t.Fatalf("the link leads to %s", rec.Header().Get("Location"))
	}
	asked := leads(t, ada.post(path, "action", "allow", "connection", "other"))
	back := ada.led(s.answer(asked))
	page := ada.led(back.Header().Get("Location"))
	if page.Code != 200 || page.Header().Get("Refresh") == "" || !strings.Contains(page.Body.String(), "https://app.test/done?flow_id=flo_") {
		t.Fatalf("it does not wait: %d %s", page.Code, excerpt(page))
	}
	id := regexp.MustCompile(`flow_id=(flo_[a-z0-9]+)`).FindStringSubmatch(page.Body.String())[1]
	want(t, "somebody else", s.api("POST", "/api/v1/flows/"+id+"/confirm", `{"user_id":"mallory"}`), 403, "flow_other_user")
	want(t, "still", ada.led(path), 200, "")
	want(t, "confirm", s.api("POST", "/api/v1/flows/"+id+"/confirm", `{"user_id":"ada"}`), 200, "")
	s.tokens(s.redeem(c, s.answered(ada.led(path), webRedirect)))

	// Nobody confirms.
	path = ada.begins(s.asks(c, "notes"))
	asked = leads(t, ada.post(path, "action", "allow", "connection", "other"))
	ada.led(s.answer(asked))
	s.clock.advance(11 * time.Minute)
	page = ada.led(path)
	want(t, "unconfirmed", page, 200, "not_confirmed")
	if !strings.Contains(page.Body.String(), "Try again") {
		t.Error("no way on")
	}
}

// TestProviderRefusesASignIn: the page says why, and the person decides what the client
// is told.
func TestProviderRefusesASignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	b, c := s.browser(), s.enter(webRedirect)
	path := b.begins(s.asks(c, "notes"))
	b.led(path)
	asked := leads(t, b.post(path, "action", "allow", "connection", "other"))
	back := b.led(s.answer(asked, "code", "", "error", "access_denied"))
	page := b.led(back.Header().Get("Location"))
	want(t, "denied", page, 200, "access_denied")
	if !strings.Contains(page.Body.String(), path+"?again=1") || !strings.Contains(page.Body.String(), `name="action" value="cancel"`) {
		t.Errorf("%s", excerpt(page))
	}
	again := b.led(path + "?again=1")
	if !strings.Contains(again.Body.String(), `value="allow"`) {
		t.Errorf("again: %d %s", again.Code, excerpt(again))
	}
	asked = leads(t, b.post(path, "action", "allow", "connection", "other"))
	b.led(s.answer(asked))
	s.tokens(s.redeem(c, s.answered(b.led(path), webRedirect)))
}

// TestNoClientAtTheProvider leads to the page that says what to do.
func TestNoClientAtTheProvider(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	b, c := s.browser(), s.enter(webRedirect)
	path := b.begins(s.asks(c, "unset"))
	if rec := b.led(path); rec.Header().Get("Location") != "/mcp/servers/unset/setup" {
		t.Errorf("%d %s", rec.Code, excerpt(rec))
	}
	if rec := b.post(path, "action", "allow", "connection", "other"); rec.Header().Get("Location") != "/mcp/servers/unset/setup" {
		t.Errorf("%d %s", rec.Code, excerpt(rec))
	}
}

// TestRefreshAndRevoke: tokens rotate, and end at once.
func TestRefreshAndRevoke(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c, got := s.clientOf("ada", "notes")
	again := s.tokens(s.form("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}, "client_id": {c.ID}}))
	if again.Refresh == got.Refresh || !s.good(again.Access, "notes") {
		t.Error("not rotated")
	}
	if rec := s.form("/oauth/revoke", url.Values{"token": {again.Refresh}, "client_id": {c.ID}}); rec.Code != 200 || rec.Body.Len() != 0 {
		t.Errorf("revoke: %d %s", rec.Code, rec.Body)
	}
	if s.good(again.Access, "notes") || s.good(got.Access, "notes") {
		t.Error("a revoked token is good")
	}
	want(t, "none", s.form("/oauth/revoke", url.Values{"token": {"canary-none"}, "client_id": {c.ID}}), 200, "")
}

// clientOf is a client that was allowed to use the user's connection.
func (s *site) clientOf(user, server string) (authserver.Client, tokens) {
	s.t.Helper()
	con, c, b := s.connected(user, server), s.enter(webRedirect), s.signedIn(user)
	path := b.begins(s.asks(c, server))
	return c, s.tokens(s.redeem(c, s.answered(b.post(path, "action", "allow", "connection", con.ID), webRedirect)))
}

// TestDeletedUserIsSignedOutEverywhere: what MCP clients have goes, too.
func TestDeletedUserIsSignedOutEverywhere(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	_, ada := s.clientOf("ada", "notes")
	_, bob := s.clientOf("bob", "notes")
	want(t, "delete", s.api("DELETE", "/api/v1/users/ada", ""), 200, "")
	if s.good(ada.Access, "notes") || !s.good(bob.Access, "notes") {
		t.Errorf("ada's is good: %v, bob's: %v", s.good(ada.Access, "notes"), s.good(bob.Access, "notes"))
	}
}

// TestDocuments: what a client reads first, from any origin.
func TestDocuments(t *testing.T) {
	t.Parallel()
	s := newSite(t, "https://lanyard.test", "")
	for path, want := range map[string][]string{
		"/.well-known/oauth-authorization-server":         {`"issuer":"https://lanyard.test"`, `"code_challenge_methods_supported":["S256"]`, `"client_id_metadata_document_supported":true`},
		"/.well-known/openid-configuration":               {`"issuer":"https://lanyard.test"`, `"jwks_uri":"https://lanyard.test/oauth/jwks"`},
		"/.well-known/oauth-protected-resource/mcp/notes": {`"resource":"https://lanyard.test/mcp/notes"`, `"authorization_servers":["https://lanyard.test"]`, `"notes.read"`},
		"/.well-known/oauth-protected-resource/mcp":       {`"resource":"https://lanyard.test/mcp"`},
		"/.well-known/oauth-protected-resource/t/x/mcp":   {`"resource":"https://lanyard.test/t/x/mcp"`},
		"/oauth/jwks":                                      {`{"keys":[]}`},
		"/.well-known/oauth-protected-resource":            nil, // several servers are offered
		"/.well-known/oauth-protected-resource/mcp/x":      nil,
		"/.well-known/oauth-protected-resource/":           nil,
		"/.well-known/oauth-protected-resource/api/v1":     nil,
		"/.well-known/oauth-authorization-server/mcp/note": nil,
		"/.well-known/change-password":                     nil,
	} {
		rec := s.send("GET", path, "", "Origin", "https://inspector.example")
		h := rec.Header()
		if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" || h.Get("Content-Type") != "application/json" || len(rec.Result().Cookies()) > 0 {
			t.Errorf("%s: %v", path, h)
		}
		if want == nil && (rec.Code != 404 || codeOf(rec) != "not_found") || want != nil && rec.Code != 200 {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
		for _, w := range want {
			if !strings.Contains(rec.Body.String(), w) {
				t.Errorf("%s has no %s: %s", path, w, rec.Body)
			}
		}
	}
}

// TestBrowserClients: what a page of another origin may call, and what not.
func TestBrowserClients(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	for _, path := range []string{"/oauth/token", "/oauth/revoke", "/oauth/register", "/.well-known/oauth-protected-resource/mcp/notes"} {
		rec := s.send("OPTIONS", path, "", "Origin", "https://inspector.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type")
		h := rec.Header()
		if rec.Code != 204 || h.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %d %v", path, rec.Code, h)
		}
	}
	for _, path := range []string{"/oauth/authorize", "/oauth/requests/req_x", "/api/v1/oauth-clients", "/mcp/servers"} {
		for _, method := range []string{"OPTIONS", "GET", "POST"} {
			if h := s.send(method, path, "", "Origin", "https://inspector.example").Header(); h.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s may be read", method, path)
			}
		}
	}
	for path, rec := range map[string]*httptest.ResponseRecorder{
		"token":    s.form("/oauth/token", url.Values{}, "Origin", "https://inspector.example"),
		"register": s.send("POST", "/oauth/register", `{"redirect_uris":["https://x.example/cb"],"token_endpoint_auth_method":"none"}`, "Content-Type", "application/json", "Origin", "https://inspector.example"),
	} {
		if rec.Header().Get("Access-Control-Allow-Origin") != "*" || len(rec.Result().Cookies()) > 0 {
			t.Errorf("%s: %d %v", path, rec.Code, rec.Header())
		}
	}
}

// TestCallsOfPrograms: what is wrong with a call is said in OAuth's words, in
// JSON, and never as 500.
func TestCallsOfPrograms(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	form, js := "application/x-www-form-urlencoded", "application/json"
	for _, c := range []struct {
		method, path, ct, body string
		status                 int
		code                   string
	}{
		{"POST", "/oauth/token", js, `{"grant_type":"authorization_code"}`, 400, "invalid_request"},
		{"POST", "/oauth/token", "", "grant_type=refresh_token", 400, "invalid_request"},
		{"POST", "/oauth/token", form, "a=%zz", 400, "invalid_request"},
		{"POST", "/oauth/token", form, "a=" + strings.Repeat("x", 65<<10), 413, "invalid_request"},
		{"POST", "/oauth/token", form, "", 401, "invalid_client"},
		{"POST", "/oauth/token?grant_type=refresh_token&client_id=x&refresh_token=y", form, "", 401, "invalid_client"},
		{"GET", "/oauth/token", "", "", 405, "method_not_allowed"},
		{"POST", "/oauth/revoke", js, `{}`, 400, "invalid_request"},
		{"POST", "/oauth/register", form, "a=b", 400, "invalid_client_metadata"},
		{"POST", "/oauth/register", js, "{", 400, "invalid_client_metadata"},
		{"POST", "/oauth/register", js, `{"redirect_uris":["https://a.example/` + strings.Repeat("x", 65<<10) + `"]}`, 413, "invalid_client_metadata"},
		{"GET", "/oauth/register", "", "", 405, "method_not_allowed"},
	} {
		rec := s.send(c.method, c.path, c.body, "Content-Type", c.ct)
		if rec.Code != c.status || codeOf(rec) != c.code || rec.Header().Get("Content-Type") != "application/json" || rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s %.40s: %d %s %v, want %d %s", c.method, c.path, c.body, rec.Code, rec.Body, rec.Header(), c.status, c.code)
		}
	}
}

// TestEnteredClients: the operator's calls.
func TestEnteredClients(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	made := s.api("POST", "/api/v1/oauth-clients", `{"name":"Team chat","redirect_uris":["`+webRedirect+`"],"token_endpoint_auth_method":"client_secret_basic"}`)
	id, secret := field(t, made, "client_id"), field(t, made, "client_secret")
	if made.Code != 201 || id == "" || len(secret) != 43 {
		t.Fatalf("%d %s", made.Code, made.Body)
	}
	list := s.api("GET", "/api/v1/oauth-clients", "").Body.String()
	if !strings.Contains(list, id) || strings.Contains(list, secret) || strings.Contains(list, "secret\"") {
		t.Errorf("%s", list)
	}
	for body, code := range map[string]string{
		`{"redirect_uris":["` + webRedirect + `"]}`: "invalid_request",
		`{"name":"x"}`: "invalid_redirect_uri",
		`{"name":"x","redirect_uris":["http://client.example/"]}`:                                             "invalid_redirect_uri",
		`{"name":"x","redirect_uris":["other://app/cb"]}`:                                                     "invalid_redirect_uri",
		`{"name":"x","redirect_uris":["` + webRedirect + `"],"token_endpoint_auth_method":"tls_client_auth"}`: "invalid_client_metadata",
		`{"name":"x","redirect_uris":["` + webRedirect + `"],"token_endpoint_auth_method":"private_key_jwt"}`: "invalid_request",
	} {
		refusal := s.api("POST", "/api/v1/oauth-clients", body)
		want(t, body, refusal, 400, code)
		if strings.Contains(refusal.Body.String(), "granted") {
			t.Errorf("%s: it is told what is for people who sign in: %s", body, refusal.Body)
		}
	}
	want(t, "none of ours", s.api("DELETE", "/api/v1/oauth-clients/cli_x", ""), 404, "client_unknown")
	want(t, "remove", s.api("DELETE", "/api/v1/oauth-clients/"+id, ""), 204, "")
	want(t, "twice", s.api("DELETE", "/api/v1/oauth-clients/"+id, ""), 404, "client_unknown")
	// One that registered itself is not the operator's to list or remove.
	dynamic := field(t, s.send("POST", "/oauth/register", `{"client_name":"x","redirect_uris":["`+webRedirect+`"],"token_endpoint_auth_method":"none"}`, "Content-Type", "application/json"), "client_id")
	want(t, "dynamic", s.api("DELETE", "/api/v1/oauth-clients/"+dynamic, ""), 404, "client_unknown")
	ada := s.signedIn("ada")
	page := ada.led(ada.begins(s.asks(authserver.Client{ID: dynamic, RedirectURIs: []string{webRedirect}}, "notes"))).Body.String()
	if !strings.Contains(page, "registered itself") {
		t.Error("the page does not say that it registered itself")
	}
}
