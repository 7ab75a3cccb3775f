package discover_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/discover"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/flow"
)

const (
	serverURL = "https://mcp.example/v1/mcp"
	issuer    = "https://auth.example"
	baseURL   = "https://lanyard.example"
)

// internet answers for all hosts, in memory. It keeps who was asked for what.
type internet struct {
	mu sync.Mutex
	// at are the answers, by URL; others are 404.
	at    map[string]http.HandlerFunc
	asked []string // "GET https://…"
}

func (i *internet) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.asked = append(i.asked, r.Method+" "+r.URL.String())
	h := i.at[r.URL.String()]
	i.mu.Unlock()
	if h == nil {
		h = http.NotFound
	}
	w := httptest.NewRecorder()
	h(w, r)
	return w.Result(), nil
}

func (i *internet) set(url string, h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.at[url] = h
}

func (i *internet) requests() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.asked)
}

// reached reports whether anything was asked of a host.
func (i *internet) reached(host string) bool {
	return slices.ContainsFunc(i.requests(), func(r string) bool {
		_, u, _ := strings.Cut(r, " ")
		parsed, err := url.Parse(u)
		return err == nil && parsed.Host == host
	})
}

func (i *internet) count(request string) (n int) {
	for _, r := range i.requests() {
		if r == request {
			n++
		}
	}
	return n
}

type doc = map[string]any

// says answers with a document.
func says(d doc) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(d)
	}
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for n := 0; n < len(header); n += 2 {
			w.Header().Add(header[n], header[n+1])
		}
		w.WriteHeader(code)
	}
}

// world is a server and its authorization server, as they should be.
type world struct {
	*internet
	t      *testing.T
	store  *fake.Store
	finder *discover.Finder
	now    time.Time
	// registered are the bodies of registrations.
	registered []doc
}

const (
	prmURL = "https://mcp.example/.well-known/oauth-protected-resource/v1/mcp"
	asURL  = issuer + "/.well-known/oauth-authorization-server"
)

// with is a copy of a document with other values; nil takes one out.
func with(d doc, changes doc) doc {
	out := maps.Clone(d)
	for name, value := range changes {
		if out[name] = value; value == nil {
			delete(out, name)
		}
	}
	return out
}

func prm() doc {
	return doc{"resource": serverURL, "authorization_servers": []string{issuer}, "scopes_supported": []string{"read", "write"}}
}

func as(of string) doc {
	return doc{"issuer": of, "authorization_endpoint": of + "/authorize", "token_endpoint": of + "/token", "registration_endpoint": of + "/register",
		"revocation_endpoint": of + "/revoke", "response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"plain", "S256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "none"}, "authorization_response_iss_parameter_supported": true}
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: fake.New(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), internet: &internet{at: map[string]http.HandlerFunc{}}}
	w.finder = &discover.Finder{BaseURL: baseURL, Registrations: w.store, HTTP: &http.Client{Transport: w.internet},
		Now: func() time.Time { return w.now }, Logger: slog.New(slog.DiscardHandler)}
	w.set(serverURL, status(401, "WWW-Authenticate", `Bearer resource_metadata="`+prmURL+`"`))
	w.set(prmURL, says(prm()))
	w.set(asURL, says(as(issuer)))
	w.registers(issuer, "client-at-auth")
	return w
}

// registers makes an issuer give out a client of that id.
func (w *world) registers(issuer, id string) {
	w.set(issuer+"/register", func(rw http.ResponseWriter, r *http.Request) {
		var asked doc
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &asked); err != nil {
			w.t.Errorf("registration: %v", err)
		}
		w.registered = append(w.registered, asked)
		rw.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(rw).Encode(with(asked, doc{"client_id": id}))
	})
}

func (w *world) request() flow.FindRequest {
	u, err := url.Parse(serverURL)
	if err != nil {
		w.t.Fatal(err)
	}
	return flow.FindRequest{Tenant: "default", Server: u}
}

func (w *world) find() (flow.Found, error) { return w.finder.Find(w.t.Context(), w.request()) }

func (w *world) found() flow.Found {
	w.t.Helper()
	f, err := w.find()
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// refused wants nothing found, nobody registered, and plain words.
func (w *world) refused(want error) {
	w.t.Helper()
	before := len(w.registered)
	f, err := w.find()
	if !errors.Is(err, want) || f.ClientID != "" {
		w.t.Errorf("%+v %v, want %v", f, err, want)
	}
	if len(w.registered) != before {
		w.t.Error("a client was registered all the same")
	}
	plain(w.t, err)
}

// plain wants an error to be fit for a person.
func plain(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := err.Error()
	if len(text) > 700 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == '\u202e' }) || strings.Contains(text, "<script") {
		t.Errorf("the error is not fit for a person: %q", text)
	}
}
