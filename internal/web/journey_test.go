package web

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

// link mints a connect link for ada and returns its path.
func (s *site) link(body string) string {
	s.t.Helper()
	rec := s.api("POST", "/api/v1/links", body)
	if rec.Code != 201 {
		s.t.Fatalf("link: %d %s", rec.Code, rec.Body)
	}
	return strings.TrimPrefix(field(s.t, rec, "url"), s.base)
}

// TestLinkIsClaimedByPost: looking at a link does not use it up; the first
// browser that presses the button has it.
func TestLinkIsClaimedByPost(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	path := s.link(`{"user_id":"ada","servers":["notes"]}`)
	bot, ada, mallory := s.browser(), s.browser(), s.browser()
	for range 3 {
		if rec := bot.get(path); rec.Code != 200 || !strings.Contains(rec.Body.String(), "Notes") {
			t.Fatalf("preview: %d %s", rec.Code, excerpt(rec))
		}
		want(t, "HEAD", bot.send("HEAD", path, ""), 200, "")
	}
	want(t, "the secret is wrong", bot.get(path+"x"), 404, "link_unknown")
	want(t, "no secret", bot.get(path[:strings.IndexByte(path, '.')]), 404, "link_unknown")
	ada.get(path)
	mallory.get(path)
	rec := ada.post(path)
	if rec.Code != 303 || rec.Header().Get("Location") != "/mcp/servers?server=notes" {
		t.Fatalf("claim: %d %s", rec.Code, excerpt(rec))
	}
	want(t, "a second browser claims", mallory.post(path), 403, "link_claimed")
	want(t, "a second browser looks", mallory.get(path), 403, "link_claimed")
	if rec := ada.post(path); rec.Code != 303 {
		t.Errorf("the first browser again: %d", rec.Code)
	}
	page := ada.get("/mcp/servers")
	if page.Code != 200 || !strings.Contains(page.Body.String(), "Notes") || strings.Contains(page.Body.String(), "Mail") {
		t.Errorf("the page offers more than the link: %d %s", page.Code, excerpt(page))
	}
	want(t, "another server, form", ada.post("/mcp/servers/mail/connect"), 404, "server_unknown")
	want(t, "another server, call", ada.fetch("POST", "/api/v1/mcp/servers/mail/oauth/connect", `{}`), 404, "server_unknown")
	want(t, "another server, pasted", ada.fetch("POST", "/api/v1/mcp/servers/keyed/connect", `{"env_values":{"KEY":"x"},"params":{"shop":"x"}}`), 404, "server_unknown")
	want(t, "another server, key form", ada.post("/mcp/servers/keyed/key", "env.KEY", "x", "param.shop", "x"), 404, "server_unknown")
	want(t, "its own server", ada.fetch("POST", "/api/v1/mcp/servers/notes/oauth/connect", `{}`), 200, "")
	s.clock.advance(25 * time.Hour)
	want(t, "expired", ada.get(path), 410, "link_expired")
	want(t, "its session too", ada.get("/api/v1/connections"), 401, "sign_in_required")
}

