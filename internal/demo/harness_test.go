package demo

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	testClient   = "app + 1%"
	testRedirect = "https://app.example/callback?from=demo"
	testVerifier = "0123456789-0123456789-0123456789-0123456789"
	testState    = "state-of-the-app"
)

// fakeClock only moves when told.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// site is a provider being served, its clock and a browser that visits it.
type site struct {
	t       testing.TB
	clock   *fakeClock
	url     string
	file    string
	browser *http.Client
	*Provider
}

func newSite(t testing.TB, dataFile string) *site {
	t.Helper()
	s := &site{t: t, file: dataFile, clock: &fakeClock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}, browser: newBrowser(t)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	s.restart()
	return s
}

// restart opens the data file anew, as after a crash.
func (s *site) restart() {
	s.t.Helper()
	p, err := New(Config{BaseURL: s.url, ClientID: testClient, ClientSecret: "s3cret + more%", RedirectURIs: []string{testRedirect, "http://127.0.0.1:8080/cb"},
		DataFile: s.file, Clock: s.clock.Now})
	if err != nil {
		s.t.Fatal(err)
	}
	s.Provider = p
}

// newBrowser keeps cookies and stops at every redirect.
func newBrowser(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authQuery is a good authorization request, with changes: name, value, …; a
// value of "-" takes the parameter out.
func authQuery(changes ...string) url.Values {
	return changed(url.Values{"client_id": {testClient}, "redirect_uri": {testRedirect}, "response_type": {"code"},
		"state": {testState}, "scope": {"profile notes.read notes.write"},
		"code_challenge": {challengeOf(testVerifier)}, "code_challenge_method": {"S256"}}, changes...)
}

func changed(v url.Values, changes ...string) url.Values {
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "-" {
			v.Del(changes[i])
		} else {
			v.Set(changes[i], changes[i+1])
		}
	}
	return v
}

type answer struct {
	*http.Response
	body string
}

func (s *site) do(client *http.Client, method, target, body string, headers ...string) answer {
	s.t.Helper()
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp, string(data)}
}

func (a answer) json(t testing.TB, out any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), out); err != nil {
		t.Fatalf("answer %d is no JSON: %v", a.StatusCode, err)
	}
}

// sentBack is what the browser would bring to the app.
func (a answer) sentBack(t testing.TB) url.Values {
	t.Helper()
	u, err := a.Location()
	if err != nil {
		t.Fatalf("answer %d has no location: %v", a.StatusCode, err)
	}
	return u.Query()
}

var consentToken = regexp.MustCompile(`name="consent" value="([^"]+)"`)

// open shows the consent page and returns its one-time token.
func (s *site) open(q url.Values) string {
	s.t.Helper()
	return s.tokenIn(s.do(s.browser, "GET", s.url+"/authorize?"+q.Encode(), ""))
}

func (s *site) tokenIn(page answer) string {
	s.t.Helper()
	m := consentToken.FindStringSubmatch(page.body)
	if page.StatusCode != http.StatusOK || m == nil {
		s.t.Fatalf("no consent page: %d\n%s", page.StatusCode, page.body)
	}
	return m[1]
}

func (s *site) decideWith(form url.Values, headers ...string) answer {
	s.t.Helper()
	headers = append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)
	return s.do(s.browser, "POST", s.url+"/authorize", form.Encode(), headers...)
}

// code walks through consent as Ada.
func (s *site) code(scopes ...string) string {
	s.t.Helper()
	token := s.open(authQuery())
	got := s.decideWith(url.Values{"consent": {token}, "account": {"ada"}, "scope": scopes, "decision": {"allow"}}).sentBack(s.t)
	if got.Get("code") == "" || got.Get("state") != testState || got.Get("iss") != s.url || got.Get("from") != "demo" {
		s.t.Fatal("the answer lacks code, state, iss or the redirect URI's own query")
	}
	return got.Get("code")
}

// post calls a client endpoint with client_secret_post.
func (s *site) post(path string, form url.Values) answer {
	s.t.Helper()
	form.Set("client_id", testClient)
	form.Set("client_secret", "s3cret + more%")
	return s.postRaw(path, form.Encode())
}

func (s *site) postRaw(path, body string, headers ...string) answer {
	s.t.Helper()
	headers = append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)
	return s.do(http.DefaultClient, "POST", s.url+path, body, headers...)
}

func redeemForm(code string, changes ...string) url.Values {
	return changed(url.Values{"grant_type": {"authorization_code"}, "code": {code},
		"redirect_uri": {testRedirect}, "code_verifier": {testVerifier}}, changes...)
}

func renewForm(refresh string, changes ...string) url.Values {
	return changed(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}, changes...)
}

// tokens makes a successful token request.
func (s *site) tokens(form url.Values) tokenAnswer {
	s.t.Helper()
	a := s.post("/token", form)
	if a.StatusCode != http.StatusOK || a.Header.Get("Cache-Control") != "no-store" {
		s.t.Fatalf("token request: %d %s", a.StatusCode, a.errorCode())
	}
	var out tokenAnswer
	a.json(s.t, &out)
	return out
}

// connect yields the tokens of all scopes.
func (s *site) connect() tokenAnswer {
	s.t.Helper()
	return s.tokens(redeemForm(s.code("profile", "notes.read", "notes.write")))
}

func (a answer) errorCode() string {
	var e errorBody
	_ = json.Unmarshal([]byte(a.body), &e)
	return e.Error
}

func (s *site) api(method, path, access, body string) answer {
	s.t.Helper()
	return s.do(http.DefaultClient, method, s.url+path, body, "Authorization", "Bearer "+access)
}

func (s *site) wantAPI(status int, access string) {
	s.t.Helper()
	if a := s.api("GET", "/notes", access, ""); a.StatusCode != status {
		s.t.Fatalf("GET /notes: %d, want %d", a.StatusCode, status)
	}
}

func (s *site) wantError(a answer, status int, code string) {
	s.t.Helper()
	if a.StatusCode != status || a.errorCode() != code {
		s.t.Fatalf("answer %s, want %d %s", fmt.Sprint(a.StatusCode, " ", a.body), status, code)
	}
	if a.Header.Get("Cache-Control") != "no-store" {
		s.t.Error("an error may be cached")
	}
}
