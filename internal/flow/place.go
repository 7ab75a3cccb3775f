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

// What is offered of many places: a row holds it for ten minutes.
const (
	maxOffered      = 50
	maxOfferedBytes = 64 << 10
)

// assign seals the set for the connection that it belongs to: the one to
// reconnect, the one that this account already has at this place, or a new one.
// Where the person has to say which place, it waits in the one to reconnect, or in
// a new one.
func (s *Finisher) assign(ctx context.Context, f Flow, g connection.Granted, set token.Set, places []connection.Place) (connection.Connection, error) {
	storing, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	g.ClientAt = f.ClientAt
	c, exists, err := s.reconnected(storing, f, g)
	if err != nil {
		return c, err
	}
	held := c.Place
	if exists && !s.sameClientAt(f, c.Granted) {
		held = nil // of another host it is another place, be its id the same
	}
	var p connection.Proposal
	if g.Place, p.Places = narrow(places, held); g.Place != nil {
		maps.Copy(set.Access.Metadata, g.Place.Metadata)
	}
	p.Granted, p.More = g, len(p.Places) > 0 && len(p.Places) < len(places)
	if !exists && len(p.Places) == 0 {
		if c, exists, err = s.known(storing, f, g); err != nil {
			return c, s.unstored(ctx, f, err)
		}
	}
	if !exists {
		c = s.fresh(f.Tenant, f.UserID, f.Server, f.Provider, presets.TypeOAuth)
	}
	return s.keepIn(storing, f, c, exists, p, set)
}

// narrow returns the place that nobody has to be asked about, the only one or the
// one that the connection is for already; or those that the person picks from.
func narrow(places []connection.Place, held *connection.Place) (*connection.Place, []connection.Place) {
	for _, p := range places {
		if held != nil && p.ID == held.ID || held == nil && len(places) == 1 {
			return &p, nil
		}
	}
	size := 0
	for i, p := range places {
		size += len(p.ID) + len(p.Label) + len(p.Name)
		for name, value := range p.Metadata {
			size += len(name) + len(value)
		}
		if i == maxOffered || i > 0 && size > maxOfferedBytes {
			return nil, places[:i]
		}
	}
	return nil, places
}

// keepIn seals the set for the connection and proposes it. What is stored of it
// in vain is removed.
func (s *Finisher) keepIn(ctx context.Context, f Flow, c connection.Connection, exists bool, p connection.Proposal, set token.Set) (connection.Connection, error) {
	caller := vault.Caller{Tenant: f.Tenant, User: f.UserID, Connection: c.ID, Actor: "callback"}
	version := token.NewID("set")
	placed, err := c, error(nil)
	if p.Set, err = s.Vault.Seal(ctx, caller, c, version, "connect", set); err != nil {
		err = s.unstored(ctx, f, err)
	} else {
		placed, err = s.propose(ctx, f, c, exists, p)
	}
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

// propose writes the sealed set to its row, in force at once unless somebody
// has to confirm it or to pick a place.
func (s *Finisher) propose(ctx context.Context, f Flow, c connection.Connection, exists bool, p connection.Proposal) (connection.Connection, error) {
	now := s.Now().UTC()
	p.FlowID, p.ConfirmBy = f.ID, now.Add(confirmTTL)
	settle := func(c *connection.Connection) error {
		if err := c.Propose(p); err != nil || f.Confirm || len(p.Places) > 0 {
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
	if row, ok := s.written(ctx, c.Key, p.Set, err); ok {
		placed, err = row, nil
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

// written returns the row if a write that failed has put the set there all the
// same: of one that was not answered nobody knows, and the row does.
func (s *Finisher) written(ctx context.Context, k connection.Key, set connection.Set, err error) (connection.Connection, bool) {
	if !errors.Is(err, connection.ErrUnavailable) {
		return connection.Connection{}, false
	}
	row, err := s.Connections.Get(context.WithoutCancel(ctx), k)
	return row, err == nil && holds(row, set)
}

// holds reports whether the set is the row's, in force or proposed.
func holds(row connection.Connection, set connection.Set) bool {
	return row.Set.AccessVersion == set.AccessVersion || row.Proposal != nil && row.Proposal.Set.AccessVersion == set.AccessVersion
}

// reconnected is the connection that the flow renews, if it names one.
func (s *Finisher) reconnected(ctx context.Context, f Flow, g connection.Granted) (connection.Connection, bool, error) {
	if f.ConnectionID == "" {
		return connection.Connection{}, false, nil
	}
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

// known finds the connection that the user has with this account at this place
// already, be it one that is still waiting for its first confirmation.
func (s *Finisher) known(ctx context.Context, f Flow, g connection.Granted) (connection.Connection, bool, error) {
	page := connection.Page{Limit: 100}
	for subject := g.Account.Subject; subject != ""; {
		found, next, err := s.Connections.List(ctx, f.Tenant, connection.Filter{UserID: f.UserID, Server: f.Server}, page)
		if err != nil {
			return connection.Connection{}, false, err
		}
		for _, c := range found {
			held := c.Granted
			if c.Status == connection.Pending && c.Proposal != nil {
				held = c.Proposal.Granted
			}
			if c.Status != connection.Deleting && held.Account.Subject == subject && held.At(g.Place) && s.sameClientAt(f, held) && maps.Equal(held.Parameters, f.Parameters) {
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