// TestConnectFromThePage is the whole way of one person, without a script.
func TestConnectFromThePage(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	b := s.browser()
	b.get("/mcp/servers")
	id := b.start("notes")
	asked := b.toProvider(id)
	if q := asked.Query(); q.Get("state") == id || len(q.Get("state")) != 43 || q.Get("redirect_uri") != loopURL+flow.CallbackPath || q.Get("code_challenge_method") != "S256" {
		t.Errorf("asked %v", q)
	}
	want(t, "another browser", s.browser().get(s.answer(asked)), 403, "state_other_browser")
	rec := b.get(s.answer(asked))
	where := rec.Header().Get("Location")
	if rec.Code != 303 || !strings.HasPrefix(where, "/mcp/connections/con_") {
		t.Fatalf("callback: %d %s", rec.Code, excerpt(rec))
	}
	page := b.get(where)
	if page.Code != 200 || !strings.Contains(page.Body.String(), "ada@demo.example") || strings.Contains(page.Body.String(), "canary") {
		t.Errorf("connection page: %d %s", page.Code, excerpt(page))
	}
	connected := strings.TrimPrefix(where, "/mcp/connections/")
	next := func() string { return field(t, b.get("/api/v1/connections/"+connected), "next_refresh_at") }
	if strings.Contains(page.Body.String(), "Renewed again") || next() != "" {
		t.Errorf("renewed next at %q, before anybody has planned it", next())
	}
	if err := s.refresh.Attend(t.Context(), connection.Key{Tenant: flow.DefaultTenant, ID: connected}); err != nil {
		t.Fatal(err)
	}
	if page := b.get(where); !strings.Contains(page.Body.String(), "Renewed again") || next() == "" {
		t.Errorf("renewed next at %q, once it is planned: %s", next(), excerpt(page))
	}
	want(t, "the same answer again", b.get(s.answer(asked)), 409, "state_used")
	want(t, "the consent page again", b.get("/c/"+id), 409, "flow_ended")
	want(t, "the consent again", b.post("/c/"+id, "action", "authorize"), 409, "flow_ended")
	got := b.get("/api/v1/flows/" + id)
	if field(t, got, "status") != "connected" || "/mcp/connections/"+field(t, got, "connection_id") != where {
		t.Errorf("%s", got.Body)
	}
	ended := b.post(where + "/disconnect")
	want(t, "disconnect", ended, 200, "")
	want(t, "gone", b.get(where), 404, "connection_unknown")
}

// TestCallbackAsJSON is for front ends that keep the redirect to themselves.
func TestCallbackAsJSON(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	b := s.signedIn("ada")
	asked := b.toProvider(b.start("notes"))
	rec := b.get("/api/v1" + s.answer(asked))
	var out struct {
		Success bool
		Server  struct {
			Name       string
			Connected  bool
			ToolsCount int `json:"tools_count"`
		}
		ConnectionID string `json:"connection_id"`
		TokenID      string `json:"token_id"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil || !out.Success || out.Server.Name != "notes" || !out.Server.Connected ||
		out.Server.ToolsCount != 2 || !strings.HasPrefix(out.ConnectionID, "con_") || !strings.HasPrefix(out.TokenID, "set_") {
		t.Errorf("%v %s", err, rec.Body)
	}
	want(t, "again", b.get("/api/v1"+s.answer(asked)), 409, "state_used")
}

// TestProviderSaysNo: its words are shown as text, and never decide more than
// their code does.
func TestProviderSaysNo(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	const hostile = `<script>alert(1)</script><img src=x onerror=alert(1)>` + "\u202e\x00\x1b[31m"
	for name, test := range map[string]struct {
		more   []string
		status int
		code   string
	}{
		"denied":         {[]string{"code", "", "error", "access_denied", "error_description", hostile}, 403, "access_denied"},
		"hostile words":  {[]string{"code", "", "error", "invalid_scope", "error_description", hostile}, 502, "provider_error"},
		"hostile code":   {[]string{"code", "", "error", hostile}, 502, "provider_error"},
		"out of order":   {[]string{"code", "", "error", "server_error", "error_uri", "javascript:alert(1)"}, 502, "provider_unavailable"},
		"another issuer": {[]string{"iss", "https://evil.test"}, 400, "issuer_mismatch"},
		"no issuer":      {[]string{"iss", ""}, 400, "issuer_mismatch"},
		"nothing":        {[]string{"code", ""}, 400, "callback_invalid"},
	} {
		b := s.browser()
		b.get("/mcp/servers")
		asked := b.toProvider(b.start("notes"))
		rec := b.get(s.answer(asked, test.more...))
		want(t, name, rec, test.status, test.code)
		body := rec.Body.String()
		if strings.Contains(body, "<script>alert") || strings.Contains(body, "<img src=x") || strings.ContainsAny(body, "\x00\x1b\u202e") || strings.Contains(body, `href="javascript`) {
			t.Errorf("%s: the provider's words became markup: %s", name, excerpt(rec))
		}
		if !strings.Contains(body, "Try again") {
			t.Errorf("%s: there is no way on", name)
		}
	}
	b := s.browser()
	b.get("/mcp/servers")
	s.provider.answers(400, `{"error":"invalid_grant","error_description":"<script>alert(1)</script>"}`)
	rec := b.get(s.answer(b.toProvider(b.start("notes")), "code", "canary-code"))
	want(t, "a refused code", rec, 502, "code_refused")
	if strings.Contains(rec.Body.String(), "<script>alert") || strings.Contains(rec.Body.String(), "canary") {
		t.Error(excerpt(rec))
	}
}

