package flow

import (
	"context"
	"errors"
	"maps"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Offer is what a person picks from who granted access to several places.
type Offer struct {
	Flow Flow
	// Kind is what such a place is called.
	Kind   string
	Places []connection.Place
	// More: there are others, which are not offered.
	More bool
	// Lost is the place that the connection to renew is for, if access to it was
	// not granted any more.
	Lost *connection.Place
}

// Offered returns what the flow offers, if it is the browser's. It changes nothing.
func (s *Finisher) Offered(ctx context.Context, id, browser string) (Offer, error) {
	f, c, err := s.picking(ctx, id, browser)
	if err != nil {
		return Offer{Flow: f}, err
	}
	o := Offer{Flow: f, Kind: "place", Places: c.Proposal.Places, More: c.Proposal.More, Lost: c.Place}
	if p, ok := s.Catalogue.Provider(f.Provider); ok {
		if p, err := p.Resolve(c.Proposal.Granted.Variant, s.Catalogue.Provider); err == nil && p.Discovery != nil {
			o.Kind = p.Discovery.Kind
		}
	}
	return o, nil
}

// Pick settles which place the connection is for. Of several answers the row takes
// one. The flow that it returns beside an error is still to be answered while it
// is [Picking].
func (s *Finisher) Pick(ctx context.Context, id, placeID, browser string) (Flow, error) {
	f, c, err := s.picking(ctx, id, browser)
	if err != nil {
		return f, err
	}
	place, ok := c.Offers(f.ID, placeID, s.Now())
	if !ok {
		return f, ErrPlace
	}
	// It goes on when the browser leaves: half of it is worse than none.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout+exchangeTimeout)
	defer cancel()
	s.work.Add(1)
	defer s.work.Done()
	g := c.Proposal.Granted
	g.Place = &place
	var other connection.Connection
	found := false
	if f.ConnectionID == "" {
		if other, found, err = s.known(ctx, f, g); err != nil {
			return f, s.unstored(ctx, f, err)
		}
	}
	if found {
		return s.move(ctx, f, c, other, g)
	}
	caller := vault.Caller{Tenant: f.Tenant, User: f.UserID, Connection: c.ID, Actor: "callback"}
	set := c.Proposal.Set
	access, err := s.Vault.Access(ctx, caller, c, set, "connect")
	if err != nil {
		return f, s.unstored(ctx, f, err)
	}
	sealed, err := s.Vault.SealAccess(ctx, caller, c, token.NewID("set"), "connect", at(access, place))
	if err != nil {
		return f, s.unstored(ctx, f, err)
	}
	set.AccessVersion, set.Access = sealed.AccessVersion, sealed.Access
	now := s.Now().UTC()
	picked, err := s.Connections.Update(ctx, c.Key, func(c *connection.Connection) error {
		if err := c.Pick(f.ID, placeID, set, now, now.Add(confirmTTL)); err != nil || f.Confirm {
			return err
		}
		return c.Promote(f.ID, now)
	})
	if row, ok := s.written(ctx, c.Key, set, err); ok {
		picked, err = row, nil
	}
	if err != nil {
		return f, s.unpicked(ctx, f, err)
	}
	return s.end(ctx, f, picked, f.Result.Missing, nil)
}

// move takes the grant to the connection that the person has at this place
// already. It is taken out of its row first: a refresh token that two rows held
// would be spent twice.
func (s *Finisher) move(ctx context.Context, f Flow, from, to connection.Connection, g connection.Granted) (Flow, error) {
	caller := vault.Caller{Tenant: f.Tenant, User: f.UserID, Connection: from.ID, Actor: "callback"}
	access, err := s.Vault.Access(ctx, caller, from, from.Proposal.Set, "connect")
	if err != nil {
		return f, s.unstored(ctx, f, err)
	}
	grant, err := s.Vault.Grant(ctx, caller, from, from.Proposal.Set, "connect")
	if err != nil {
		return f, s.unstored(ctx, f, err)
	}
	now := s.Now().UTC()
	_, err = s.Connections.Update(ctx, from.Key, func(c *connection.Connection) error { return c.Surrender(f.ID, g.Place.ID, now) })
	if errors.Is(err, connection.ErrUnavailable) {
		// Of a write that was not answered nobody knows, and the row does: if it has let
		// the grant go, there is nothing but this left of it.
		if row, rerr := s.Connections.Get(context.WithoutCancel(ctx), from.Key); rerr == nil && row.Surrendered(g.Place.ID) {
			err = nil
		}
	}
	if err != nil {
		return f, s.unpicked(ctx, f, err)
	}
	set := token.Set{Access: at(access, *g.Place), Grant: grant}
	c, err := s.keepIn(ctx, f, to, true, connection.Proposal{Granted: g}, set)
	if err != nil {
		s.giveBack(ctx, f, g, set)
	}
	return s.end(ctx, f, c, f.Result.Missing, err)
}

// giveBack revokes a grant whose row has gone.
func (s *Finisher) giveBack(ctx context.Context, f Flow, g connection.Granted, set token.Set) {
	client, err := s.Secrets.Client(ctx, f.Tenant, f.Provider, g.ClientID)
	if err == nil {
		t, p, terr := newTarget(s.Catalogue, f, client, s.BaseURL, s.Deployment)
		if err = terr; err == nil {
			s.revoke(ctx, t, f, p, g, set)
			return
		}
	}
	s.Logger.WarnContext(ctx, "an unused grant was not revoked", "flow", f.ID, "provider", f.Provider, "err", err)
}

// Decline ends a flow of whose places the person wants none. What was granted is
// revoked by package refresh.
func (s *Finisher) Decline(ctx context.Context, id, browser string) (Flow, error) {
	f, c, err := s.picking(ctx, id, browser)
	if err != nil {
		return f, err
	}
	now := s.Now().UTC()
	if _, err := s.Connections.Update(ctx, c.Key, func(c *connection.Connection) error { return c.Decline(f.ID, now) }); err != nil {
		return f, s.unpicked(ctx, f, err)
	}
	return s.end(ctx, f, connection.Connection{}, nil, ErrDenied)
}

// picking returns the flow and its row if it is the browser's and waits for a
// place to be picked. The flow is empty while the browser has not proven that it
// may see it.
func (s *Finisher) picking(ctx context.Context, id, browser string) (Flow, connection.Connection, error) {
	f, err := s.Store.GetFlow(ctx, id)
	switch {
	case err != nil:
		return Flow{}, connection.Connection{}, err
	case f.Browser == "" || f.Browser != browser:
		return Flow{}, connection.Connection{}, ErrFlowClaimed
	case f.Status != Picking:
		return f, connection.Connection{}, ErrFlowEnded
	}
	c, err := s.Connections.Get(ctx, connection.Key{Tenant: f.Tenant, ID: f.Result.ConnectionID})
	if err != nil && !errors.Is(err, connection.ErrNotFound) {
		return f, c, s.unstored(ctx, f, err)
	}
	p := c.Proposal
	waiting := err == nil && p != nil && p.FlowID == f.ID && !s.Now().After(p.ConfirmBy)
	switch {
	case waiting && len(p.Places) > 0:
		return f, c, nil
	case waiting:
		f.Status = Pending // the choice was interrupted, and counts
	case err == nil && inForce(c, f):
		f.Status = Connected
	default:
		f.Status = Failed // of its page: there is nothing to be picked any more
		return f, c, ErrFlowExpired
	}
	return f, c, ErrFlowEnded
}

// unpicked is why the row did not take an answer.
func (s *Finisher) unpicked(ctx context.Context, f Flow, err error) error {
	if errors.Is(err, connection.ErrNoProposal) || errors.Is(err, connection.ErrNotFound) || errors.Is(err, connection.ErrGone) {
		return ErrFlowEnded // by another answer, or because it took too long
	}
	return s.unstored(ctx, f, err)
}

// at is an access token with what is kept of the place.
func at(a token.Access, p connection.Place) token.Access {
	kept := maps.Clone(a.Metadata)
	if kept == nil {
		kept = map[string]string{}
	}
	maps.Copy(kept, p.Metadata)
	a.Metadata = kept
	return a
}
