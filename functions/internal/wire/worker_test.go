package wire

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/gateway"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

type oneCatalogue struct{}

func (oneCatalogue) Server(string) (presets.Server, bool) { return presets.Server{}, false }
func (oneCatalogue) Provider(id string) (presets.Provider, bool) {
	return presets.Provider{ID: id, DisplayName: id, AuthorizationEndpoint: "https://p.example/authorize", TokenEndpoint: "https://p.example/" + id}, true
}

type oneClient struct{}

func (oneClient) Client(context.Context, string, string, string) (provider.Client, error) {
	return provider.Client{ID: "client"}, nil
}

// providers answer by their names: "fine" renews, "down" does not answer, "dead"
// knows the grant no more.
type providers struct{}

func (providers) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := 200, `{"access_token":"canary-new","token_type":"Bearer","expires_in":3600}`
	switch r.URL.Path {
	case "/down":
		status, body = 503, "sorry"
	case "/dead":
		status, body = 400, `{"error":"invalid_grant"}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// failing is a store that does not answer for one connection.
type failing struct {
	*fake.Store
	id string
}

func (s failing) Get(ctx context.Context, k connection.Key) (connection.Connection, error) {
	if k.ID == s.id {
		return connection.Connection{}, connection.ErrUnavailable
	}
	return s.Store.Get(ctx, k)
}

// TestWorker: of a batch those messages come again that met a fault of ours.
// One whose provider is down, or whose grant is dead, or that names a connection
// that has gone, is done: the row says when it is tried again, if ever.
func TestWorker(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) // when they are connected
	clock := func() time.Time { return now }
	store := fake.New()
	var logged lockedBuilder
	logger := slog.New(slog.NewTextHandler(&logged, nil))
	v := &vault.Vault{Sealer: &vault.Sealer{Keys: fake.NewKeys(), Rand: rand.Reader}, Grants: store.Grants(), Audit: store.Audit(), Now: clock}
	service := &refresh.Service{Connections: failing{store, "con_unreadable"}, Vault: v, Catalogue: oneCatalogue{}, Secrets: oneClient{},
		Engine: &provider.Engine{HTTP: &http.Client{Transport: providers{}}, Now: clock}, BaseURL: "https://lanyard.example", Now: clock, Logger: logger}
	for _, id := range []string{"fine", "down", "dead", "unreadable"} {
		c := connection.Connection{Key: connection.Key{Tenant: "default", ID: "con_" + id}, UserID: "ada", Server: "notes", AuthType: "oauth", Provider: id,
			Status: connection.Connected, CreatedAt: now, ConnectedAt: now, LastUsedAt: now, RenewAt: now}
		var err error
		c.Set, err = v.Seal(t.Context(), vault.Caller{Tenant: "default", Actor: "callback"}, c, "set_1", "connect", token.Set{
			Grant:  token.Grant{Renewables: map[string]token.Renewable{"": {RefreshToken: "canary-refresh"}}},
			Access: token.Access{Tokens: map[string]token.Token{"": {AccessToken: "canary-old", ExpiresAt: now.Add(time.Hour)}}},
		})
		if err := errors.Join(err, store.Create(t.Context(), c)); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Hour)
	var records []string
	for _, names := range [][]string{{"fine", "down"}, {"dead"}, {"unreadable", "fine"}, {"gone"}, nil} {
		var keys []connection.Key
		for _, name := range names {
			keys = append(keys, connection.Key{Tenant: "default", ID: "con_" + name})
		}
		body, err := json.Marshal(keys)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, fmt.Sprintf(`{"eventSource":"aws:sqs","messageId":"%d","body":%q}`, len(records), body))
	}
	f := &gateway.Function{Message: worker(service), Settle: service.Wait, Logger: logger}
	out, err := f.Handle(t.Context(), json.RawMessage(`{"Records":[`+strings.Join(records, ",")+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := json.Marshal(out)
	if want := `{"batchItemFailures":[{"itemIdentifier":"2"},{"itemIdentifier":"4"}]}`; err != nil || string(answer) != want {
		t.Errorf("got  %s\nwant %s", answer, want)
	}
	row := func(id string) connection.Connection {
		c, err := store.Get(t.Context(), connection.Key{Tenant: "default", ID: "con_" + id})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := row("fine"); c.Set.AccessVersion == "set_1" || c.Failure != nil || !c.RenewAt.After(now) {
		t.Errorf("what was beside the others was not renewed: %s, %+v, due at %v", c.Set.AccessVersion, c.Failure, c.RenewAt)
	}
	if c := row("down"); c.Failure == nil || !c.RetryAt.After(now) || c.RenewAt.Before(c.RetryAt) || c.Lease != nil || c.Status != connection.Connected {
		t.Errorf("what is tried again: %s, %+v at %v, lease %+v", c.Status, c.Failure, c.RetryAt, c.Lease)
	}
	if c := row("dead"); c.Status != connection.ReconnectNeeded || c.Lease != nil {
		t.Errorf("what is not: %s, lease %+v", c.Status, c.Lease)
	}
	if strings.Contains(logged.String(), "canary") {
		t.Errorf("a secret was logged: %s", logged.String())
	}
}

type lockedBuilder struct {
	mu sync.Mutex
	strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(p)
}
