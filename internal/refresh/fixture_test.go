package refresh_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// canary is a part of every token that the authorization server makes.
const canary = "canary"

var (
	errBroken = errors.New("the disk is full")
	user      = vault.Caller{Tenant: "default", User: "ada", Actor: "page"}
)

// world is a store and an authorization server that any number of processes
// share, in a bubble whose time is fake.
type world struct {
	t     *testing.T
	acme  *acme
	store *fake.Store
	keys  *fake.Keys
	log   *fake.Log
	// service is the first process.
	service *refresh.Service
}

// run runs the test in a bubble, and looks for secrets in what was logged.
func run(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		test(t, w)
		if leaked := w.log.String(); strings.Contains(leaked, canary) {
			t.Errorf("a secret was logged:\n%s", leaked)
		}
	})
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, acme: newAcme(), store: fake.New(), keys: fake.NewKeys(), log: &fake.Log{}}
	w.service = w.process(nil)
	return w
}

// process is one more process; fail, when set, is asked before and after each
// of its store operations.
func (w *world) process(fail func(op string, done bool) error) *refresh.Service {
	if fail == nil {
		fail = func(string, bool) error { return nil }
	}
	logger := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return &refresh.Service{
		Connections: &connections{w.store, fail}, Catalogue: catalogue{}, Secrets: clients{},
		Vault: &vault.Vault{Sealer: &vault.Sealer{Keys: w.keys, Rand: rand.Reader}, Grants: &grants{w.store.Grants(), fail},
			Audit: &audit{w.store.Audit(), fail}, Now: time.Now},
		Engine:  &provider.Engine{HTTP: &http.Client{Transport: w.acme}, Now: time.Now, Logger: logger},
		BaseURL: "https://lanyard.example", Now: time.Now, Logger: logger,
	}
}

