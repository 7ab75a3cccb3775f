package demo

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func fuzzProvider(f *testing.F) *Provider {
	f.Helper()
	p, err := New(Config{BaseURL: "http://127.0.0.1:8090", ClientID: "app", ClientSecret: "secret", RedirectURIs: []string{testRedirect}})
	if err != nil {
		f.Fatal(err)
	}
	return p
}

// Whatever is asked, the browser stays or goes to the registered address, and
// nothing but consent yields a code.
func FuzzAuthorize(f *testing.F) {
	p := fuzzProvider(f)
	f.Add(authQuery().Encode())
	f.Add(authQuery("scope", "admin").Encode())
	f.Add(authQuery("state", "\r\n<>&#").Encode())
	f.Add(authQuery("redirect_uri", testRedirect+"#").Encode())
	f.Add("a=%zz;b")
	f.Add(authQuery().Encode() + "&state=2")
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "http://127.0.0.1:8090/authorize", nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		to := w.Header().Get("Location")
		if w.Code >= 500 || w.Code == http.StatusFound && !strings.HasPrefix(to, testRedirect+"&") || w.Code != http.StatusFound && to != "" {
			t.Fatalf("%d to %q", w.Code, to)
		}
		if to == "" {
			return
		}
		u, err := url.Parse(to)
		if err != nil || u.Host != "app.example" || u.Fragment != "" || u.Query().Has("code") || len(u.Query()["iss"]) != 1 {
			t.Fatalf("sent to %q", to)
		}
	})
}

// Without a code or refresh token that was issued, no body yields a token.
func FuzzToken(f *testing.F) {
	p := fuzzProvider(f)
	f.Add(redeemForm("x").Encode(), "Basic YXBwOnNlY3JldA==")
	f.Add(renewForm("x").Encode(), "Basic YXBwOnNlY3JldA==")
	f.Add(renewForm("x").Encode()+"&client_id=app&client_secret=secret", "")
	f.Add("grant_type=%zz&;", "Bearer x")
	f.Add("token=a&token=b", "Basic Og==")
	f.Fuzz(func(t *testing.T, body, authorization string) {
		for _, path := range []string{"/token", "/revoke", "/introspect", "/authorize"} {
			r := httptest.NewRequest("POST", "http://127.0.0.1:8090"+path, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Authorization", authorization)
			w := httptest.NewRecorder()
			p.ServeHTTP(w, r)
			if w.Code >= 500 || strings.Contains(w.Body.String(), "access_token") || strings.Contains(w.Body.String(), `"active":true`) {
				t.Fatalf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	})
}

// Whatever the body is, a drill that is accepted is one that can be played.
func FuzzDrill(f *testing.F) {
	f.Add([]byte(`{"behaviours":["cut-off","grace-same"],"times":1,"account":"ada"}`))
	f.Add([]byte(`{"behaviours":["html"],"seconds":60}`))
	f.Add([]byte(`{"behaviours":["html"],"times":1e3}`))
	f.Add([]byte(`{"Behaviours":["html"]}{`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := New(Config{BaseURL: "http://127.0.0.1:8090", ClientID: "app", ClientSecret: "secret", RedirectURIs: []string{testRedirect}})
		if err != nil {
			t.Fatal(err)
		}
		d, err := parseDrill(body)
		if err != nil {
			return
		}
		s, err := p.StartDrill(d)
		if known := len(d.Behaviours) > 0 && d.Check() == nil; (err == nil) != known {
			t.Fatalf("%+v: %v", d, err)
		}
		if _, ok := behaviourOf(s.Now); err == nil && (!ok || s.Now != d.Behaviours[0]) {
			t.Fatalf("%+v plays %q", d, s.Now)
		}
	})
}
