package flow

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// maxValue bounds a pasted value, in bytes.
const maxValue = 16 << 10

// KeyRequest is what a person pasted for an auth_type: api_key server, or
// nothing at all for one that needs no credential.
type KeyRequest struct {
	Tenant, UserID, Server string
	Values                 map[string]token.Secret
	Parameters             map[string]string
	// ConnectionID replaces the values of that connection.
	ConnectionID string
	// Confirm: the tenant must confirm who pasted them.
	Confirm   bool
	ReturnURL string
	// RequestID: see [Flow].
	RequestID string
	// Browser is the browser that sent them; empty for a backend.
	Browser string
}

// Connect seals pasted values: the way to connect a server that needs no
// provider. The flow that it returns has happened in one step.
func (s *Finisher) Connect(ctx context.Context, r KeyRequest) (Flow, connection.Connection, error) {
	server, ok := s.Catalogue.Server(r.Server)
	if !ok {
		return Flow{}, connection.Connection{}, fmt.Errorf("%w: %q", ErrServer, r.Server)
	}
	access, err := pasted(server, r)
	if err != nil {
		return Flow{}, connection.Connection{}, err
	}
	now := s.Now().UTC()
	f := Flow{ID: token.NewID("flo"), Tenant: r.Tenant, UserID: r.UserID, Server: r.Server, Parameters: r.Parameters,
		ConnectionID: r.ConnectionID, Confirm: r.Confirm, ReturnURL: r.ReturnURL, RequestID: r.RequestID, Browser: r.Browser, Status: Exchanging,
		CreatedAt: now, ExpiresAt: now.Add(flowTTL)}
	if err := s.Store.PutFlow(ctx, f); err != nil {
		return f, connection.Connection{}, s.unstored(ctx, f, err)
	}
	c, err := s.keep(ctx, f, server, access)
	f, err = s.end(ctx, f, c, nil, err)
	return f, c, err
}

// pasted checks the values against what the server asks for.
func pasted(server presets.Server, r KeyRequest) (token.Access, error) {
	if server.AuthType == presets.TypeOAuth {
		return token.Access{}, fmt.Errorf("%w: %s is connected at its provider", ErrAuthType, server.DisplayName)
	}
	access := token.Access{Values: map[string]token.Secret{}}
	for _, v := range server.EnvValues {
		value := token.Secret(strings.TrimSpace(r.Values[v.Name].Reveal()))
		if value == "" || len(value) > maxValue || strings.ContainsRune(value.Reveal(), 0) {
			return access, fmt.Errorf("%w: %s", ErrParameter, v.Label)
		}
		access.Values[v.Name] = value
	}
	return access, checkParameters(server, r.Parameters)
}

// keep seals pasted values for the connection that they belong to.
func (s *Finisher) keep(ctx context.Context, f Flow, server presets.Server, access token.Access) (connection.Connection, error) {
	c := s.fresh(f.Tenant, f.UserID, f.Server, "", server.AuthType)
	if f.ConnectionID != "" {
		old, err := s.Connections.Get(ctx, connection.Key{Tenant: f.Tenant, ID: f.ConnectionID})
		switch {
		case err != nil && !errors.Is(err, connection.ErrNotFound):
			return c, s.unstored(ctx, f, err)
		case err != nil, old.UserID != f.UserID, old.Server != f.Server:
			return c, ErrConnection
		}
		c = old
	}
	caller := vault.Caller{Tenant: f.Tenant, User: f.UserID, Connection: c.ID, Actor: "callback"}
	set, err := s.Vault.SealAccess(ctx, caller, c, token.NewID("set"), "connect", access)
	if err != nil {
		return c, s.unstored(ctx, f, err)
	}
	return s.propose(ctx, f, c, f.ConnectionID != "", connection.Proposal{Set: set, Granted: connection.Granted{Parameters: f.Parameters}})
}
