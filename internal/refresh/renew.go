package refresh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// renew brings the connection's tokens up to date, or returns them as they are
// if somebody else just did. seen is the row if the caller has just read it.
func (s *Service) renew(ctx context.Context, k connection.Key, seen *connection.Connection, due func(connection.Connection) bool) (connection.Connection, error) {
	c, claim, err := s.begin(ctx, k, seen, due) // lease, re-read, still due?, intent: one write
	if err != nil || claim == nil {
		return c, err
	}
	s.reached(StepBegun)
	return s.spend(ctx, c, *claim)
}

// spend is a renewal from the point where it has begun.
func (s *Service) spend(ctx context.Context, c connection.Connection, claim connection.Claim) (connection.Connection, error) {
	o, err := s.open(ctx, &c, claim) // from here on nothing of ours can fail
	if err != nil {
		return s.failed(ctx, c, claim, err, false)
	}
	s.reached(StepOpened)
	result, err := s.exchange(ctx, o) // once
	s.reached(StepExchanged)
	if len(result.Renewed) == 0 && c.Intent.Attempt > 1 && refused(err) {
		// Whoever was slow to store the answer to the attempt before may have
		// done it since.
		if lost := s.recover(ctx, &c, claim, o.permit); lost != nil {
			err = lost
		} else if c.Intent == nil {
			return s.spend(ctx, c, claim) // with the token that was found
		}
	}
	if err != nil && len(result.Renewed) == 0 {
		return s.failed(ctx, c, claim, err, true)
	}
	// Of several tokens some were renewed: those must be stored, whatever
	// became of the others, which stay due.
	return s.swap(ctx, c, claim, o, result) // seal; point the row at it if the fence holds; release
}

// refused reports whether the provider says that what was spent is dead.
func refused(err error) bool {
	var e *provider.Error
	return errors.As(err, &e) && e.Verdict == provider.Reconnect
}

// opened is everything that the exchange and the swap need.
type opened struct {
	permit *vault.Permit
	target provider.Target
	held   token.Set
	// life is how long the access token in force lives in all, if it is the
	// only one and its end is known.
	life time.Duration
}

// open gathers all that the exchange needs, so that nothing of ours can fail
// any more once it has begun.
func (s *Service) open(ctx context.Context, c *connection.Connection, claim connection.Claim) (o opened, err error) {
	if !s.renewable(*c) {
		return o, provider.ErrNotRenewable
	}
	if o.permit, err = s.Vault.Permit(ctx, s.caller(*c), *c, "renew", "refresh"); err != nil {
		return o, err
	}
	if err := s.recover(ctx, c, claim, o.permit); err != nil {
		return o, err
	}
	if o.target, err = s.target(ctx, *c, c.Granted); err != nil {
		return o, err
	}
	if o.held.Grant, err = o.permit.Grant(ctx, c.Set); err != nil {
		return o, err
	}
	if o.held.Access, err = o.permit.Access(ctx, c.Set); err != nil {
		return o, err
	}
	if end := o.held.Access.ExpiresAt(); len(o.held.Access.Tokens) == 1 && !end.IsZero() {
		o.life = end.Sub(c.Set.IssuedAt)
	}
	if o.target.Provider.Refresh.Rotation != presets.RotationNever {
		if err := o.permit.Prove(ctx); err != nil {
			return o, fmt.Errorf("prove that a new grant can be stored: %w", err)
		}
	}
	if err := s.pace().Admit(ctx, *c, o.target.Provider.Refresh.RateLimit); err != nil {
		return o, err
	}
	if c.Intent == nil || c.Lease.Until.Sub(s.Now()) < s.exchangeTimeout()+storeTimeout {
		intent := s.intent(*c)
		if c.Intent != nil {
			intent = *c.Intent // recorded already; it took long to get here
		}
		recorded, err := s.Connections.UpdateFrom(ctx, *c, func(c *connection.Connection) error {
			return c.Record(claim, intent, s.Now().UTC().Add(leaseTTL))
		})
		if err != nil {
			return o, err // whoever notes that needs to know of which row
		}
		*c = recorded
	}
	return o, nil
}

