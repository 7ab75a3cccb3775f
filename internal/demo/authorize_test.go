package demo

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Whatever is wrong with client or redirect URI must not send the browser
// anywhere.
func TestAuthorizeStaysOnThePage(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	for name, q := range map[string]string{
		"nothing":              "",
		"unparsable":           "client_id=%zz",
		"semicolon":            authQuery().Encode() + ";x=1",
		"no client":            authQuery("client_id", "-").Encode(),
		"unknown client":       authQuery("client_id", "App + 1%").Encode(),
		"two clients":          authQuery().Encode() + "&client_id=app",
		"no redirect URI":      authQuery("redirect_uri", "-").Encode(),
		"two redirect URIs":    authQuery().Encode() + "&redirect_uri=" + url.QueryEscape(testRedirect),
		"another host":         authQuery("redirect_uri", "https://evil.example/callback?from=demo").Encode(),
		"another scheme":       authQuery("redirect_uri", "http://app.example/callback?from=demo").Encode(),
		"script":               authQuery("redirect_uri", "javascript:alert(1)").Encode(),
		"protocol-relative":    authQuery("redirect_uri", "//app.example/callback?from=demo").Encode(),
		"upper-case host":      authQuery("redirect_uri", "https://APP.example/callback?from=demo").Encode(),
		"upper-case path":      authQuery("redirect_uri", "https://app.example/Callback?from=demo").Encode(),
		"fragment":             authQuery("redirect_uri", testRedirect+"#x").Encode(),
		"empty fragment":       authQuery("redirect_uri", testRedirect+"#").Encode(),
		"user info":            authQuery("redirect_uri", "https://app.example@evil.example/callback?from=demo").Encode(),
		"own user info":        authQuery("redirect_uri", "https://x@app.example/callback?from=demo").Encode(),
		"default port":         authQuery("redirect_uri", "https://app.example:443/callback?from=demo").Encode(),
		"another port":         authQuery("redirect_uri", "http://127.0.0.1:8081/cb").Encode(),
		"trailing slash":       authQuery("redirect_uri", "http://127.0.0.1:8080/cb/").Encode(),
		"path below":           authQuery("redirect_uri", "http://127.0.0.1:8080/cb/../x").Encode(),
		"more query":           authQuery("redirect_uri", testRedirect+"&x=1").Encode(),
		"encoded":              authQuery("redirect_uri", "http://127.0.0.1:8080/%63b").Encode(),
		"backslash":            authQuery("redirect_uri", `https://evil.example\@app.example/callback?from=demo`).Encode(),
		"trailing space":       authQuery("redirect_uri", testRedirect+" ").Encode(),
		"suffix of the host":   authQuery("redirect_uri", "http://127.0.0.1:8080.evil.example/cb").Encode(),
		"too long":             authQuery("state", strings.Repeat("s", maxQuery)).Encode(),
		"bad scope elsewhere":  authQuery("redirect_uri", "https://evil.example/", "scope", "root").Encode(),
		"no PKCE and no where": authQuery("redirect_uri", "-", "code_challenge", "-").Encode(),
	} {
		a := s.do(s.browser, "GET", s.url+"/authorize?"+q, "")
		if a.StatusCode != http.StatusBadRequest || a.Header.Get("Location") != "" || strings.Contains(a.body, "<form") {
			t.Errorf("%s: %d to %q", name, a.StatusCode, a.Header.Get("Location"))
		}
		if !strings.Contains(a.body, "go back to the app") {
			t.Errorf("%s: the page does not say what to do", name)
		}
	}
}

func TestAuthorizeAnswersTheClient(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	for name, tt := range map[string]struct{ query, code string }{
		"no response type":     {authQuery("response_type", "-").Encode(), "invalid_request"},
		"implicit":             {authQuery("response_type", "token").Encode(), "unsupported_response_type"},
		"hybrid":               {authQuery("response_type", "code token").Encode(), "unsupported_response_type"},
		"no challenge":         {authQuery("code_challenge", "-").Encode(), "invalid_request"},
		"no PKCE at all":       {authQuery("code_challenge", "-", "code_challenge_method", "-").Encode(), "invalid_request"},
		"no method":            {authQuery("code_challenge_method", "-").Encode(), "invalid_request"},
		"plain":                {authQuery("code_challenge_method", "plain", "code_challenge", testVerifier).Encode(), "invalid_request"},
		"lower-case method":    {authQuery("code_challenge_method", "s256").Encode(), "invalid_request"},
		"short challenge":      {authQuery("code_challenge", "abc").Encode(), "invalid_request"},
		"loose challenge":      {authQuery("code_challenge", strings.Repeat("A", 42)+"B").Encode(), "invalid_request"}, // stray low bits
		"padded challenge":     {authQuery("code_challenge", challengeOf(testVerifier)+"=").Encode(), "invalid_request"},
		"no scope":             {authQuery("scope", "-").Encode(), "invalid_scope"},
		"blank scope":          {authQuery("scope", "  ").Encode(), "invalid_scope"},
		"unknown scope":        {authQuery("scope", "notes.read admin").Encode(), "invalid_scope"},
		"scope with markup":    {authQuery("scope", "<script>alert(1)</script>").Encode(), "invalid_scope"},
		"repeated scope param": {authQuery().Encode() + "&scope=profile", "invalid_request"},
		"repeated challenge":   {authQuery().Encode() + "&code_challenge=x", "invalid_request"},
	} {
		a := s.do(s.browser, "GET", s.url+"/authorize?"+tt.query, "")
		if a.StatusCode != http.StatusFound || !strings.HasPrefix(a.Header.Get("Location"), testRedirect+"&") {
			t.Errorf("%s: %d to %q", name, a.StatusCode, a.Header.Get("Location"))
			continue
		}
		got := a.sentBack(t)
		if got.Get("error") != tt.code || got.Get("state") != testState || got.Get("iss") != s.url || got.Get("error_description") == "" || got.Has("code") {
			t.Errorf("%s: sent back %v, want error %s with state and iss", name, got, tt.code)
		}
	}
}

