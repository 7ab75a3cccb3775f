package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

// refused checks what holds for every attack: it leads nowhere but to a client's
// own address, it tells no secret, and it is not what we failed at.
func refused(t *testing.T, what string, rec *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	want(t, what, rec, status, code)
	if where := rec.Header().Get("Location"); where != "" {
		t.Errorf("%s: it leads to %s", what, where)
	}
	if strings.Contains(rec.Body.String(), "canary") {
		t.Errorf("%s: %s", what, excerpt(rec))
	}
}

// told is the error that the client is sent back with.
func told(t *testing.T, s *site, rec *httptest.ResponseRecorder, code string) {
	t.Helper()
	u := leads(t, rec)
	q := u.Query()
	if !strings.HasPrefix(u.String(), webRedirect+"?") || q.Get("error") != code || q.Get("iss") != s.base || q.Has("code") {
		t.Errorf("the client is told %s, want %s", u, code)
	}
}

// untouched reports a request that somebody has answered, and users who have given
// anything away.
func (s *site) untouched(path string) {
	s.t.Helper()
	r, err := s.store.AuthServer().GetRequest(s.t.Context(), strings.TrimPrefix(path, "/oauth/requests/"))
	if err != nil || r.Status != authserver.Asked || r.UserID != "" || r.FlowID != "" {
		s.t.Errorf("the request was changed: %v %s by %q", err, r.Status, r.UserID)
	}
	for _, user := range []string{"ada", "grace", "mallory", "me"} {
		if g, err := s.store.AuthServer().Grants(s.t.Context(), flow.DefaultTenant, user); err != nil || len(g) > 0 {
			s.t.Errorf("%s has given %d grants, %v", user, len(g), err)
		}
	}
}

func TestAttackOpenRedirectByAClient(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	c, app := s.enter(webRedirect, "https://client.example/a/b"), s.enter(appRedirect)
	b := s.browser()
	for _, raw := range []string{
		"https://evil.example/callback", "https://client.example", "https://client.example/", "https://client.example/callback/", "https://client.example/callback/x",
		"https://client.example/callback?x=1", "https://client.example/callback#x", "https://client.example:444/callback", "https://client.example:443/callback",
		"http://client.example/callback", "//client.example/callback", "https:client.example/callback", "https:/client.example/callback", "https:///client.example/callback",
		"https://client.example@evil.example/callback", "https://client.example%40evil.example/callback", "https://evil.example\\@client.example/callback",
		"https://user:pass@client.example/callback", "https://client.example.evil.example/callback", "https://client.example/a/../callback",
		"https://client.example/a/%2e%2e/callback", "https://client.example/%63allback", "https://client.example/Callback", "HTTPS://client.example/callback", "https://CLIENT.example/callback",
		" https://client.example/callback", "https://client.example/callback ", "https://client.example/callback\n", "https://client.example/callback\x00",
		"javascript:alert(1)", "data:text/html,x", "cursor://anysphere.cursor-mcp/oauth/callback", "/oauth/requests/x", "", "http://127.0.0.1/callback",
	} {
		refused(t, raw, b.led("/oauth/authorize?"+s.asks(c, "notes", "redirect_uri", raw).Encode()), 400, "invalid_request")
	}
	for _, raw := range []string{"http://127.0.0.1:1/callback/", "http://127.0.0.1:1/other", "https://127.0.0.1:1/callback", "http://127.0.0.2:1/callback", "http://localhost:1/callback",
		"http://127.1:1/callback", "http://0x7f.1:1/callback", "http://127.0.0.1:1@evil.example/callback", "http://127.0.0.1.evil.example/callback", "http://[::ffff:127.0.0.1]:1/callback"} {
		refused(t, raw, b.led("/oauth/authorize?"+s.asks(app, "notes", "redirect_uri", raw).Encode()), 400, "invalid_request")
	}
	for _, id := range []string{"", "canary-nobody", "javascript:alert(1)", "cli_x", "http://client.example/metadata", "https://user@client.example/x"} {
		refused(t, "client "+id, b.led("/oauth/authorize?"+s.asks(c, "notes", "client_id", id).Encode()), 400, "invalid_client")
	}
	// What leads back to a request leads nowhere else.
	ada := s.browser()
	link := s.link(`{"user_id":"ada"}`)
	for _, raw := range []string{"//evil.example", "https://evil.example", "../../evil", "req_x"} {
		ada.cookies[ada.name("request")] = raw
		ada.get(link)
		if rec := ada.post(link); rec.Header().Get("Location") != "/mcp/servers" {
			t.Errorf("%s: the link leads to %s", raw, rec.Header().Get("Location"))
		}
	}
	rec := ada.post("/mcp/servers/keyed/key", "request", "//evil.example/x?", "env.KEY", "x", "param.shop", "x")
	if where := rec.Header().Get("Location"); !strings.HasPrefix(where, "/oauth/requests/%2F%2Fevil.example%2Fx%3F?flow=") {
		t.Errorf("a key leads to %s", where)
	}
}

