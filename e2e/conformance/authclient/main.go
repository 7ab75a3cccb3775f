// Command authclient is the client of MCP's conformance suite for its auth/
// scenarios: our own connect, host and refresh, in memory, with a person who
// agrees to everything. The suite appends the server's URL to its arguments.
//
// What is the operator's here as elsewhere, it does as an operator would: it
// reads the error, registers a client with a secret, and says which it is.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/discover"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

const (
	server  = "tested"
	user    = "ada"
	browser = "the person's browser"
	baseURL = "http://localhost:3000"
	// document is where the suite expects a client's own document.
	document = "https://conformance-test.local/client-metadata.json"
	// maxTries is how often access is asked for until it is clear that it will not do.
	maxTries = 3
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := newClient(os.Args[len(os.Args)-1]).run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// client is Lanyard for one person and one server.
type client struct {
	operator *operator
	starter  *flow.Starter
	finisher *flow.Finisher
	host     *host.Service
}

func newClient(url string) *client {
	store, logger := fake.New(), slog.New(slog.NewTextHandler(os.Stderr, nil))
	engine := &provider.Engine{AllowLoopback: true, Logger: logger}
	sealed := &vault.Vault{Sealer: &vault.Sealer{Keys: fake.NewKeys(), Rand: rand.Reader}, Grants: store.Grants(), Audit: store.Audit(), Now: time.Now}
	cat, op := catalogue{url}, newOperator(os.Getenv("MCP_CONFORMANCE_CONTEXT"))
	finder := &discover.Finder{BaseURL: baseURL, Registrations: store, AllowLoopback: true, Document: func(string) string { return document }, Now: time.Now, Logger: logger}
	c := &client{
		operator: op,
		starter: &flow.Starter{Store: store, Connections: store, Catalogue: cat, Clients: op, Tenants: op, Finder: finder, Engine: engine,
			BaseURL: baseURL, Now: time.Now},
		finisher: &flow.Finisher{Store: store, Connections: store, Catalogue: cat, Secrets: op, Engine: engine, Vault: sealed, BaseURL: baseURL, Now: time.Now, Logger: logger},
	}
	tokens := &refresh.Service{Connections: store, Vault: sealed, Catalogue: cat, Secrets: op, Engine: engine, BaseURL: baseURL, Now: time.Now, Logger: logger}
	c.host = &host.Service{Store: store, Connections: store, Tokens: tokens, Catalogue: cat, AllowLoopback: true, BaseURL: baseURL,
		BearerKey: []byte("thirty-two bytes that nobody knows"), Now: time.Now, Logger: logger}
	return c
}

// run connects the server and calls its tool, with as much access as it asks for
// meanwhile.
func (c *client) run(ctx context.Context) error {
	id, err := c.connect(ctx, flow.StartRequest{})
	if err != nil {
		return err
	}
	for tries := 1; ; tries++ {
		err := c.useTools(ctx, id)
		var more []string
		var wants *host.ScopeError
		switch {
		case err == nil || tries == maxTries:
			return err
		case errors.As(err, &wants):
			more = wants.Scopes
		case !errors.Is(err, refresh.ErrReconnect) && !errors.Is(err, host.ErrRemote):
			return err
		}
		if _, err := c.connect(ctx, flow.StartRequest{ConnectionID: id, Scopes: more}); err != nil {
			return err
		}
	}
}

// connect takes a person through a flow, and returns the connection's id.
func (c *client) connect(ctx context.Context, r flow.StartRequest) (string, error) {
	r.Tenant, r.UserID, r.Server, r.Proven = flow.DefaultTenant, user, server, true
	f, err := c.starter.Start(ctx, r)
	if errors.Is(err, flow.ErrNoClient) && c.operator.register(ctx, c.starter, err) == nil {
		f, err = c.starter.Start(ctx, r)
	}
	if err != nil {
		return "", err
	}
	to, err := c.starter.Authorize(ctx, f.ID, browser)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // which goes where it is sent by itself
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		return "", fmt.Errorf("the authorization server answered %d: %w", resp.StatusCode, err)
	}
	issuer := strings.TrimPrefix(strings.TrimPrefix(back.Path, flow.CallbackPath), "/")
	f, err = c.finisher.FinishAt(ctx, issuer, back.Query(), browser)
	return f.Result.ConnectionID, err
}

// catalogue has the server of the scenario.
type catalogue struct{ url string }

func (c catalogue) Server(name string) (presets.Server, bool) {
	return presets.Server{Name: server, DisplayName: "Tested", AuthType: presets.TypeOAuth, OAuthService: presets.OAuthDiscover,
		Server: presets.Program{Registry: presets.RegistryRemote, URL: c.url}}, name == server
}

func (catalogue) Provider(string) (presets.Provider, bool) { return presets.Provider{}, false }

// operator has the clients that were registered by hand.
type operator struct{ client provider.Client }

func newOperator(scenario string) *operator {
	var known struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
		Issuer string `json:"issuer"`
	}
	_ = json.Unmarshal([]byte(scenario), &known) // most scenarios have none
	o := &operator{}
	o.client.ID, o.client.Variant = known.ID, known.Issuer
	o.client.Secret = token.Secret(known.Secret)
	return o
}