// A state that tries to break out stays one parameter of the redirect.
func TestStateIsEchoedAsData(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	for _, state := range []string{"a&code=stolen#x", "\r\nSet-Cookie: a=b", `"><script>alert(1)</script>`, "é\x00", "%26code%3Dx"} {
		token := s.open(authQuery("state", state))
		got := s.decideWith(url.Values{"consent": {token}, "decision": {"deny"}}).sentBack(t)
		if got.Get("state") != state || got.Has("code") {
			t.Errorf("state %q came back as %q", state, got.Get("state"))
		}
	}
	if got := s.decideWith(url.Values{"consent": {s.open(authQuery("state", "-"))}, "decision": {"deny"}}).sentBack(t); got.Has("state") {
		t.Error("a state that was never sent came back")
	}
}

func TestPagesHoldNothingOfTheRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	const markup = `"><img src=x onerror=alert(1)>`
	for _, q := range []url.Values{
		authQuery("state", markup), authQuery("client_id", markup), authQuery("redirect_uri", markup),
		authQuery("x", markup), authQuery("scope", "profile", "prompt", markup),
	} {
		if a := s.do(s.browser, "GET", s.url+"/authorize?"+q.Encode(), ""); strings.Contains(a.body, "onerror") {
			t.Errorf("%v is repeated in the page", q)
		}
	}
}

func TestPageHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	for _, path := range []string{"/", "/authorize", "/authorize?" + authQuery().Encode(), "/nowhere", "/style.css"} {
		a := s.do(s.browser, "GET", s.url+path, "")
		csp := a.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q lacks %s", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || a.Header.Get("X-Frame-Options") != "DENY" || a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, a.Header)
		}
		for _, inline := range []string{"<script", "<style", " style=", "javascript:"} {
			if strings.Contains(strings.ToLower(a.body), inline) {
				t.Errorf("%s: inline %s", path, inline)
			}
		}
	}
	a := s.do(s.browser, "GET", s.url+"/authorize?"+authQuery().Encode(), "")
	c := a.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure {
		t.Errorf("cookie on http: %+v", c)
	}
	if !strings.Contains(a.body, "everything here is on your machine") || !strings.Contains(a.body, "app.example") {
		t.Error("the page does not say what it is and who is answered")
	}
}

func TestAnotherHostIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	req, err := http.NewRequest("GET", s.url+"/authorize?"+authQuery().Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "rebound.example"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("status %d, want 421", resp.StatusCode)
	}
}

func TestConsentIsBoundAndSpentOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	allow := func(token string) url.Values {
		return url.Values{"consent": {token}, "account": {"ada"}, "scope": {"profile"}, "decision": {"allow"}}
	}
	refused := func(name string, a answer, status int) {
		t.Helper()
		if a.StatusCode != status || a.Header.Get("Location") != "" {
			t.Errorf("%s: %d (redirect: %v), want %d", name, a.StatusCode, a.Header.Get("Location") != "", status)
		}
	}

	token, other := s.open(authQuery()), s.open(authQuery())
	refused("no token", s.decideWith(allow("")), http.StatusBadRequest)
	refused("unknown token", s.decideWith(allow("nonsense")), http.StatusBadRequest)
	refused("cross-site", s.decideWith(allow(token), "Sec-Fetch-Site", "cross-site"), http.StatusForbidden)
	refused("another local port", s.decideWith(allow(token), "Sec-Fetch-Site", "same-site"), http.StatusForbidden)
	refused("foreign origin", s.decideWith(allow(token), "Origin", "https://evil.example"), http.StatusForbidden)
	refused("unreadable form", s.do(s.browser, "POST", s.url+"/authorize", "%zz"), http.StatusBadRequest)

	mine := s.browser
	s.browser = newBrowser(t)
	refused("another browser", s.decideWith(allow(token)), http.StatusBadRequest)
	s.open(authQuery())
	refused("another browser with a page of its own", s.decideWith(allow(token)), http.StatusBadRequest)
	s.browser = mine

	if got := s.decideWith(allow(token), "Sec-Fetch-Site", "same-origin").sentBack(t); got.Get("code") == "" {
		t.Error("none of that may have spent the page")
	}
	refused("second decision", s.decideWith(allow(token)), http.StatusBadRequest)
	if got := s.decideWith(allow(other)).sentBack(t); got.Get("code") == "" {
		t.Error("the other tab's page must still work")
	}

	// The cookie is taken away with the decision; a thief of both would keep it.
	replayed := s.open(authQuery())
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	kept := s.browser.Jar.Cookies(u)
	s.decideWith(allow(replayed))
	s.browser.Jar.SetCookies(u, kept)
	refused("second decision with the cookie kept", s.decideWith(allow(replayed)), http.StatusBadRequest)

	late := s.open(authQuery())
	s.clock.advance(consentTTL)
	refused("too late", s.decideWith(allow(late)), http.StatusBadRequest)
}

// A cookie value from elsewhere under the right name is not enough.
func TestConsentCookieValueCounts(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	token := s.open(authQuery())
	s.browser = newBrowser(t)
	a := s.decideWith(url.Values{"consent": {token}, "decision": {"deny"}}, "Cookie", s.cookie(token, "guess", 0).String())
	if a.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d, want 400", a.StatusCode)
	}
}

func TestIncompleteDecisionAsksAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	token := s.open(authQuery())
	for _, form := range []url.Values{
		{"decision": {"allow"}, "account": {"ada"}},
		{"decision": {"allow"}, "account": {"ada"}, "scope": {"admin"}},
		{"decision": {"allow"}, "account": {"mallory"}, "scope": {"profile"}},
		{"decision": {"perhaps"}, "account": {"ada"}, "scope": {"profile"}},
	} {
		form.Set("consent", token)
		page := s.decideWith(form)
		if !strings.Contains(page.body, `role="alert"`) {
			t.Errorf("%v: no notice", form)
		}
		token = s.tokenIn(page)
	}
	if got := s.decideWith(url.Values{"consent": {token}, "account": {"grace"}, "scope": {"profile"}, "decision": {"allow"}}).sentBack(t); got.Get("code") == "" {
		t.Error("the page that asks again does not work")
	}
}

func TestPendingConsentsAreBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	first := s.open(authQuery())
	for range maxConsents {
		s.clock.advance(time.Millisecond)
		s.open(authQuery())
	}
	s.store.view(func(st state) {
		if len(st.Consents) != maxConsents {
			t.Errorf("%d pages remembered, want %d", len(st.Consents), maxConsents)
		}
		if _, ok := st.Consents[hash(first)]; ok {
			t.Error("the oldest page was not the one forgotten")
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := func() Config {
		return Config{BaseURL: "http://127.0.0.1:8090", ClientID: "a", ClientSecret: "b", RedirectURIs: []string{testRedirect}}
	}
	if _, err := New(good()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no base URL":             func(c *Config) { c.BaseURL = "" },
		"plain http in public":    func(c *Config) { c.BaseURL = "http://demo.example" },
		"loopback look-alike":     func(c *Config) { c.BaseURL = "http://127.0.0.1.evil.example" },
		"base URL with path":      func(c *Config) { c.BaseURL += "/x" },
		"base URL with user info": func(c *Config) { c.BaseURL = "http://a@127.0.0.1" },
		"no client id":            func(c *Config) { c.ClientID = "" },
		"no client secret":        func(c *Config) { c.ClientSecret = "" },
		"no redirect URI":         func(c *Config) { c.RedirectURIs = nil },
		"script redirect URI":     func(c *Config) { c.RedirectURIs = []string{"javascript:alert(1)"} },
		"relative redirect URI":   func(c *Config) { c.RedirectURIs = []string{"/cb"} },
		"redirect with fragment":  func(c *Config) { c.RedirectURIs = []string{testRedirect + "#"} },
		"redirect with user info": func(c *Config) { c.RedirectURIs = []string{"https://a:b@app.example/"} },
		"no lifetime":             func(c *Config) { c.AccessTTL = time.Millisecond },
	} {
		c := good()
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSecureCookie(t *testing.T) {
	t.Parallel()
	p, err := New(Config{BaseURL: "https://demo.example", ClientID: "a", ClientSecret: "b", RedirectURIs: []string{testRedirect}})
	if err != nil {
		t.Fatal(err)
	}
	c := p.cookie("t", "v", 60)
	if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || c.Path != "/" || c.Valid() != nil {
		t.Errorf("cookie on https: %+v", c)
	}
}