func TestAttackConsentFixation(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	con := s.connected("ada", "notes")
	mallory, ada, c := s.browser(), s.signedIn("ada"), s.enter(webRedirect)
	path := mallory.begins(s.asks(c, "notes"))
	// The victim opens what mallory began, and presses what there is to press.
	refused(t, "look", ada.led(path), 404, "request_unknown")
	refused(t, "allow", ada.post(path, "action", "allow", "connection", con.ID), 404, "request_unknown")
	refused(t, "cancel", ada.post(path, "action", "cancel"), 404, "request_unknown")
	s.untouched(path)
	// The other way round: mallory takes up what the victim began, before and after
	// it was allowed.
	path = ada.begins(s.asks(c, "notes"))
	refused(t, "mallory looks", mallory.led(path), 404, "request_unknown")
	asked := leads(t, ada.post(path, "action", "allow", "connection", "other"))
	refused(t, "mallory brings the provider's answer", mallory.led(s.answer(asked)), 403, "state_other_browser")
	ada.led(s.answer(asked))
	refused(t, "mallory collects the code", mallory.led(path), 404, "request_unknown")
	s.answered(ada.led(path), webRedirect)
}

func TestAttackClickjacking(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	s.connected("ada", "notes")
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	asked := s.browser().begins(s.asks(c, "notes"))
	path := ada.begins(s.asks(c, "notes"))
	for what, rec := range map[string]*httptest.ResponseRecorder{
		"consent": ada.led(path), "error": ada.led(asked), "refused": ada.led("/oauth/authorize?client_id=x"),
		"leaving":  ada.post(ada.begins(s.asks(c, "notes")), "action", "cancel"),
		"provider": ada.post(path, "action", "allow", "connection", "other"), "waiting": ada.led(path),
	} {
		h := rec.Header()
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "form-action 'self';") || !strings.Contains(csp, "default-src 'none'") ||
			h.Get("X-Frame-Options") != "DENY" || h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "same-origin" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", what, rec.Code, h)
		}
	}
	// A redirect may hold a code, and shows no page.
	rec := ada.led("/oauth/authorize?" + s.asks(c, "notes", "response_type", "token").Encode())
	if h := rec.Header(); rec.Code != 303 || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" || rec.Body.Len() > 0 {
		t.Errorf("%d %v", rec.Code, h)
	}
}

