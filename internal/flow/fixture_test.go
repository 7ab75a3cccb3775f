package flow_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

const (
	tenant = "default"
	user   = "ada"
	// anna and bert are the hashes of two browsers.
	anna, bert = "browser-anna", "browser-bert"
)

// canary is a part of every code and token that the authorization server makes.
const canary = "canary"

var errBroken = errors.New("the disk is full")

// world is everything that a flow touches, in memory.
type world struct {
	t     *testing.T
	acme  *acme
	store *fake.Store
	// removed is a tenant that is not there any more.
	removed string
	conns   *brokenConnections
	grant   *brokenGrants
	start   *flow.Starter
	fin     *flow.Finisher
	log     *fake.Log

	mu     sync.Mutex
	now    time.Time
	tenant flow.Tenant
	// clientAt is where our client is, beside the defaults.
	clientAt map[string]string
	client   error // what the clients answer, if not with a client
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: fake.New(), log: &fake.Log{}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.acme = newAcme(w.clock)
	w.conns, w.grant = &brokenConnections{Store: w.store}, &brokenGrants{GrantStore: w.store.Grants()}
	w.tenant.ReturnURLs = []string{"https://app.example/done/", "https://app.example/exact"}
	logger := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	engine := &provider.Engine{HTTP: &http.Client{Transport: w.acme}, Now: w.clock, Logger: logger}
	w.start = &flow.Starter{Store: w.store, Connections: w.conns, Catalogue: catalogue{}, Clients: w, Tenants: w,
		Engine: engine, BaseURL: "https://lanyard.example", Now: w.clock}
	w.fin = &flow.Finisher{Store: w.store, Connections: w.conns, Catalogue: catalogue{}, Secrets: w, Engine: engine,
		Vault: &vault.Vault{Sealer: &vault.Sealer{Keys: fake.NewKeys(), Rand: rand.Reader}, Grants: w.grant,
			Audit: w.store.Audit(), Now: w.clock},
		BaseURL: "https://lanyard.example", Now: w.clock, Logger: logger}
	t.Cleanup(func() {
		if leaked := w.log.String(); strings.Contains(leaked, canary) {
			t.Errorf("a secret was logged:\n%s", leaked)
		}
	})
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) Current(context.Context, string, string) (provider.Client, error) {
	return provider.Client{ID: "lanyard-client", Parameters: w.clientAt}, w.client
}

func (w *world) Client(context.Context, string, string, string) (provider.Client, error) {
	return provider.Client{ID: "lanyard-client", Secret: canary + "-client-secret", Parameters: w.clientAt}, w.client
}

func (w *world) Tenant(_ context.Context, id string) (flow.Tenant, error) {
	if w.removed != "" && w.removed == id {
		return flow.Tenant{}, flow.ErrTenant
	}
	return w.tenant, nil
}

func (w *world) request() flow.StartRequest {
	return flow.StartRequest{Tenant: tenant, UserID: user, Server: "notes"}
}

func (w *world) begin(r flow.StartRequest) flow.Flow {
	w.t.Helper()
	f, err := w.start.Start(w.t.Context(), r)
	if err != nil {
		w.t.Fatalf("start: %v", err)
	}
	return f
}

// consent lets the browser go to the provider, where the account grants access:
// the result is what the provider sends back.
func (w *world) consent(f flow.Flow, browser, account string) url.Values {
	w.t.Helper()
	to, err := w.start.Authorize(w.t.Context(), f.ID, browser)
	if err != nil {
		w.t.Fatalf("authorize: %v", err)
	}
	return w.acme.grant(w.t, to, account)
}

// connect is a whole flow of anna's browser.
func (w *world) connect(r flow.StartRequest, account string) (flow.Flow, error) {
	w.t.Helper()
	f, err := w.fin.Finish(w.t.Context(), w.consent(w.begin(r), anna, account), anna)
	w.noSecret(err)
	return f, err
}

func (w *world) connected(r flow.StartRequest, account string) connection.Connection {
	w.t.Helper()
	f, err := w.connect(r, account)
	if err != nil {
		w.t.Fatalf("connect: %v", err)
	}
	return w.row(f.Result.ConnectionID)
}

func (w *world) row(id string) connection.Connection {
	w.t.Helper()
	c, err := w.store.Get(w.t.Context(), connection.Key{Tenant: tenant, ID: id})
	if err != nil {
		w.t.Fatalf("connection %q: %v", id, err)
	}
	return c
}

func (w *world) rows() []connection.Connection {
	w.t.Helper()
	all, _, err := w.store.List(w.t.Context(), tenant, connection.Filter{}, connection.Page{})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// open reads what is sealed for the connection.
func (w *world) open(c connection.Connection) token.Set {
	w.t.Helper()
	v, caller := w.fin.Vault, vault.Caller{Tenant: tenant, Actor: "test"}
	access, err := v.Access(w.t.Context(), caller, c, c.Set, "test")
	grant, err2 := v.Grant(w.t.Context(), caller, c, c.Set, "test")
	if err := errors.Join(err, err2); err != nil {
		w.t.Fatalf("open: %v", err)
	}
	return token.Set{Access: access, Grant: grant}
}

func (w *world) noSecret(err error) {
	w.t.Helper()
	if err != nil && strings.Contains(err.Error(), canary) {
		w.t.Errorf("an error holds a secret: %v", err)
	}
}

func wantError(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) || want == nil && got != nil {
		t.Fatalf("error %v, want %v", got, want)
	}
}