// connect makes a connection of the account at the provider, as callback does.
func (w *world) connect(providerID, account string) connection.Key {
	w.t.Helper()
	c := connection.Connection{Key: connection.Key{Tenant: "default", ID: token.NewID("con")}, UserID: "ada", Server: "notes",
		AuthType: "oauth", Provider: providerID, Status: connection.Pending, CreatedAt: time.Now().UTC()}
	if err := w.store.Create(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
	w.propose(c.Key, "flo_"+c.ID, account)
	w.promote(c.Key, "flo_"+c.ID)
	return c.Key
}

// propose is a flow's grant that waits for its confirmation.
func (w *world) propose(k connection.Key, flowID, account string) {
	w.t.Helper()
	c := w.row(k)
	set, err := w.service.Vault.Seal(w.t.Context(), vault.Caller{Tenant: "default", Actor: "callback"}, c, token.NewID("set"), "connect",
		w.acme.granted(c.Provider, account))
	if err != nil {
		w.t.Fatal(err)
	}
	g := connection.Granted{Account: connection.Account{Subject: account, Label: "label-" + flowID}, ClientID: "lanyard-client"}
	w.update(k, func(c *connection.Connection) error {
		return c.Propose(connection.Proposal{FlowID: flowID, ConfirmBy: time.Now().Add(10 * time.Minute), Set: set, Granted: g})
	})
}

func (w *world) promote(k connection.Key, flowID string) {
	w.t.Helper()
	w.update(k, func(c *connection.Connection) error { return c.Promote(flowID, time.Now()) })
}

func (w *world) update(k connection.Key, change func(*connection.Connection) error) {
	w.t.Helper()
	if _, err := w.store.Update(w.t.Context(), k, change); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) row(k connection.Key) connection.Connection {
	w.t.Helper()
	c, err := w.store.Get(w.t.Context(), k)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// token asks the process for a token that lives for a minute.
func (w *world) token(s *refresh.Service, k connection.Key) (string, error) {
	w.t.Helper()
	a, _, err := s.Token(w.t.Context(), user, k, time.Minute, "token")
	w.noSecret(err)
	return a.Tokens[""].AccessToken.Reveal(), err
}

// living wants a token that the provider accepts.
func (w *world) living(s *refresh.Service, k connection.Key) string {
	w.t.Helper()
	a, err := w.token(s, k)
	if err != nil || !w.acme.accepts(a) {
		w.t.Fatalf("no living token (one was returned: %v): %v", a != "", err)
	}
	return a
}

func (w *world) refused(k connection.Key, want error) {
	w.t.Helper()
	w.refusedBy(w.service, k, want)
}

func (w *world) refusedBy(s *refresh.Service, k connection.Key, want error) {
	w.t.Helper()
	if a, err := w.token(s, k); !errors.Is(err, want) || a != "" {
		w.t.Fatalf("error %v, want %v", err, want)
	}
}

func (w *world) sent(want int) {
	w.t.Helper()
	if got := w.acme.sent(); got != want {
		w.t.Errorf("%d refresh requests, want %d", got, want)
	}
}

func (w *world) noSecret(err error) {
	w.t.Helper()
	if err != nil && strings.Contains(err.Error(), canary) {
		w.t.Errorf("an error holds a secret: %v", err)
	}
}

// clients is our client, beside the defaults at a place.
type clients struct{ at map[string]string }

func (c clients) Client(context.Context, string, string, string) (provider.Client, error) {
	return provider.Client{ID: "lanyard-client", Secret: canary + "-client-secret", Parameters: c.at}, nil
}

// catalogue holds one provider, and others that differ from it as their names say.
type catalogue struct{}

func (catalogue) Server(string) (presets.Server, bool) { return presets.Server{}, false }

func (catalogue) Provider(id string) (presets.Provider, bool) {
	p := presets.Provider{
		ID: id, DisplayName: "Acme", AuthorizationEndpoint: "https://acme.example/authorize", TokenEndpoint: "https://acme.example/token",
		Validation: &presets.APIRequest{URL: "https://acme.example/me"},
		Revocation: presets.Revocation{Mode: "rfc7009", Endpoint: "https://acme.example/revoke", Revokes: presets.RevokesGrant},
	}
	switch id {
	case "forge":
		p.Parameters = map[string]presets.Parameter{"host": {Source: presets.SourceClient, Default: "acme.example", Pattern: `^[a-z0-9.-]+\.example$`}}
		p.TokenEndpoint, p.Validation.URL, p.Revocation.Endpoint = "https://{host}/token", "https://{host}/me", "https://{host}/revoke"
	case "family-all":
		p.Refresh.OnReuse.Family = "all"
	case "revokes-token":
		p.Revocation.Revokes = presets.RevokesToken
	case "no-revocation":
		p.Revocation = presets.Revocation{}
	case "two-tokens", "two-tokens-family-all":
		p.Response.Tokens = []presets.TokenRoot{{}, {Name: "user", Root: "user", RefreshRoot: ".", Optional: true}}
		if id == "two-tokens-family-all" {
			p.Refresh.OnReuse.Family = "all"
		}
	case "exchanging":
		p.Refresh.Grant = presets.GrantExchange
		p.Requests.Exchange = &presets.TokenExchange{GrantType: "exchange_token", TokenParam: "access_token"}
	}
	return p, true
}

var _ flow.Catalogue = catalogue{}

// connections, grants and audit ask before and after each operation whether the
// process still lives and the store still works.
type connections struct {
	*fake.Store
	fail func(op string, done bool) error
}

func (s *connections) Get(ctx context.Context, k connection.Key) (connection.Connection, error) {
	if err := errors.Join(s.fail("get", false), ctx.Err()); err != nil {
		return connection.Connection{}, err
	}
	return s.Store.Get(ctx, k)
}

func (s *connections) Update(ctx context.Context, k connection.Key, change func(*connection.Connection) error) (connection.Connection, error) {
	if err := errors.Join(s.fail("update", false), ctx.Err()); err != nil {
		return connection.Connection{}, err
	}
	c, err := s.Store.Update(ctx, k, change)
	if err = errors.Join(err, s.fail("update", true)); err != nil {
		return connection.Connection{}, err // as stores do
	}
	return c, nil
}

func (s *connections) UpdateFrom(ctx context.Context, seen connection.Connection, change func(*connection.Connection) error) (connection.Connection, error) {
	if err := errors.Join(s.fail("update", false), ctx.Err()); err != nil {
		return connection.Connection{}, err
	}
	c, err := s.Store.UpdateFrom(ctx, seen, change)
	if err = errors.Join(err, s.fail("update", true)); err != nil {
		return connection.Connection{}, err // as stores do
	}
	return c, nil
}

func (s *connections) Delete(ctx context.Context, k connection.Key, check func(connection.Connection) error) error {
	if err := s.fail("delete", false); err != nil {
		return err
	}
	return errors.Join(s.Store.Delete(ctx, k, check), s.fail("delete", true))
}

type grants struct {
	vault.GrantStore
	fail func(op string, done bool) error
}

func (s *grants) Put(ctx context.Context, k connection.Key, version string, sealed []byte) error {
	if err := errors.Join(s.fail("put", false), ctx.Err()); err != nil {
		return err
	}
	return errors.Join(s.GrantStore.Put(ctx, k, version, sealed), s.fail("put", true))
}

func (s *grants) Remove(ctx context.Context, k connection.Key, versions ...string) error {
	if err := s.fail("remove", false); err != nil {
		return err
	}
	return errors.Join(s.GrantStore.Remove(ctx, k, versions...), s.fail("remove", true))
}

func (s *grants) Clear(ctx context.Context, k connection.Key) error {
	if err := s.fail("clear", false); err != nil {
		return err
	}
	return errors.Join(s.GrantStore.Clear(ctx, k), s.fail("clear", true))
}

type audit struct {
	*fake.Audit
	fail func(op string, done bool) error
}

func (s *audit) Append(ctx context.Context, l vault.Line) error {
	if err := s.fail("audit "+l.Action, false); err != nil {
		return err
	}
	return s.Audit.Append(ctx, l)
}