// recover adopts what an interrupted renewal had stored and not yet published.
func (s *Service) recover(ctx context.Context, c *connection.Connection, claim connection.Claim, permit *vault.Permit) error {
	if c.Intent == nil || c.Intent.Attempt < 2 && !s.reuseEndsOthers(*c) {
		return nil
	}
	stored := connection.Set{GrantVersion: c.Intent.ID}
	grant, err := permit.Grant(ctx, stored)
	switch {
	case errors.Is(err, vault.ErrNoGrant) && s.reuseEndsOthers(*c):
		return errAnswerLost
	case errors.Is(err, vault.ErrNoGrant):
		return nil
	case err != nil:
		return err
	}
	s.Logger.InfoContext(ctx, "an interrupted renewal was recovered", "connection", c.ID)
	spent := c.Set.GrantVersion
	out, err := s.Connections.UpdateFrom(ctx, *c, func(c *connection.Connection) error {
		return c.Adopt(claim, stored.GrantVersion, grant.Hash())
	})
	if err != nil {
		return err
	}
	*c = out
	s.dropSpent(ctx, out, permit, spent)
	return nil
}

func (s *Service) caller(c connection.Connection) vault.Caller {
	return vault.Caller{Tenant: c.Tenant, Connection: c.ID, Actor: "refresh"}
}

// exchange spends the grant, once.
func (s *Service) exchange(ctx context.Context, o opened) (provider.Result, error) {
	// All its time, however long the lease was waited for: an answer that is cut
	// off is lost.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.exchangeTimeout())
	defer cancel()
	result, err := s.Engine.Refresh(ctx, o.target, o.held.Grant, o.held.Access, soonest(o.held.Access)...)
	s.keepLife(o, result)
	return result, err
}

// keepLife gives a renewed token the lifetime of the one before it where the
// provider named one then and names none now, and its file does not say what
// that means: else the token would end without anybody having planned for it.
func (s *Service) keepLife(o opened, r provider.Result) {
	if o.life <= 0 || o.target.Provider.Refresh.TTLIfAbsent != "" {
		return
	}
	for _, name := range r.Renewed {
		if t := r.Set.Access.Tokens[name]; t.ExpiresAt.IsZero() {
			t.ExpiresAt = s.Now().UTC().Add(o.life)
			r.Set.Access.Tokens[name] = t
		}
	}
}

// soonest names the tokens of a set that expire first or hardly later; none
// when no expiry is known, which means all.
func soonest(a token.Access) []string {
	first := a.ExpiresAt()
	var names []string
	for name, t := range a.Tokens {
		if !t.ExpiresAt.IsZero() && t.ExpiresAt.Before(first.Add(5*time.Minute)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// target is the provider with the client that the grant was made for.
func (s *Service) target(ctx context.Context, c connection.Connection, g connection.Granted) (provider.Target, error) {
	if g.Found != nil {
		client, err := flow.ClientOf(ctx, s.Secrets, c.Tenant, c.Provider, g.ClientID, *g.Found)
		server, _ := s.Catalogue.Server(c.Server)
		return flow.FoundTarget(server, c.Provider, *g.Found, client, s.BaseURL), err
	}
	client, err := s.Secrets.Client(ctx, c.Tenant, c.Provider, g.ClientID)
	if err != nil {
		return provider.Target{}, err
	}
	p, err := s.provider(c.Provider, client.Variant)
	if err != nil {
		return provider.Target{}, err
	}
	if err := flow.CheckClientAt(*p, g.ClientAt, client); err != nil {
		return provider.Target{}, err
	}
	return flow.TargetAt(*p, g.Parameters, client, s.BaseURL, s.Deployment)
}