// TestReturn: a person goes back only to where the tenant allows, with what its
// backend needs and nothing secret.
func TestReturn(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	s.confirm = true
	path := s.link(`{"user_id":"ada","return_url":"https://app.test/in/x?a=1#"}`)
	b := s.browser()
	b.get(path)
	b.post(path)
	id := b.start("notes")
	asked := b.toProvider(id)
	rec := b.get(s.answer(asked, "return_url", "https://evil.test", "error_uri", "https://evil.test"))
	u, err := url.Parse(rec.Header().Get("Location"))
	if err != nil || rec.Code != 303 || u.Host != "app.test" || u.Path != "/in/x" || u.Query().Get("flow_id") != id || u.Query().Get("status") != "pending" || u.Query().Get("a") != "1" {
		t.Fatalf("%d %s", rec.Code, excerpt(rec))
	}
	if len(u.Query()) != 3 {
		t.Errorf("more than it needs: %s", u)
	}

	// Nobody but the tenant confirms, and only for the right user.
	confirm := "/api/v1/flows/" + id + "/confirm"
	want(t, "the browser itself", b.fetch("POST", confirm, `{"user_id":"ada"}`), 401, "unauthorized")
	want(t, "another tenant", s.send("POST", confirm, `{"user_id":"ada"}`, "Content-Type", "application/json", "Authorization", "Bearer "+otherKey), 404, "flow_unknown")
	want(t, "another user", s.api("POST", confirm, `{"user_id":"grace"}`), 403, "flow_other_user")
	want(t, "no user", s.api("POST", confirm, `{}`), 403, "flow_other_user")
	con := field(t, s.api("GET", "/api/v1/flows/"+id, ""), "connection_id")
	want(t, "no token before", s.api("GET", "/api/v1/connections/"+con+"/token", ""), 409, "connection_pending")
	want(t, "confirmed", s.api("POST", confirm, `{"user_id":"ada"}`), 200, "")
	want(t, "confirmed again", s.api("POST", confirm, `{"user_id":"ada"}`), 200, "")
	want(t, "a token after", s.api("GET", "/api/v1/connections/"+con+"/token", ""), 200, "")
}

// TestPopup: the page that opened it is told, and nobody else.
func TestPopup(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	for name, test := range map[string]struct {
		more   []string
		status int
	}{"connected": {nil, 200}, "denied": {[]string{"code", "", "error", "access_denied"}, 403}} {
		id := field(t, s.api("POST", "/api/v1/mcp/servers/notes/oauth/connect", `{"user_id":"ada","popup":true,"return_url":"https://app.test/in/x?secret=y"}`), "flow_id")
		b := s.browser()
		rec := b.get(s.answer(b.toProvider(id), test.more...))
		if body := rec.Body.String(); rec.Code != test.status || !strings.Contains(body, `data-opener="https://app.test"`) || !strings.Contains(body, `data-flow="`+id+`"`) {
			t.Errorf("%s: %d %s", name, rec.Code, excerpt(rec))
		}
	}
}