// brokenConnections fails writes when told to.
type brokenConnections struct {
	// lost: the writes happen, and only their answers are lost.
	lost bool
	connection.Store
	broken error
}

func (b *brokenConnections) Create(ctx context.Context, c connection.Connection) error {
	if err := errors.Join(b.broken, ctx.Err()); err != nil {
		return err
	}
	if err := b.Store.Create(ctx, c); err != nil || !b.lost {
		return err
	}
	return connection.ErrUnavailable
}

func (b *brokenConnections) Update(ctx context.Context, k connection.Key, change func(*connection.Connection) error) (connection.Connection, error) {
	if err := errors.Join(b.broken, ctx.Err()); err != nil {
		return connection.Connection{}, err
	}
	c, err := b.Store.Update(ctx, k, change)
	if err == nil && b.lost {
		return connection.Connection{}, connection.ErrUnavailable
	}
	return c, err
}

// brokenGrants fails writes when told to, and remembers what it keeps.
type brokenGrants struct {
	vault.GrantStore
	broken error

	mu   sync.Mutex
	kept map[string]bool // by connection and version
}

func (b *brokenGrants) Put(ctx context.Context, k connection.Key, version string, sealed []byte) error {
	if err := errors.Join(b.broken, ctx.Err()); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept == nil {
		b.kept = map[string]bool{}
	}
	b.kept[k.ID+"/"+version] = true
	return b.GrantStore.Put(ctx, k, version, sealed)
}

func (b *brokenGrants) Remove(ctx context.Context, k connection.Key, versions ...string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, version := range versions {
		delete(b.kept, k.ID+"/"+version)
	}
	return b.GrantStore.Remove(ctx, k, versions...)
}

func (b *brokenGrants) Clear(ctx context.Context, k connection.Key) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.kept, func(place string, _ bool) bool { return strings.HasPrefix(place, k.ID+"/") })
	return b.GrantStore.Clear(ctx, k)
}

func (b *brokenGrants) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.kept)
}

// catalogue holds a provider that does everything by the RFCs, one whose URLs
// have a parameter, and servers for them.
type catalogue struct{}

func (catalogue) Provider(id string) (presets.Provider, bool) {
	p := presets.Provider{
		ID: id, DisplayName: "Acme", AuthorizationEndpoint: "https://acme.example/authorize",
		TokenEndpoint: "https://acme.example/token", Issuer: "https://acme.example",
		Callback: presets.Callback{ISS: "required"}, PKCE: presets.PKCE{Mode: "required"},
		Identity: presets.Identity{From: presets.IdentityRequest, Request: &presets.APIRequest{URL: "https://acme.example/me"},
			Subject: []string{"sub"}, Label: []string{"email"}},
		Revocation: presets.Revocation{Mode: "rfc7009", Endpoint: "https://acme.example/revoke", Revokes: presets.RevokesGrant},
	}
	if id == "shops" {
		p.AuthorizationEndpoint, p.TokenEndpoint = "https://{shop}.shops.example/authorize", "https://{shop}.shops.example/token"
		p.Parameters = map[string]presets.Parameter{"shop": {Label: "Shop", Pattern: "^[a-z0-9-]{1,40}$"}}
	}
	if id == "forge" || id == "lone" {
		p.AuthorizationEndpoint, p.TokenEndpoint = "https://{host}/authorize", "https://{host}/token"
		p.Identity.Request = &presets.APIRequest{URL: "https://{host}/me"}
		p.Parameters = map[string]presets.Parameter{"host": {Source: presets.SourceClient, Default: "forge.example", Pattern: `^[a-z0-9.-]+\.example$`}}
	}
	if id == "lone" { // run by nobody for all
		p.Parameters["host"] = presets.Parameter{Source: presets.SourceClient, Pattern: `^[a-z0-9.-]+\.example$`}
	}
	if id == "sites" {
		p.Revocation.Revokes = presets.RevokesToken
		p.Discovery = &presets.Discovery{Request: presets.APIRequest{URL: "https://acme.example/sites"},
			Kind: "site", ID: "id", Label: "url", Name: "name", Metadata: map[string]string{"site_id": "id"}}
	}
	return p, id == "acme" || id == "shops" || id == "sites" || id == "forge" || id == "lone"
}

func (catalogue) Server(name string) (presets.Server, bool) {
	s := presets.Server{Name: name, DisplayName: name, AuthType: presets.TypeOAuth, OAuthService: "acme",
		OAuthScopes: []presets.OAuthScope{{Scope: "read"}, {Scope: "write"}}}
	switch name {
	case "notes", "mail":
	case "shop":
		s.OAuthService = "shops"
	case "forge", "forge-main":
		s.OAuthService = "forge"
		if name == "forge" {
			s.Parameters = map[string]presets.Parameter{"host": {Source: presets.SourceClient}}
		}
	case "lone":
		s.OAuthService = "lone"
		s.Parameters = map[string]presets.Parameter{"host": {Source: presets.SourceClient}}
	case "sites":
		s.OAuthService = "sites"
	case "regional":
		s.Parameters = map[string]presets.Parameter{
			"region": {Label: "Region", Pattern: "^(eu|us)$", Default: "eu"}, "home": {Source: presets.SourceDeployment}}
	case "search":
		s = presets.Server{Name: name, DisplayName: name, AuthType: presets.TypeAPIKey,
			EnvValues: []presets.EnvValue{{Name: "SEARCH_KEY", Label: "API key", Secret: true}}}
	case "clock":
		s = presets.Server{Name: name, DisplayName: name, AuthType: presets.TypeNone}
	default:
		return presets.Server{}, false
	}
	return s, true
}
