package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

// TestForms: a form counts only if one of our own pages sent it from the very
// browser that was given the page.
func TestForms(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	ada, mallory := s.signedIn("ada"), s.signedIn("mallory")
	const same = "same-origin"
	for name, test := range map[string]struct {
		csrf, origin, fetchSite string
		status                  int
	}{
		"as it should be":         {ada.csrf(), loopURL, same, 303},
		"an older browser":        {ada.csrf(), loopURL, "", 303},
		"no token":                {"", loopURL, same, 403},
		"a wrong token":           {"x" + ada.csrf(), loopURL, same, 403},
		"another browser's token": {mallory.csrf(), loopURL, same, 403},
		"the cookie as token":     {ada.cookies[ada.name("browser")], loopURL, same, 403},
		"no origin":               {ada.csrf(), "", same, 403},
		"origin null":             {ada.csrf(), "null", same, 403},
		"a foreign origin":        {ada.csrf(), "https://evil.test", same, 403},
		"another port":            {ada.csrf(), "http://127.0.0.1:8081", same, 403},
		"another scheme":          {ada.csrf(), "https://127.0.0.1:8080", same, 403},
		"a longer host":           {ada.csrf(), loopURL + ".evil.test", same, 403},
		"cross-site":              {ada.csrf(), loopURL, "cross-site", 403},
		"same-site":               {ada.csrf(), loopURL, "same-site", 403},
		"typed in":                {ada.csrf(), loopURL, "none", 403},
	} {
		for _, path := range []string{"/mcp/connections/" + c.ID + "/rename", "/mcp/servers/notes/connect", "/mcp/connections/" + c.ID + "/mcp-tokens"} {
			rec := ada.send("POST", path, "label=x&csrf="+test.csrf, "Content-Type", "application/x-www-form-urlencoded",
				"Origin", test.origin, "Sec-Fetch-Site", test.fetchSite)
			if refused := rec.Code == 403; refused != (test.status == 403) {
				t.Errorf("%s, %s: %d", name, path, rec.Code)
			}
			if rec.Code == 403 && codeOf(rec) != "cross_site" {
				t.Errorf("%s: %s", name, excerpt(rec))
			}
		}
	}
	// The token in the address is not the token in the form.
	rec := ada.send("POST", "/mcp/connections/"+c.ID+"/rename?csrf="+ada.csrf(), "label=x", "Content-Type", "application/x-www-form-urlencoded", "Origin", loopURL)
	want(t, "token in the query", rec, 403, "cross_site")
}

// TestCallsByCookie: a page of another origin cannot act through somebody's
// session, whatever the method.
func TestCallsByCookie(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	c := s.connected("ada", "notes")
	ada := s.signedIn("ada")
	calls := []struct{ method, path, body string }{
		{"PATCH", "/api/v1/connections/" + c.ID, `{"label":"x"}`},
		{"POST", "/api/v1/mcp/servers/notes/oauth/connect", `{}`},
		{"POST", "/api/v1/mcp/servers/keyed/connect", `{"env_values":{"KEY":"x"},"params":{"shop":"x"}}`},
		{"POST", "/api/v1/connections/" + c.ID + "/mcp-tokens", `{}`},
		{"POST", "/api/v1/connections/" + c.ID + "/tools/whoami", `{}`},
		{"DELETE", "/api/v1/connections/" + c.ID, ""},
	}
	for _, origin := range []string{"https://evil.test", "null", "", "http://localhost:8080"} {
		for _, call := range calls {
			rec := ada.send(call.method, call.path, call.body, "Content-Type", "application/json", "Origin", origin)
			want(t, call.method+" "+call.path+" from "+origin, rec, 403, "cross_site")
		}
	}
	for _, call := range calls {
		rec := ada.send(call.method, call.path, call.body, "Content-Type", "application/json", "Origin", loopURL, "Sec-Fetch-Site", "cross-site")
		want(t, call.path+" cross-site", rec, 403, "cross_site")
		if rec := ada.fetch(call.method, call.path, call.body); rec.Code >= 300 {
			t.Errorf("%s from our own page: %d %s", call.path, rec.Code, rec.Body)
		}
	}
}

