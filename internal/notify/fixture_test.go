package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/notify"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// canary is in everything that must not be in a log.
const canary = "c4nary"

// world is a service whose endpoints are handlers in memory.
type world struct {
	t       testing.TB
	service *notify.Service
	starter *flow.Starter
	store   *fake.Store
	bus     *bus
	log     *fake.Log

	mu        sync.Mutex
	endpoints map[string]notify.Endpoint // by tenant
	findErr   error
	got       []received
	// answer answers a webhook; nil: 204.
	answer func(n int, r *http.Request) (int, error)
}

// received is a webhook as its receiver sees it.
type received struct {
	host   string
	header http.Header
	body   []byte
	at     time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, store: fake.New(), bus: &bus{}, log: &fake.Log{}, endpoints: map[string]notify.Endpoint{}}
	logger := slog.New(slog.NewTextHandler(w.log, nil))
	w.starter = &flow.Starter{Store: w.store, Connections: w.store, Catalogue: servers{}, Tenants: w, BaseURL: "https://lanyard.test", Now: time.Now}
	w.service = &notify.Service{Bus: w.bus, Endpoints: w, Links: w.starter, Gates: w.store, BaseURL: "https://lanyard.test", Transport: w, Now: time.Now, Logger: logger}
	w.endpoints["default"] = endpoint("default")
	t.Cleanup(func() {
		if strings.Contains(w.log.String(), canary) {
			t.Errorf("a secret is in the log:\n%s", w.log)
		}
	})
	return w
}

// endpoint is a tenant's, at a host of its own.
func endpoint(tenant string) notify.Endpoint {
	return notify.Endpoint{URL: "https://" + tenant + ".example/hook-" + canary + "?key=" + canary,
		Secrets: []token.Secret{notify.NewSecret()}, LinkKey: []byte("link key of " + tenant)}
}

// Endpoint implements [notify.Endpoints].
func (w *world) Endpoint(_ context.Context, tenant string) (notify.Endpoint, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.endpoints[tenant]
	if w.findErr != nil {
		return e, w.findErr
	}
	if !ok {
		return e, notify.ErrNoEndpoint
	}
	return e, nil
}

// Tenant implements [flow.Tenants].
func (w *world) Tenant(context.Context, string) (flow.Tenant, error) {
	return flow.Tenant{ReturnURLs: []string{"https://app.example/back"}}, nil
}

// RoundTrip implements [http.RoundTripper]: it is the internet.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	var err error
	if r.Body != nil {
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	n := len(w.got)
	w.got = append(w.got, received{r.URL.Host, r.Header.Clone(), body, time.Now()})
	answer := w.answer
	w.mu.Unlock()
	if n > 100 {
		return nil, errors.New("requests without end")
	}
	status := http.StatusNoContent
	if answer != nil {
		if status, err = answer(n, r); err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Location": {"https://elsewhere.example/"}}, Body: io.NopCloser(strings.NewReader(canary)), Request: r}, nil
}

// answers makes the endpoints answer with these statuses, the last one for ever.
func (w *world) answers(statuses ...int) {
	w.answer = func(n int, _ *http.Request) (int, error) { return statuses[min(n, len(statuses)-1)], nil }
}

func (w *world) webhooks() []received {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]received(nil), w.got...)
}

// verify has the scheme's own library check a webhook, and returns its data.
func (w *world) verify(r received, secret token.Secret) map[string]any {
	w.t.Helper()
	v, err := standardwebhooks.NewWebhook(secret.Reveal())
	if err != nil {
		w.t.Fatal(err)
	}
	// The library asks the real clock, which a test of time does not move.
	if err := v.VerifyIgnoringTimestamp(r.body, r.header); err != nil {
		w.t.Fatalf("%v: %v", err, r.header)
	}
	var m struct {
		Type string
		Data map[string]any
	}
	if err := json.Unmarshal(r.body, &m); err != nil {
		w.t.Fatal(err)
	}
	m.Data["type"] = m.Type
	return m.Data
}

// link is the reconnect link of a webhook to the default tenant; "": none.
func (w *world) link(r received) string {
	w.t.Helper()
	link, _ := w.verify(r, w.endpoints["default"].Secrets[0])["reconnect_url"].(string)
	return link
}

// dead is a connection of the tenant whose grant has died, and the event.
func dead(tenant string) (connection.Connection, connection.Event) {
	now := time.Now().UTC()
	c := connection.Connection{Key: connection.Key{Tenant: tenant, ID: "con_" + tenant}, UserID: "ada", Server: "notes", AuthType: "oauth", Provider: "acme",
		Status: connection.ReconnectNeeded, Health: connection.NeedsReconnect, CreatedAt: now, Granted: connection.Granted{Account: connection.Account{Label: "ada@acme.example"}}}
	return c, connection.Event{ID: token.NewID("evt"), Type: connection.HealthChanged, At: now, Health: connection.NeedsReconnect, Was: connection.Healthy,
		Code: "invalid_grant", Reason: "the grant <was> revoked", NextAt: now}
}

// bus is an event bus in memory.
type bus struct {
	mu     sync.Mutex
	failed int
	broken bool
	got    []published
}

type published struct {
	kind   string
	at     time.Time
	detail []byte
}

var errBroken = errors.New("out of order")

func (b *bus) Publish(_ context.Context, kind string, at time.Time, detail []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken {
		b.failed++
		return errBroken
	}
	b.got = append(b.got, published{kind, at, detail})
	return nil
}

// servers is a catalogue of one.
type servers struct{}

func (servers) Server(name string) (presets.Server, bool) {
	return presets.Server{Name: name, AuthType: presets.TypeOAuth, OAuthService: "acme"}, name == "notes"
}

func (servers) Provider(string) (presets.Provider, bool) { return presets.Provider{}, false }