// TestConsent: only the browser that consents goes on; cancelling ends it.
func TestConsent(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	started := func() string {
		return field(t, s.api("POST", "/api/v1/mcp/servers/notes/oauth/connect", `{"user_id":"ada-canary"}`), "flow_id")
	}
	id := started()
	first, second := s.browser(), s.browser()
	if rec := first.get("/c/" + id); rec.Code != 200 || strings.Contains(rec.Body.String(), "ada-canary") {
		t.Errorf("somebody with the address alone is told who it is for: %d", rec.Code)
	}
	second.get("/c/" + id)
	first.toProvider(id)
	want(t, "a second browser looks", second.get("/c/"+id), 403, "flow_other_browser")
	want(t, "a second browser consents", second.post("/c/"+id, "action", "authorize"), 403, "flow_other_browser")
	want(t, "a second browser cancels", second.post("/c/"+id, "action", "cancel"), 403, "flow_other_browser")
	want(t, "a second browser polls", second.get("/api/v1/flows/"+id), 404, "flow_unknown")
	want(t, "the first polls", first.get("/api/v1/flows/"+id), 200, "")

	id = started()
	second.get("/c/" + id)
	want(t, "cancel", second.post("/c/"+id, "action", "cancel"), 403, "access_denied")
	want(t, "after that", second.post("/c/"+id, "action", "authorize"), 409, "flow_ended")
	id = started()
	s.clock.advance(time.Hour)
	want(t, "an old one", second.get("/c/"+id), 410, "flow_expired")
	want(t, "none", second.get("/c/flo_none"), 404, "flow_unknown")

	id = started()
	asked := first.toProvider(id)
	s.clock.advance(11 * time.Minute)
	want(t, "an old state", first.get(s.answer(asked)), 410, "state_expired")
	if rec := s.signedIn("ada").post("/mcp/servers/unset/connect"); rec.Code != 303 || rec.Header().Get("Location") != "/mcp/servers/unset/setup" {
		t.Errorf("a provider without a client: %d %s", rec.Code, excerpt(rec))
	}
	guest := s.browser()
	path := s.link(`{"user_id":"ada"}`)
	guest.get(path)
	guest.post(path)
	for what, rec := range map[string]*httptest.ResponseRecorder{"the card": guest.post("/mcp/servers/unset/connect"), "the setup page": guest.get("/mcp/servers/unset/setup")} {
		want(t, what+", for who came by a link", rec, 409, "client_missing")
		if said := rec.Body.String(); !strings.Contains(said, "Tell whoever sent you the link") || strings.Contains(said, "GOOGLE_CLIENT") {
			t.Errorf("%s, for who came by a link: %s", what, excerpt(rec))
		}
	}
	if said := guest.get("/mcp/servers").Body.String(); strings.Contains(said, "/setup") || !strings.Contains(said, "Not available yet") {
		t.Error("the list leads who came by a link to the operator's page")
	}
	s.connect.ClientCommand = func(tenant, provider string) string { return "lanyard client set " + provider + " --tenant " + tenant }
	if rec := s.signedIn("ada").get("/mcp/servers/unset/setup"); rec.Code != 200 || !strings.Contains(rec.Body.String(), "lanyard client set google --tenant default") {
		t.Errorf("the page of a deployment: %d %s", rec.Code, excerpt(rec))
	}
	want(t, "the same for a program", s.api("POST", "/api/v1/mcp/servers/unset/oauth/connect", `{"user_id":"ada"}`), 409, "client_missing")
}

// TestSetupOfAHost: the page names what may be said of where the client is, in the
// words of .env or of the command, and a person's own address changes nothing of it.
func TestSetupOfAHost(t *testing.T) {
	t.Parallel()
	s := newSite(t, "https://lanyard.test", "me")
	said := s.browser().get("/mcp/servers/gitlab/setup?host=evil.example").Body.String()
	for _, want := range []string{"GITLAB_CLIENT_ID=…", "GITLAB_CLIENT_HOST=…", "gitlab.com", "gitlab.example.com"} {
		if !strings.Contains(said, want) {
			t.Errorf("the page lacks %s: %s", want, said)
		}
	}
	if strings.Contains(said, "--param") || strings.Contains(said, "evil.example") {
		t.Error("the page of one machine shows what is no business of its own")
	}
	s.connect.ClientCommand = func(_, provider string) string { return "lanyard client set " + provider }
	said = s.browser().get("/mcp/servers/gitlab/setup").Body.String()
	if !strings.Contains(said, "--param host=…") || strings.Contains(said, "GITLAB_CLIENT_HOST") {
		t.Errorf("the page of a deployment: %s", said)
	}
	if said := s.browser().get("/mcp/servers/chat/setup").Body.String(); strings.Contains(said, "optional") {
		t.Error("Slack is at one place")
	}
	// A server that does not work where the client is counts as one without.
	rec := s.api("POST", "/api/v1/mcp/servers/github/oauth/connect", `{"user_id":"me"}`)
	want(t, "a server of another host", rec, 409, "client_missing")
	for what, said := range map[string]string{"the answer": rec.Body.String(), "the page": s.browser().get("/mcp/servers/github/setup").Body.String()} {
		if !strings.Contains(said, "does not work with") || !strings.Contains(said, "git.acme.example") {
			t.Errorf("%s does not say why: %s", what, said)
		}
	}
}