// TestRebinding: a name that somebody else's DNS points here reaches nothing.
func TestRebinding(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	for hostname, ok := range map[string]bool{
		"127.0.0.1:8080": true, "localhost:8080": true, "LOCALHOST:8080": true,
		"evil.test": false, "evil.test:8080": false, "127.0.0.1": false, "127.0.0.1:8081": false, "": false, "127.0.0.1:8080.evil.test": false, "[::1]:8080": false,
	} {
		for _, path := range []string{"/mcp/servers", "/api/v1/connections", "/mcp/notes", "/static/app.js"} {
			rec := s.send("GET", path, "", "Host", hostname)
			if refused := rec.Code == http.StatusMisdirectedRequest; refused == ok {
				t.Errorf("Host %q: %s: %d", hostname, path, rec.Code)
			}
			if !ok {
				want(t, hostname, rec, 421, "host_not_allowed")
				if len(rec.Result().Cookies()) > 0 {
					t.Errorf("Host %q got a cookie", hostname)
				}
			}
		}
	}
}

// TestOtherNameOfThisMachine: cookies belong to a name, so the browser is sent
// to the one that the provider comes back to.
func TestOtherNameOfThisMachine(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "me")
	for _, path := range []string{"/mcp/servers?q=x", "/c/flo_x", "/l/lnk_x.y", "/mcp/servers?next=//evil.test"} {
		rec := s.send("GET", path, "", "Host", "localhost:8080")
		if rec.Code != http.StatusFound || rec.Header().Get("Location") != loopURL+path || len(rec.Result().Cookies()) > 0 {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Header().Get("Location"))
		}
	}
}

func TestCookies(t *testing.T) {
	t.Parallel()
	for base, prefix := range map[string]string{loopURL: "lanyard-", "https://lanyard.test": "__Host-lanyard-"} {
		s := newSite(t, base, "me")
		rec := s.send("GET", "/mcp/servers", "")
		cookies := rec.Result().Cookies()
		if rec.Code != 200 || len(cookies) != 2 {
			t.Fatalf("%s: %d, %d cookies", base, rec.Code, len(cookies))
		}
		for _, c := range cookies {
			if !strings.HasPrefix(c.Name, prefix) || !c.HttpOnly || c.Secure != (prefix != "lanyard-") || c.SameSite != http.SameSiteLaxMode ||
				c.Path != "/" || c.Domain != "" || c.MaxAge <= 0 || len(c.Value) != 43 {
				t.Errorf("%s: %s", base, strings.ReplaceAll(c.String(), c.Value, "…"))
			}
		}
	}
	// On https, a cookie without the prefix could come from a neighbour: it
	// counts for nothing.
	s := newSite(t, "https://lanyard.test", "")
	ada := s.signedIn("ada")
	rec := s.send("GET", "/api/v1/connections", "", "Cookie", strings.ReplaceAll(ada.jar(), "__Host-", ""))
	want(t, "cookies without the prefix", rec, 401, "sign_in_required")
}

// TestFirstVisit: one page, one browser cookie, and a session that works.
func TestFirstVisit(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]string{"no cookie": "", "one that is too short": "x", "one that is too long": strings.Repeat("x", 200)} {
		s := newSite(t, loopURL, "me")
		b := s.browser()
		if before != "" {
			b.cookies[b.name("browser")] = before
		}
		rec := b.get("/mcp/servers")
		count := map[string]int{}
		for _, c := range rec.Result().Cookies() {
			count[c.Name]++
		}
		if rec.Code != 200 || count["lanyard-browser"] != 1 || count["lanyard-session"] != 1 {
			t.Errorf("%s: %d, cookies %v", name, rec.Code, count)
		}
		if !strings.Contains(rec.Body.String(), b.csrf()) {
			t.Errorf("%s: the forms carry the token of another browser", name)
		}
		if again := b.get("/mcp/servers"); len(again.Result().Cookies()) != 0 {
			t.Errorf("%s: the second visit gets other cookies", name)
		}
		want(t, name+": a call", b.get("/api/v1/connections"), 200, "")
	}
}

// TestSessionStaysInItsBrowser: a session cookie alone is worth nothing.
func TestSessionStaysInItsBrowser(t *testing.T) {
	t.Parallel()
	s := newSite(t, loopURL, "")
	ada, thief := s.signedIn("ada"), s.browser()
	thief.cookies[thief.name("session")] = ada.cookies[ada.name("session")]
	want(t, "without a browser", thief.fetch("GET", "/api/v1/connections", ""), 401, "sign_in_required")
	thief.cookies[thief.name("browser")] = token.NewSecret().Reveal()
	want(t, "with another browser", thief.fetch("GET", "/api/v1/connections", ""), 401, "sign_in_required")
	if rec := thief.get("/mcp/servers"); rec.Code != 401 {
		t.Errorf("the page: %d", rec.Code)
	}
	s.clock.advance(flow.SessionTTL + 1)
	want(t, "an expired session", ada.fetch("GET", "/api/v1/connections", ""), 401, "sign_in_required")
}
