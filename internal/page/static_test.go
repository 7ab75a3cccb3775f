package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCSP(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		given []string
		want  string
	}{
		{nil, "form-action 'self'; "},
		{[]string{"https://accounts.google.com/o/oauth2/v2/auth?x=y"}, "form-action 'self' https://accounts.google.com; "},
		{[]string{"http://127.0.0.1:9000", "https://a.example"}, "form-action 'self' http://127.0.0.1:9000 https://a.example; "},
		{[]string{"javascript:alert(1)", "data:,", "//x", "", "%", "https://", "https://*.example", "https://a;script-src *", "https://a, b", "https://a b"}, "form-action 'self'; "},
		{[]string{"https://user:secret@a.example/"}, "form-action 'self' https://a.example; "},
	} {
		got := CSP(c.given...)
		if !strings.Contains(got, c.want) {
			t.Errorf("%q: no %q in %s", c.given, c.want, got)
		}
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in %s", want, got)
			}
		}
		if strings.Contains(got, "unsafe") || strings.Contains(got, "*") || strings.Count(got, ";") != 7 {
			t.Errorf("%q widened the policy: %s", c.given, got)
		}
	}
}

// Whatever is given, the policy keeps its eight directives.
func FuzzCSP(f *testing.F) {
	f.Add("https://a.example:8443/x")
	f.Add("https://a; script-src https://b")
	f.Fuzz(func(t *testing.T, raw string) {
		got := CSP(raw)
		if strings.Count(got, ";") != 7 || strings.ContainsAny(got, ",\r\n*") || strings.Contains(got, "unsafe") {
			t.Errorf("%q: %s", raw, got)
		}
	})
}

func TestStatic(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	hash := p.assets["connect.js"].hash
	for _, c := range []struct {
		path, none string
		status     int
		cache      string
	}{
		{"/static/connect.js", "", http.StatusOK, "public, no-cache"},
		{"/static/connect.js", `"` + hash + `"`, http.StatusNotModified, "public, no-cache"},
		{"/static/" + hash + "/connect.js", "", http.StatusOK, "public, max-age=31536000, immutable"},
		{"/static/000000000000/connect.js", "", http.StatusOK, "public, no-cache"},
		{"/static/nothing.js", "", http.StatusNotFound, ""},
		{"/static/", "", http.StatusNotFound, ""},
		{"/static/layout.html", "", http.StatusNotFound, ""},
	} {
		r := httptest.NewRequest(http.MethodGet, c.path, nil)
		r.Header.Set("If-None-Match", c.none)
		w := httptest.NewRecorder()
		p.Static().ServeHTTP(w, r)
		if w.Code != c.status || w.Header().Get("Cache-Control") != c.cache {
			t.Errorf("%s: %d %v", c.path, w.Code, w.Header())
		}
		if c.status == http.StatusOK && (w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Content-Type") != "text/javascript; charset=utf-8") {
			t.Errorf("%s: %v", c.path, w.Header())
		}
	}
}

// An address breaks where people would break it, and stays text.
func TestParted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ada@demo.example": "ada@<wbr>demo.<wbr>example",
		"Work":             "Work",
		`<b a="x@y">&'.`:   "&lt;b a=&#34;x@<wbr>y&#34;&gt;&amp;&#39;.<wbr>",
		"<wbr>":            "&lt;wbr&gt;",
	} {
		if got := string(parted(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
