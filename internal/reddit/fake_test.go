package reddit

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/lanyardhq/lanyard/internal/upstream/upstreamtest"
)

const (
	canary       = upstreamtest.Canary
	refused      = "reddit_token_refused"
	agent        = "linux:com.example.test:v1 (by /u/lovelace)"
	envToken     = "REDDIT_ACCESS_TOKEN"
	envTokenFile = "REDDIT_TOKEN_FILE"
	envBase      = "REDDIT_BASE_URL"
)

// fakeReddit knows one token, the current one, and holds every request to the
// API's rules. What it answers, a test may change by path.
type fakeReddit struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	token   string
	answers map[string]http.HandlerFunc
	asked   []string // METHOD path?parameters, form included
}

func newFake(t *testing.T) *fakeReddit {
	t.Helper()
	f := &fakeReddit{t: t, token: canary, answers: map[string]http.HandlerFunc{}}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeReddit) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := r.Header.Get("User-Agent"); got != agent {
		f.t.Errorf("%s: User-Agent %q", r.URL, got)
	}
	if r.Header.Get("Authorization") != "Bearer "+f.token {
		w.Header().Set("WWW-Authenticate", `Bearer realm="reddit", error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"message": "Unauthorized", "error": 401}`)
		return
	}
	query := r.URL.Query()
	if query.Get("raw_json") != "1" {
		f.t.Errorf("%s: no raw_json", r.URL)
	}
	query.Del("raw_json")
	if r.Method == http.MethodPost {
		body, _ := io.ReadAll(r.Body)
		form, err := url.ParseQuery(string(body))
		if err != nil || form.Get("api_type") != "json" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			f.t.Errorf("%s: form %q", r.URL, body)
		}
		form.Del("api_type")
		maps.Copy(query, form)
	}
	f.asked = append(f.asked, r.Method+" "+r.URL.EscapedPath()+"?"+query.Encode())
	if h := f.answers[r.URL.Path]; h != nil {
		h(w, r)
		return
	}
	http.NotFound(w, r)
}

// answer sets what a path is answered with.
func (f *fakeReddit) answer(path, body string) {
	f.handle(path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
}

func (f *fakeReddit) handle(path string, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[path] = h
}

// renew makes another token the current one.
func (f *fakeReddit) renew(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token = token
}

// last is the newest request, and how many there were.
func (f *fakeReddit) last() (string, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.asked) == 0 {
		return "", 0
	}
	return f.asked[len(f.asked)-1], len(f.asked)
}

// session is an MCP client of a server, and what that server calls.
type session struct {
	*upstreamtest.Session
	api *client
}

func open(t *testing.T, env func(string) string) *session {
	t.Helper()
	api, err := newClient(env)
	if err != nil {
		t.Fatal(err)
	}
	return &session{upstreamtest.Open(t, newServer(api)), api}
}

func (f *fakeReddit) open(t *testing.T) *session {
	t.Helper()
	return open(t, upstreamtest.Getenv(envBase, f.URL, envToken, canary, envAgent, agent))
}

type object = map[string]any

// list is a listing of things of one kind.
func list(kind, after string, things ...object) object {
	children := []object{}
	for _, t := range things {
		k := kind
		if own, ok := t["kind"].(string); ok {
			k = own
		}
		children = append(children, object{"kind": k, "data": t})
	}
	return object{"kind": "Listing", "data": object{"after": after, "children": children}}
}

func aPost(more object) object {
	p := object{"name": "t3_abc", "title": "On engines", "subreddit": "golang", "author": "ada", "score": 12, "num_comments": 3,
		"created_utc": 1767225600.0, "permalink": "/r/golang/comments/abc/on_engines/", "is_self": true, "selftext": "They weave.", "over_18": false}
	maps.Copy(p, more)
	return p
}
