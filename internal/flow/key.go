package flow

import (
	"context"
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
}

// Connect seals pasted values: the way to connect a server that needs no
// provider.
func (s *Finisher) Connect(ctx context.Context, r KeyRequest) (connection.Connection, error) {
	server, ok := s.Catalogue.Server(r.Server)
	if !ok {
		return connection.Connection{}, fmt.Errorf("%w: %q", ErrServer, r.Server)
	}
	if server.AuthType == presets.TypeOAuth {
		return connection.Connection{}, fmt.Errorf("%w: %s is connected at its provider", ErrAuthType, server.DisplayName)
	}
	access := token.Access{Values: map[string]token.Secret{}}
	for _, v := range server.EnvValues {
		value := token.Secret(strings.TrimSpace(r.Values[v.Name].Reveal()))
		if value == "" || len(value) > maxValue || strings.ContainsRune(value.Reveal(), 0) {
			return connection.Connection{}, fmt.Errorf("%w: %s", ErrParameter, v.Label)
		}
		access.Values[v.Name] = value
	}
	for name, p := range server.Parameters {
		if p.Source != presets.SourceDeployment {
			if err := p.Allows(r.Parameters[name]); err != nil {
				return connection.Connection{}, fmt.Errorf("%w: %s: %w", ErrParameter, name, err)
			}
		}
	}
	c := s.fresh(r.Tenant, r.UserID, r.Server, "", server.AuthType)
	if r.ConnectionID != "" {
		old, err := s.Connections.Get(ctx, connection.Key{Tenant: r.Tenant, ID: r.ConnectionID})
		if err != nil || old.UserID != r.UserID || old.Server != r.Server {
			return c, ErrConnection
		}
		c = old
	}
	caller := vault.Caller{Tenant: r.Tenant, User: r.UserID, Connection: c.ID, Actor: "callback"}
	set, err := s.Vault.SealAccess(ctx, caller, c, token.NewID("set"), "connect", access)
	if err != nil {
		return c, fmt.Errorf("%w: %w", ErrStore, err)
	}
	now := s.Now().UTC()
	id := token.NewID("flo")
	settle := func(c *connection.Connection) error {
		err := c.Propose(connection.Proposal{FlowID: id, ConfirmBy: now.Add(confirmTTL), Set: set,
			Granted: connection.Granted{Parameters: r.Parameters}})
		if err != nil {
			return err
		}
		return c.Promote(id, now)
	}
	if r.ConnectionID != "" {
		return s.Connections.Update(ctx, c.Key, settle)
	}
	if err := settle(&c); err != nil {
		return c, err
	}
	return c, s.Connections.Create(ctx, c)
}
