package host

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Lifetimes of MCP tokens.
const (
	DefaultTokenTTL = 90 * 24 * time.Hour
	MaxTokenTTL     = 365 * 24 * time.Hour
)

// Bearer returns the connection that an MCP token is good for at that server.
// A token for one server is no token for another; whatever does not fit is
// ErrNoToken.
func (s *Service) Bearer(ctx context.Context, bearer token.Secret, server string) (connection.Connection, vault.Caller, error) {
	none := connection.Connection{}
	if bearer == "" {
		return none, vault.Caller{}, ErrNoToken
	}
	m, err := s.Store.MCPTokenByHash(ctx, token.Hash(bearer))
	if err != nil {
		return none, vault.Caller{}, err
	}
	if m.Server != server || s.Now().After(m.ExpiresAt) {
		return none, vault.Caller{}, ErrNoToken
	}
	who := vault.Caller{Tenant: m.Connection.Tenant, User: m.UserID, Connection: m.Connection.ID, Actor: "mcp:" + m.ID}
	c, err := s.connection(ctx, who, m.Connection)
	if errors.Is(err, connection.ErrNotFound) || err == nil && c.Server != server {
		return none, vault.Caller{}, ErrNoToken
	}
	return c, who, err
}

// Proxy passes an MCP request on to the connection's task. onError answers
// what did not reach it.
func (s *Service) Proxy(w http.ResponseWriter, r *http.Request, c connection.Connection, onError func(http.ResponseWriter, *http.Request, error)) {
	p := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			// What the browser or client proved itself to us with is ours.
			for _, name := range []string{"Authorization", "Cookie", "Origin", "Referer"} {
				pr.Out.Header.Del(name)
			}
		},
		Transport:     s.upstream(c),
		FlushInterval: -1,
		ErrorHandler:  onError,
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Del("Set-Cookie")
			return nil
		},
	}
	p.ServeHTTP(w, r)
}

// MintRequest asks for an MCP token.
type MintRequest struct {
	Caller     vault.Caller
	Connection connection.Key
	TTL        time.Duration
	// Seed: see flow.LinkRequest.
	Seed []byte
}

// Minted is a fresh MCP token: the only time that it is seen.
type Minted struct {
	MCPToken
	Token token.Secret
	URL   string
}

// Mint makes a bearer for the connection's MCP endpoint.
func (s *Service) Mint(ctx context.Context, r MintRequest) (Minted, error) {
	c, err := s.Connections.Get(ctx, r.Connection)
	if err != nil {
		return Minted{}, err
	}
	if !r.Caller.May(c) || c.Status == connection.Deleting {
		return Minted{}, connection.ErrNotFound
	}
	if r.TTL <= 0 {
		r.TTL = DefaultTokenTTL
	}
	now := s.Now().UTC()
	id, secret := token.NewID("mct"), "lyt_"+token.NewSecret()
	if len(r.Seed) > 0 {
		id, secret = token.DeriveID("mct", r.Seed), "lyt_"+token.DeriveSecret(r.Seed)
	}
	m := MCPToken{
		ID: id, Hash: token.Hash(secret), Connection: c.Key, UserID: c.UserID,
		Server: c.Server, CreatedAt: now, ExpiresAt: now.Add(min(r.TTL, MaxTokenTTL)),
	}
	if err := s.Store.PutMCPToken(ctx, m); err != nil {
		if !errors.Is(err, ErrExists) {
			return Minted{}, fmt.Errorf("store the MCP token: %w", err)
		}
		old, err := s.Store.MCPTokenByHash(ctx, m.Hash)
		if errors.Is(err, ErrNoToken) || err == nil && old.Connection != m.Connection {
			return Minted{}, fmt.Errorf("%w: the token that this Idempotency-Key made was revoked", flow.ErrExists)
		}
		if err != nil {
			return Minted{}, err
		}
		m = old
	}
	return Minted{MCPToken: m, Token: secret, URL: s.EndpointURL(c)}, nil
}

// EndpointURL is the connection's MCP endpoint.
func (s *Service) EndpointURL(c connection.Connection) string { return s.BaseURL + "/mcp/" + c.Server }
