package flow

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// place seals the set for the connection that it belongs to: the one to
// reconnect, the one this account already has, or a new one.
func (s *Finisher) place(ctx context.Context, f Flow, g connection.Granted, set token.Set) (connection.Connection, error) {
	storing, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	g.ClientAt = f.ClientAt
	c, exists, err := s.destination(storing, f, g)
	if err != nil {
		return c, err
	}
	caller := vault.Caller{Tenant: f.Tenant, User: f.UserID, Connection: c.ID, Actor: "callback"}
	version := token.NewID("set")
	placed, err := s.seal(storing, f, caller, c, version, exists, g, set)
	if err != nil && (!exists || errors.Is(err, ErrConnection)) {
		// No row will ever name what may have been stored; of a connection that
		// was never made, nothing at all.
		remove := func() error { return s.Vault.Remove(ctx, caller, c, "connect", version) }
		if !exists {
			remove = func() error { return s.Vault.Clear(ctx, caller, c, "connect") }
		}
		if rerr := remove(); rerr != nil {
			s.Logger.WarnContext(ctx, "a useless grant was not removed", "connection", c.ID, "err", rerr)
		}
	}
	return placed, err
}

func (s *Finisher) seal(ctx context.Context, f Flow, caller vault.Caller, c connection.Connection, version string, exists bool, g connection.Granted, set token.Set) (connection.Connection, error) {
	sealed, err := s.Vault.Seal(ctx, caller, c, version, "connect", set)
	if err != nil {
		return c, s.unstored(ctx, f, err)
	}
	return s.propose(ctx, f, c, exists, sealed, g)
}

// propose writes the sealed set to its row, in force at once unless somebody
// has to confirm it.
func (s *Finisher) propose(ctx context.Context, f Flow, c connection.Connection, exists bool, set connection.Set, g connection.Granted) (connection.Connection, error) {
	now := s.Now().UTC()
	proposal := connection.Proposal{FlowID: f.ID, ConfirmBy: now.Add(confirmTTL), Set: set, Granted: g}
	settle := func(c *connection.Connection) error {
		if err := c.Propose(proposal); err != nil || f.Confirm {
			return err
		}
		return c.Promote(f.ID, now)
	}
	var err error
	placed := c
	if exists {
		placed, err = s.Connections.Update(ctx, c.Key, settle)
	} else if err = settle(&placed); err == nil {
		err = s.Connections.Create(ctx, placed)
	}
	if errors.Is(err, connection.ErrUnavailable) {
		// Nobody knows whether it was written; the row does.
		if row, gerr := s.Connections.Get(context.WithoutCancel(ctx), c.Key); gerr == nil && holds(row, set) {
			placed, err = row, nil
		}
	}
	c = placed
	switch {
	case errors.Is(err, connection.ErrGone), errors.Is(err, connection.ErrNotFound):
		return c, ErrConnection // disconnected meanwhile
	case err != nil:
		return c, s.unstored(ctx, f, err)
	}
	return c, nil
}

// holds reports whether the set is the row's, in force or proposed.
func holds(row connection.Connection, set connection.Set) bool {
	return row.Set.AccessVersion == set.AccessVersion || row.Proposal != nil && row.Proposal.Set.AccessVersion == set.AccessVersion
}

func (s *Finisher) destination(ctx context.Context, f Flow, g connection.Granted) (connection.Connection, bool, error) {
	if f.ConnectionID != "" {
		c, err := s.Connections.Get(ctx, connection.Key{Tenant: f.Tenant, ID: f.ConnectionID})
		switch {
		case errors.Is(err, connection.ErrNotFound):
			return c, false, ErrConnection
		case err != nil:
			return c, false, s.unstored(ctx, f, err)
		case c.UserID != f.UserID || c.Server != f.Server:
			return c, false, ErrConnection
		case !s.sameClientAt(f, c.Granted):
			return c, true, nil // the account of before is at another place: this one is the only one there can be
		case c.Account.Subject != "" && g.Account.Subject == "" && !f.AllowOtherAccount:
			return c, true, ErrAccount
		case c.Account.Subject != "" && g.Account.Subject != c.Account.Subject && !f.AllowOtherAccount:
			return c, true, fmt.Errorf("%w: this connection is %s's; you chose %s", ErrOtherAccount,
				labelOf(c.Account), labelOf(g.Account))
		}
		return c, true, nil
	}
	c, found, err := s.known(ctx, f, g.Account.Subject)
	if err != nil {
		return c, false, s.unstored(ctx, f, err)
	}
	if found {
		return c, true, nil
	}
	return s.fresh(f.Tenant, f.UserID, f.Server, f.Provider, presets.TypeOAuth), false, nil
}

// known finds the connection that the user has with this account already, be
// it one that is still waiting for its first confirmation.
func (s *Finisher) known(ctx context.Context, f Flow, subject string) (connection.Connection, bool, error) {
	page := connection.Page{Limit: 100}
	for subject != "" {
		found, next, err := s.Connections.List(ctx, f.Tenant, connection.Filter{UserID: f.UserID, Server: f.Server}, page)
		if err != nil {
			return connection.Connection{}, false, err
		}
		for _, c := range found {
			held := c.Granted
			if c.Status == connection.Pending && c.Proposal != nil {
				held = c.Proposal.Granted
			}
			if c.Status != connection.Deleting && held.Account.Subject == subject && maps.Equal(held.Parameters, f.Parameters) && s.sameClientAt(f, held) {
				return c, true, nil
			}
		}
		if next == "" {
			break
		}
		page.Cursor = next
	}
	return connection.Connection{}, false, nil
}

func (s *Finisher) fresh(tenant, user, server, providerID string, auth presets.AuthType) connection.Connection {
	return connection.Connection{
		Key: connection.Key{Tenant: tenant, ID: token.NewID("con")}, UserID: user, Server: server,
		AuthType: string(auth), Provider: providerID, Status: connection.Pending, CreatedAt: s.Now().UTC(),
	}
}