// TestWhatHasToBeOn: the page of a provider names what its servers use there, of
// those that are offered, each once, and says so in a safe link.
func TestWhatHasToBeOn(t *testing.T) {
	t.Parallel()
	b := newSite(t, loopURL, "me").browser()
	b.get("/mcp/servers")
	said := b.get("/mcp/servers/unset-too/setup").Body.String()
	at := -1
	for _, item := range []string{
		`<a href="https://console.test/files" target="_blank" rel="noopener noreferrer"><bdi>Files API</bdi><span class="vh"> (opens in a new window)</span></a> for <bdi>Unset</bdi></li>`,
		`<a href="https://console.test/mail" target="_blank" rel="noopener noreferrer"><bdi>Mail API</bdi><span class="vh"> (opens in a new window)</span></a> for <bdi>Unset</bdi>, <bdi>Unset too</bdi></li>`,
	} {
		next := strings.Index(said, item)
		if next <= at {
			t.Errorf("%s is not there, or in another order: %s", item, said)
		}
		at = next
	}
	if strings.Contains(said, "console.cloud.google.com/apis") {
		t.Error("it names what no server uses that is offered")
	}
	if said := b.get("/mcp/servers/chat/setup").Body.String(); strings.Contains(said, "Turn on") {
		t.Error("another provider's page names it, too")
	}
}

// TestProviderThatNeedsHTTPS: what only whoever runs Lanyard can change is said
// to them, and is no fault of ours.
func TestProviderThatNeedsHTTPS(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	b := s.browser()
	b.get("/mcp/servers")
	rec := b.post("/c/"+b.start("chat"), "action", "authorize")
	want(t, "consent", rec, 409, "provider_unusable")
	if !strings.Contains(rec.Body.String(), "https") {
		t.Errorf("it does not say why: %s", excerpt(rec))
	}
	setup := b.get("/mcp/servers/chat/setup")
	said := setup.Body.String()
	if setup.Code != 200 || !strings.Contains(said, "SLACK_CLIENT_ID") {
		t.Errorf("%d %s", setup.Code, excerpt(setup))
	}
	if strings.Count(said, "https redirect") != 1 || strings.Index(said, "https redirect") > strings.Index(said, loopURL+flow.CallbackPath) {
		t.Errorf("that Slack takes https only is to be said once, and first: %s", said)
	}
	if strings.Contains(said, `data-copy="redirect-uri"`) || strings.Contains(said, "Every character") {
		t.Error("an address that cannot be registered is offered to be copied")
	}
	public := newSite(t, "https://lanyard.test", "me").browser()
	if said := public.get("/mcp/servers/chat/setup").Body.String(); !strings.Contains(said, `data-copy="redirect-uri"`) || strings.Contains(said, "notice-warn") {
		t.Errorf("an address that can be registered is warned of: %s", said)
	}
}