func TestAttackCSRF(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	con := s.connected("ada", "notes")
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	path := ada.begins(s.asks(c, "notes"))
	body := url.Values{"action": {"allow"}, "connection": {con.ID}, "csrf": {ada.csrf()}}.Encode()
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for what, c := range map[string]struct {
		body   string
		header []string
	}{
		"no token":          {"action=allow&connection=" + con.ID, []string{"Origin", s.base}},
		"another's token":   {"action=allow&connection=" + con.ID + "&csrf=" + s.signedIn("mallory").csrf(), []string{"Origin", s.base}},
		"another site":      {body, []string{"Origin", "https://evil.example"}},
		"an opaque origin":  {body, []string{"Origin", "null"}},
		"no origin":         {body, nil},
		"says the browser":  {body, []string{"Origin", s.base, "Sec-Fetch-Site", "cross-site"}},
		"a neighbour":       {body, []string{"Origin", s.base, "Sec-Fetch-Site", "same-site"}},
		"token in the path": {"action=allow&connection=" + con.ID, []string{"Origin", s.base, "X-Path", "?csrf=" + ada.csrf()}},
	} {
		at := path
		for i := 0; i+1 < len(c.header); i += 2 {
			if c.header[i] == "X-Path" {
				at += c.header[i+1]
			}
		}
		refused(t, what, ada.send("POST", at, c.body, append(form, c.header...)...), 403, "cross_site")
	}
	refused(t, "as JSON", ada.send("POST", path, `{"action":"allow"}`, "Content-Type", "application/json", "Origin", s.base), 403, "cross_site")
	s.untouched(path)
	s.answered(ada.post(path, "action", "allow", "connection", con.ID), webRedirect)
}

// states counts the OAuth states that are made, and the flows.
type states struct {
	flow.Store
	flows, states int
}

func (c *states) PutFlow(ctx context.Context, f flow.Flow) error {
	c.flows++
	return c.Store.PutFlow(ctx, f)
}

func (c *states) PutState(ctx context.Context, st flow.State) error {
	c.states++
	return c.Store.PutState(ctx, st)
}

func TestAttackStateBeforeConsent(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	count := &states{Store: s.store}
	s.starter.Store = count
	b, c := s.browser(), s.enter(webRedirect)
	path := b.begins(s.asks(c, "notes"))
	for _, query := range []string{"", "?again=1", "?other=1", "?flow=flo_x", "?action=allow"} {
		page := b.led(path + query)
		want(t, query, page, 200, "")
		if strings.Contains(page.Body.String(), "state=") {
			t.Errorf("%s: the page holds a state", query)
		}
	}
	b.post(b.begins(s.asks(c, "notes")), "action", "cancel")
	if count.flows+count.states > 0 {
		t.Errorf("%d flows and %d states before anybody consented", count.flows, count.states)
	}
	b.post(path, "action", "allow", "connection", "other")
	if count.flows != 1 || count.states != 1 {
		t.Errorf("%d flows and %d states", count.flows, count.states)
	}
}

