package refresh_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/presets"
)

// internet leads to the authorization server by a host for each provider, and
// notes who asked for a renewal when.
type internet struct {
	acme *acme
	mu   sync.Mutex
	sent map[string][]time.Time
	// failing, when set, is what a host answers in place of the server; edit
	// changes what the server answers.
	failing map[string]reply
	edit    func(answer map[string]any)
}

func (n *internet) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	if r.URL.Path == "/token" {
		n.sent[r.URL.Host] = append(n.sent[r.URL.Host], time.Now())
	}
	failing, fails := n.failing[r.URL.Host]
	edit := n.edit
	n.mu.Unlock()
	if fails {
		if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
			trace.GotConn(httptrace.GotConnInfo{})
		}
		return &http.Response{StatusCode: failing.status, Header: http.Header{"Retry-After": {failing.retryAfter}},
			Body: io.NopCloser(strings.NewReader(failing.body)), Request: r}, nil
	}
	resp, err := n.acme.RoundTrip(r)
	if err != nil || edit == nil || r.URL.Path != "/token" {
		return resp, err
	}
	body, _ := io.ReadAll(resp.Body)
	var answer map[string]any
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	edit(answer)
	body, _ = json.Marshal(answer)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func (n *internet) fails(providerID string, r reply) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failing = map[string]reply{providerID + ".example": r}
}

func (n *internet) works() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failing = nil
}

// renewals are when the provider was asked, from then on.
func (n *internet) renewals(providerID string, since time.Time) []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := slices.Clone(n.sent[providerID+".example"])
	return slices.DeleteFunc(all, func(t time.Time) bool { return t.Before(since) })
}

// renewing is a catalogue of providers that renew alike, each on its host.
type renewing struct {
	catalogue
	habits presets.Refresh
}

func (r renewing) Provider(id string) (presets.Provider, bool) {
	p, ok := r.catalogue.Provider(id)
	p.Refresh, p.TokenEndpoint = r.habits, "https://"+id+".example/token"
	return p, ok
}

// fleet is some processes of a deployment whose renewals are paced.
type fleet struct {
	*world
	net       *internet
	processes []*refresh.Service
	turn      int
	mu        sync.Mutex
	events    map[connection.Key][]connection.Event
}

// Deliver implements [refresh.Notifier].
func (f *fleet) Deliver(_ context.Context, c connection.Connection, e connection.Event) *connection.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events[c.Key] = append(f.events[c.Key], e)
	return nil
}

func runFleet(t *testing.T, habits presets.Refresh, test func(t *testing.T, f *fleet)) {
	run(t, func(t *testing.T, w *world) {
		f := &fleet{world: w, net: &internet{acme: w.acme, sent: map[string][]time.Time{}}, events: map[connection.Key][]connection.Event{}}
		for range 2 {
			s := w.process(nil)
			s.Catalogue = renewing{habits: habits}
			s.Engine = &provider.Engine{HTTP: &http.Client{Transport: f.net}, Now: time.Now, Logger: s.Logger}
			s.Pace, s.Notify = &refresh.Paced{Gates: w.store, Now: time.Now, Logger: s.Logger}, f
			f.processes = append(f.processes, s)
		}
		test(t, f)
	})
}

// pass lets time go by while one process after the other sweeps; look, when
// set, is called after each sweep.
func (f *fleet) pass(d, every time.Duration, look func()) {
	f.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(every) {
		f.turn++
		if _, err := f.processes[f.turn%len(f.processes)].Sweep(f.t.Context(), 10_000); err != nil {
			f.t.Fatal(err)
		}
		if look != nil {
			look()
		}
	}
}

// connected makes n connections, one after the other within the span.
func (f *fleet) connected(providerID string, n int, span time.Duration) []connection.Key {
	var out []connection.Key
	for i := range n {
		out = append(out, f.connect(providerID, fmt.Sprint(providerID, i)))
		time.Sleep(span / time.Duration(n))
	}
	return out
}

// late returns the connections whose token the provider does not accept now.
func (f *fleet) late(keys []connection.Key) (out []connection.Connection) {
	for _, k := range keys {
		if c := f.row(k); !time.Now().Before(c.Set.AccessExpiresAt) {
			out = append(out, c)
		}
	}
	return out
}

// told are the events of that type that the connections' owners were told.
func (f *fleet) told(eventType string, keys ...connection.Key) (out []connection.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range keys {
		for _, e := range f.events[k] {
			if e.Type == eventType {
				out = append(out, e)
			}
		}
	}
	return out
}

func between(t *testing.T, what string, n, low, high int) {
	t.Helper()
	t.Logf("%s: %d", what, n)
	if n < low || n > high {
		t.Errorf("%s: %d, want from %d to %d", what, n, low, high)
	}
}