func TestPastedKey(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	b := s.browser()
	b.get("/mcp/servers")
	want(t, "nothing pasted", b.post("/mcp/servers/keyed/key", "param.shop", "x"), 400, "parameter_invalid")
	want(t, "a bad parameter", b.post("/mcp/servers/keyed/key", "env.KEY", "canary-key", "param.shop", "NO"), 400, "parameter_invalid")
	want(t, "the wrong way", b.post("/mcp/servers/notes/key"), 409, "auth_type_mismatch")
	want(t, "the other wrong way", b.post("/mcp/servers/keyed/connect"), 409, "auth_type_mismatch")
	rec := b.post("/mcp/servers/keyed/key", "env.KEY", " canary-key ", "param.shop", "x")
	if rec.Code != 303 || !strings.HasPrefix(rec.Header().Get("Location"), "/mcp/connections/con_") {
		t.Fatalf("%d %s", rec.Code, excerpt(rec))
	}
	id := strings.TrimPrefix(rec.Header().Get("Location"), "/mcp/connections/")
	page := b.get("/mcp/connections/" + id)
	said := page.Body.String()
	if page.Code != 200 || strings.Contains(said, "canary") {
		t.Errorf("%d %s", page.Code, excerpt(page))
	}
	if !strings.Contains(said, "Key saved") || !strings.Contains(said, "tried at the first call") || strings.Contains(said, "Renewed again") {
		t.Errorf("a key that nobody has tried, and that is never renewed: %s", excerpt(page))
	}
	if at := field(t, b.get("/api/v1/connections/"+id), "next_refresh_at"); at != "" {
		t.Errorf("a key is renewed next at %s", at)
	}
	want(t, "it has no token to hand out", s.api("GET", "/api/v1/connections/"+id+"/token", ""), 404, "token_unknown")
}

// TestReconnect keeps the connection's id, and refuses another account.
func TestReconnect(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	s.setStatus(c, connection.ReconnectNeeded)
	b := s.signedIn("ada")
	reconnect := func() *httptest.ResponseRecorder {
		rec := b.post("/mcp/servers/notes/connect", "connection_id", c.ID)
		return b.get(s.answer(b.toProvider(strings.TrimPrefix(rec.Header().Get("Location"), "/c/"))))
	}
	s.provider.mu.Lock()
	s.provider.subject = "grace"
	s.provider.mu.Unlock()
	want(t, "another account", reconnect(), 409, "other_account")
	s.provider.mu.Lock()
	s.provider.subject = "ada"
	s.provider.mu.Unlock()
	if rec := reconnect(); rec.Header().Get("Location") != "/mcp/connections/"+c.ID {
		t.Errorf("%d %s", rec.Code, excerpt(rec))
	}
}

// FuzzCallback: whatever comes back from a provider, the answer is a page or
// JSON that says what to do.
func FuzzCallback(f *testing.F) {
	for _, seed := range []string{"code=x&state=y", "state=&code=", "error=access_denied&state=x", "code=a&code=b", "state=%zz", "code=%00&state=%ff", "iss=;&state=a;b", "state=STATE&code=good&iss=ISS", "state=STATE&error=%3Cb%3E"} {
		f.Add(seed)
	}
	shared := newSite(f, loopURL, "me")
	f.Fuzz(func(t *testing.T, query string) {
		s := *shared
		s.t = t
		b := s.browser()
		b.get("/mcp/servers")
		if strings.Contains(query, "STATE") {
			asked := b.toProvider(b.start("notes"))
			query = strings.NewReplacer("STATE", asked.Query().Get("state"), "ISS", url.QueryEscape(s.provider.url)).Replace(query)
		}
		for _, path := range []string{"/mcp/oauth/callback", "/api/v1/mcp/oauth/callback"} {
			r := httptest.NewRequest("GET", loopURL+path, nil)
			r.URL.RawQuery = query
			r.Header.Set("Cookie", b.jar())
			rec := httptest.NewRecorder()
			s.handler.ServeHTTP(rec, r)
			if rec.Code == 500 || rec.Code < 200 || rec.Code >= 400 && codeOf(rec) == "" {
				t.Errorf("%q: %d %s", query, rec.Code, excerpt(rec))
			}
			if to := rec.Header().Get("Location"); to != "" && !strings.HasPrefix(to, "/mcp/connections/") {
				t.Errorf("%q leads to %s", query, to)
			}
		}
	})
}
