package host

import (
	"context"
	"errors"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
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
	if errors.Is(err, connection.ErrNotFound) || (err == nil || errors.Is(err, ErrNotConnected)) && c.Server != server {
		return none, vault.Caller{}, ErrNoToken
	}
	return c, who, err
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
	m, secret := s.newToken(r.TTL, r.Seed)
	m.Connection, m.UserID, m.Server = c.Key, c.UserID, c.Server
	if m, err = s.keepToken(ctx, m); err != nil {
		return Minted{}, err
	}
	return Minted{MCPToken: m, Token: secret, URL: s.EndpointURL(c)}, nil
}

// EndpointURL is the connection's MCP endpoint.
func (s *Service) EndpointURL(c connection.Connection) string { return s.BaseURL + "/mcp/" + c.Server }