func TestAttackParameterPollution(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	good := s.asks(c, "notes")
	for name := range good {
		again := good.Encode() + "&" + url.Values{name: {"https://evil.example/callback"}}.Encode()
		rec := ada.led("/oauth/authorize?" + again)
		switch name {
		case "client_id", "redirect_uri":
			refused(t, name+" twice", rec, 400, "invalid_request")
		case "resource":
			told(t, s, rec, "invalid_target")
		default:
			told(t, s, rec, "invalid_request")
		}
		// Half of it in the body, half in the address.
		rec = ada.send("POST", "/oauth/authorize?"+good.Encode(), url.Values{name: {"https://evil.example/callback"}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
		if rec = ada.led(rec.Header().Get("Location")); rec.Code == 303 && strings.HasPrefix(rec.Header().Get("Location"), "/oauth/requests/") {
			t.Errorf("%s once in the body, once in the address: it goes on", name)
		}
	}
	refused(t, "malformed", ada.led("/oauth/authorize?"+good.Encode()+"&state=%zz"), 400, "invalid_request")

	client, got := s.clientOf("ada", "notes")
	twice := func(form url.Values, name, value string) *httptest.ResponseRecorder {
		return s.send("POST", "/oauth/token", form.Encode()+"&"+url.Values{name: {value}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	}
	renew := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}, "client_id": {client.ID}}
	for name := range renew {
		refused(t, name+" twice", twice(renew, name, renew.Get(name)), 400, "invalid_request")
	}
	if !s.good(got.Access, "notes") {
		t.Error("a refused call ended the grant")
	}
	// What stands in the address counts for nothing.
	rec := s.form("/oauth/token?"+renew.Encode(), url.Values{"grant_type": {"refresh_token"}, "client_id": {client.ID}})
	refused(t, "in the address", rec, 400, "invalid_grant")
	rec = s.form("/oauth/token", renew, "Authorization", "Basic eDp5")
	refused(t, "two ways to prove oneself", rec, 400, "invalid_request")
	both := httptest.NewRequest("POST", s.base+"/oauth/token", strings.NewReader(renew.Encode()))
	both.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Basic eDp5", "Bearer x"}}
	rec = httptest.NewRecorder()
	s.handler.ServeHTTP(rec, both)
	refused(t, "two headers", rec, 400, "invalid_request")
}

func TestAttackDowngradeToPlain(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	for what, more := range map[string][]string{
		"plain": {"code_challenge_method", "plain", "code_challenge", verifier}, "no method is plain": {"code_challenge_method", ""}, "no challenge": {"code_challenge", ""},
		"neither": {"code_challenge", "", "code_challenge_method", ""}, "lower case": {"code_challenge_method", "s256"}, "another": {"code_challenge_method", "S512"},
		"too short to be one": {"code_challenge", "x"}, "padded": {"code_challenge", challengeOf(verifier) + "="},
	} {
		t.Run(what, func(t *testing.T) {
			told(t, s, ada.led("/oauth/authorize?"+s.asks(c, "notes", more...).Encode()), "invalid_request")
		})
	}
	// The challenge itself is no verifier.
	con := s.connected("ada", "notes")
	code := s.answered(ada.post(ada.begins(s.asks(c, "notes")), "action", "allow", "connection", con.ID), webRedirect)
	refused(t, "the challenge as verifier", s.redeem(c, code, "code_verifier", challengeOf(verifier)), 400, "invalid_grant")
}

func TestAttackResponseTypeToken(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	for _, kind := range []string{"token", "id_token", "code token", "code id_token", "none", "CODE", "code "} {
		rec := ada.led("/oauth/authorize?" + s.asks(c, "notes", "response_type", kind).Encode())
		told(t, s, rec, "unsupported_response_type")
		if strings.Contains(rec.Header().Get("Location"), "#") {
			t.Errorf("%s: an answer in the fragment", kind)
		}
	}
	told(t, s, ada.led("/oauth/authorize?"+s.asks(c, "notes", "response_type", "").Encode()), "invalid_request")
	for _, mode := range []string{"fragment", "form_post", "web_message"} {
		told(t, s, ada.led("/oauth/authorize?"+s.asks(c, "notes", "response_mode", mode).Encode()), "invalid_request")
	}
	for _, kind := range []string{"password", "client_credentials", "implicit", "urn:ietf:params:oauth:grant-type:token-exchange"} {
		refused(t, kind, s.form("/oauth/token", url.Values{"grant_type": {kind}, "client_id": {c.ID}, "username": {"ada"}, "password": {"x"}}), 400, "unsupported_grant_type")
	}
}

func TestAttackCodeReplay(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	con := s.connected("ada", "notes")
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	code := s.answered(ada.post(ada.begins(s.asks(c, "notes")), "action", "allow", "connection", con.ID), webRedirect)
	got := s.tokens(s.redeem(c, code))
	if !s.good(got.Access, "notes") {
		t.Fatal("the first use gives no token")
	}
	refused(t, "again", s.redeem(c, code), 400, "invalid_grant")
	if s.good(got.Access, "notes") {
		t.Error("the tokens of the first use live on")
	}
	refused(t, "its refresh token", s.form("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}, "client_id": {c.ID}}), 400, "invalid_grant")
	refused(t, "a third time", s.redeem(c, code), 400, "invalid_grant")
}

func TestAttackStolenCode(t *testing.T) {
	t.Parallel()
	for what, more := range map[string][]string{
		"without a verifier": {"code_verifier", ""}, "with another": {"code_verifier", strings.Repeat("x", 43)},
		"by another client": {"client_id", "OTHER"}, "for another address": {"redirect_uri", "https://client.example/a"},
	} {
		s := newSite(t, loopURL, "")
		con := s.connected("ada", "notes")
		c, ada := s.enter(webRedirect, "https://client.example/a"), s.signedIn("ada")
		code := s.answered(ada.post(ada.begins(s.asks(c, "notes")), "action", "allow", "connection", con.ID), webRedirect)
		if more[1] == "OTHER" {
			more = []string{"client_id", s.enter(webRedirect).ID}
		}
		refused(t, what, s.redeem(c, code, more...), 400, "invalid_grant")
		// It is spent: the thief may have seen more.
		refused(t, what+", then the client", s.redeem(c, code), 400, "invalid_grant")
	}
}

func TestAttackTokenAtAnotherServer(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	s.connected("ada", "mail")
	c, got := s.clientOf("ada", "notes")
	for _, path := range []string{"/mcp/mail", "/mcp", "/mcp/chat", "/mcp/NOTES"} {
		if rec := s.send("POST", path, initialize, "Authorization", "Bearer "+got.Access, "Content-Type", "application/json", "Accept", "application/json, text/event-stream"); rec.Code != 401 && rec.Code != 404 {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	if rec := s.send("POST", "/mcp/notes", initialize, "Authorization", "Bearer "+got.Access, "Content-Type", "application/json", "Accept", "application/json, text/event-stream"); rec.Code != 200 {
		t.Errorf("at its own: %d %s", rec.Code, rec.Body)
	}
	if !s.good(got.Access, "notes") || s.good(got.Access, "mail") || s.good(got.Access, "") {
		t.Error("the audience is not the one")
	}
	// Nor does the token endpoint move it.
	refused(t, "renewed for another", s.form("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}, "client_id": {c.ID},
		"resource": {s.base + "/mcp/mail"}}), 400, "invalid_target")
	ada := s.signedIn("ada")
	for _, resource := range []string{"https://evil.example/mcp/notes", s.base + "/mcp/nothing", s.base + "/mcp/notes/../mail", s.base + "/mcp/notes?x=1", s.base + "/mcp/notes#x", s.base, "notes", ""} {
		told(t, s, ada.led("/oauth/authorize?"+s.asks(c, "notes", "resource", resource).Encode()), "invalid_target")
	}
}

func TestAttackTokensOfOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c, got := s.clientOf("ada", "notes")
	// The provider's tokens are none of ours.
	for _, upstream := range []token.Secret{"canary-access", "canary-refresh", "lat_gnt_x.y"} {
		rec := s.send("POST", "/mcp/notes", initialize, "Authorization", "Bearer "+upstream.Reveal(), "Content-Type", "application/json")
		refused(t, "a provider's token", rec, 401, "invalid_token")
		refused(t, "a provider's refresh token", s.form("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {upstream.Reveal()}, "client_id": {c.ID}}), 400, "invalid_grant")
	}
	// Ours are for MCP endpoints alone, each in its own place.
	for _, ours := range []string{got.Access, got.Refresh} {
		for _, call := range []string{"GET /api/v1/connections", "GET /api/v1/oauth-clients", "GET /api/v1/mcp/servers", "POST /api/v1/links"} {
			method, path, _ := strings.Cut(call, " ")
			refused(t, call, s.send(method, path, "", "Authorization", "Bearer "+ours), 401, "unauthorized")
		}
	}
	refused(t, "a refresh token as bearer", s.send("POST", "/mcp/notes", initialize, "Authorization", "Bearer "+got.Refresh, "Content-Type", "application/json"), 401, "invalid_token")
	refused(t, "an access token as refresh token", s.form("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Access}, "client_id": {c.ID}}), 400, "invalid_grant")
	refused(t, "an access token as code", s.redeem(c, got.Access), 400, "invalid_grant")
	refused(t, "in the address", s.send("POST", "/mcp/notes?access_token="+got.Access, initialize, "Content-Type", "application/json"), 401, "invalid_token")
	if !s.good(got.Access, "notes") {
		t.Error("the attempts ended the grant")
	}
}

func TestAttackSessionInPlaceOfBearer(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	s.connected("ada", "notes")
	ada := s.signedIn("ada")
	for _, path := range []string{"/mcp/notes", "/mcp"} {
		refused(t, path, ada.fetch("POST", path, initialize), 401, "invalid_token")
		refused(t, path+" with the cookie as bearer", ada.send("POST", path, initialize, "Content-Type", "application/json", "Authorization", "Bearer "+ada.cookies[ada.name("session")]), 401, "invalid_token")
		refused(t, path+" with a session of MCP", ada.send("POST", path, initialize, "Content-Type", "application/json", "Mcp-Session-Id", "canary"), 401, "invalid_token")
	}
	// Nor does one open the token endpoint.
	c := s.enter(webRedirect)
	refused(t, "the token endpoint", ada.post("/oauth/token", "grant_type", "authorization_code", "client_id", c.ID), 400, "invalid_grant")
}

func TestAttackDenied(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	con := s.connected("ada", "notes")
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	path := ada.begins(s.asks(c, "notes"))
	told(t, s, ada.post(path, "action", "cancel"), "access_denied")
	for _, rec := range []*httptest.ResponseRecorder{ada.led(path), ada.post(path, "action", "allow", "connection", con.ID), ada.post(path, "action", "cancel")} {
		refused(t, "afterwards", rec, 409, "request_ended")
	}
	if g, err := s.store.AuthServer().Grants(t.Context(), flow.DefaultTenant, "ada"); err != nil || len(g) > 0 {
		t.Errorf("%d grants, %v", len(g), err)
	}
	// Without a session one can still say no.
	nobody := s.browser()
	told(t, s, nobody.post(nobody.begins(s.asks(c, "notes")), "action", "cancel"), "access_denied")
}

func TestAttackAnotherUsersRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c, ada := s.enter(webRedirect), s.browser()
	path := ada.begins(s.asks(c, "notes"))
	link := s.link(`{"user_id":"ada"}`)
	ada.get(link)
	ada.post(link)
	asked := leads(t, ada.post(path, "action", "allow", "connection", "other"))
	ada.led(s.answer(asked)) // connected, and the code not yet collected
	// Somebody else's link is opened in this browser.
	link = s.link(`{"user_id":"grace"}`)
	ada.get(link)
	ada.post(link)
	refused(t, "look", ada.led(path), 403, "request_other_user")
	refused(t, "allow", ada.post(path, "action", "allow", "connection", "other"), 403, "request_other_user")
	for _, user := range []string{"ada", "grace"} {
		if g, err := s.store.AuthServer().Grants(t.Context(), flow.DefaultTenant, user); err != nil || len(g) > 0 {
			t.Errorf("%s: %d grants, %v", user, len(g), err)
		}
	}
	// Another tenant's endpoint is not for this session, nor its consent.
	path = ada.begins(s.asks(c, "notes", "resource", s.base+"/t/other/mcp/notes"))
	want(t, "another tenant's", ada.led(path), 401, "")
	want(t, "another tenant's, allowed", ada.post(path, "action", "allow", "connection", "other"), 401, "")
	s.untouched(path)
}

func TestAttackGETDoesNotConsent(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	con := s.connected("ada", "notes")
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	path := ada.begins(s.asks(c, "notes"))
	for _, method := range []string{"GET", "HEAD"} {
		for _, query := range []string{"", "?action=allow&connection=" + con.ID, "?action=allow&connection=" + con.ID + "&csrf=" + ada.csrf(), "?again=1&action=allow", "?flow=flo_x", "?action=cancel"} {
			for _, header := range [][]string{{"Sec-Fetch-Dest", "document"}, {"Sec-Fetch-Dest", "image"}, {"Sec-Purpose", "prefetch"}} {
				want(t, method+query, ada.send(method, path+query, "", header...), 200, "")
			}
		}
	}
	for _, method := range []string{"PUT", "PATCH", "DELETE"} {
		refused(t, method, ada.send(method, path, "action=allow"), 405, "method_not_allowed")
	}
	s.untouched(path)
}

// A client that uses several authorization servers tells by iss whose answer it
// has (RFC 9207): it is in each, and is what our document names.
func TestAttackMixUpByAnIssuer(t *testing.T) {
	t.Parallel()
	s := newSite(t, "https://lanyard.test", "")
	con := s.connected("ada", "notes")
	c, ada := s.enter(webRedirect), s.signedIn("ada")
	if doc := s.send("GET", "/.well-known/oauth-authorization-server", "").Body.String(); !strings.Contains(doc, `"issuer":"https://lanyard.test"`) || !strings.Contains(doc, `"authorization_response_iss_parameter_supported":true`) {
		t.Errorf("%s", doc)
	}
	for what, rec := range map[string]*httptest.ResponseRecorder{
		"a code":    ada.post(ada.begins(s.asks(c, "notes")), "action", "allow", "connection", con.ID),
		"a refusal": ada.post(ada.begins(s.asks(c, "notes")), "action", "cancel"),
		"an error":  ada.led("/oauth/authorize?" + s.asks(c, "notes", "response_type", "token").Encode()),
		"one more":  ada.led("/oauth/authorize?" + s.asks(c, "notes", "resource", "https://other.example/mcp").Encode()),
		"brought":   ada.led("/oauth/authorize?" + s.asks(c, "notes", "response_type", "token", "iss", "https://evil.example").Encode()),
	} {
		if q := leads(t, rec).Query(); len(q["iss"]) != 1 || q.Get("iss") != s.base || q.Get("state") != "canary-state" {
			t.Errorf("%s: %v", what, q)
		}
	}
	// The other way: an answer of the provider that names another issuer.
	path := ada.begins(s.asks(c, "mail"))
	asked := leads(t, ada.post(path, "action", "allow", "connection", "other"))
	back := ada.led(s.answer(asked, "iss", "https://evil.example"))
	page := ada.led(back.Header().Get("Location"))
	want(t, "a provider's answer by another issuer", page, 200, "issuer_mismatch")
}

func TestAttackRegistrationFlood(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	register := func(peer string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", s.base+"/oauth/register", strings.NewReader(`{"client_name":"x","redirect_uris":["https://x.example/cb"],"token_endpoint_auth_method":"none"}`))
		r.RemoteAddr = peer
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		rec := httptest.NewRecorder()
		s.handler.ServeHTTP(rec, r)
		return rec
	}
	let := 0
	for i := range 60 {
		// What a client says of itself does not count, nor which of its own
		// addresses it uses.
		rec := register(fmt.Sprintf("[2001:db8::%x]:%d", i+1, 1000+i), "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i), "X-Lanyard-Viewer", fmt.Sprintf("192.0.2.%d", i))
		switch rec.Code {
		case 201:
			let++
		default:
			refused(t, "one too many", rec, 429, "temporarily_unavailable")
		}
	}
	if let == 0 || let > 30 {
		t.Errorf("%d of 60 were let in", let)
	}
	want(t, "somebody else", register("198.51.100.7:1000"), 201, "")
	// Clients that are known go on.
	c, got := s.clientOf("ada", "notes")
	s.tokens(s.form("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}, "client_id": {c.ID}}))
}
