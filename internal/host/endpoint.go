package host

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Lifetimes of MCP tokens.
const (
	DefaultTokenTTL = 90 * 24 * time.Hour
	MaxTokenTTL     = 365 * 24 * time.Hour
)

// SignIns knows what persons have allowed MCP clients: package authserver.
type SignIns interface {
	// Check returns the grant of an access token that is good at the resource, the
	// exact URL of an endpoint; else authserver.ErrNoGrant.
	Check(ctx context.Context, bearer token.Secret, resource string) (authserver.Grant, error)
}

// Holder is whoever has shown a bearer that is good at an endpoint.
type Holder struct {
	Tenant, User string
	// Client is the client's name: the id of its MCP token, or "oauth:" and the id
	// of the grant of one that has signed in.
	Client string
	// Application is the client_id of one that has signed in; empty: it has an MCP
	// token.
	Application string
	// Server is what stands at the endpoint; empty: all servers of the user, of
	// which Servers leaves these; none: all.
	Server  string
	Servers []string
	// Scopes are those that a client that has signed in was granted.
	Scopes []string
}

// signedIn begins the names of clients that have signed in.
const signedIn = "oauth:"

// actor is a client's name in the audit.
func actor(client string) string {
	if strings.HasPrefix(client, signedIn) {
		return client
	}
	return "mcp:" + client
}

// Caller is the holder as one who uses a connection.
func (h Holder) Caller(connection string) vault.Caller {
	return vault.Caller{Tenant: h.Tenant, User: h.User, Connection: connection, Actor: actor(h.Client)}
}

// Bearer returns the connection that a bearer is good for at that server of the
// tenant: an MCP token, or the access token of a client that has signed in. One
// for another server, or another tenant's, is none; whatever does not fit is
// ErrNoToken.
func (s *Service) Bearer(ctx context.Context, bearer token.Secret, tenant, server string) (connection.Connection, Holder, error) {
	none := connection.Connection{}
	if bearer == "" || server == "" {
		return none, Holder{}, ErrNoToken
	}
	who, id, err := s.holder(ctx, bearer, tenant, server)
	if err != nil {
		return none, Holder{}, err
	}
	c, err := s.connection(ctx, who.Caller(id), connection.Key{Tenant: tenant, ID: id})
	if errors.Is(err, connection.ErrNotFound) || (err == nil || errors.Is(err, ErrNotConnected)) && c.Server != server {
		return none, Holder{}, ErrNoToken
	}
	return c, who, err
}

// BearerAll returns the holder of a bearer that is good for all servers of a
// user of the tenant. Whatever does not fit is ErrNoToken.
func (s *Service) BearerAll(ctx context.Context, bearer token.Secret, tenant string) (Holder, error) {
	if bearer == "" {
		return Holder{}, ErrNoToken
	}
	who, _, err := s.holder(ctx, bearer, tenant, "")
	return who, err
}

// holder is who holds the bearer, if it is good at that endpoint, and the
// connection that it is for.
func (s *Service) holder(ctx context.Context, bearer token.Secret, tenant, server string) (Holder, string, error) {
	if authserver.Accepts(bearer) {
		return s.granted(ctx, bearer, tenant, server)
	}
	m, err := s.Store.MCPTokenByHash(ctx, token.Hash(bearer))
	if err != nil {
		return Holder{}, "", err
	}
	all := m.Connection == ForUser(m.Connection.Tenant, m.UserID)
	if m.Connection.Tenant != tenant || m.Server != server || all != (server == "") || s.Now().After(m.ExpiresAt) {
		return Holder{}, "", ErrNoToken
	}
	return Holder{Tenant: tenant, User: m.UserID, Client: m.ID, Server: server, Servers: m.Servers}, m.Connection.ID, nil
}

// granted is holder for the access token of a client that has signed in.
func (s *Service) granted(ctx context.Context, bearer token.Secret, tenant, server string) (Holder, string, error) {
	if s.SignIns == nil {
		return Holder{}, "", ErrNoToken
	}
	g, err := s.SignIns.Check(ctx, bearer, s.BaseURL+authserver.EndpointPath(tenant, server))
	if errors.Is(err, authserver.ErrNoGrant) {
		return Holder{}, "", ErrNoToken
	}
	if err != nil {
		return Holder{}, "", err
	}
	if g.Tenant != tenant || g.Server != server || (g.Connection == "") != (server == "") {
		return Holder{}, "", ErrNoToken
	}
	return Holder{Tenant: tenant, User: g.UserID, Client: signedIn + g.ID, Application: g.ClientID, Server: server, Servers: g.Servers, Scopes: g.Scopes}, g.Connection, nil
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
func (s *Service) EndpointURL(c connection.Connection) string {
	return s.BaseURL + authserver.EndpointPath(c.Tenant, c.Server)
}
