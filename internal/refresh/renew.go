package refresh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// renew brings the connection's tokens up to date, or returns them as they are
// if somebody else just did.
func (s *Service) renew(ctx context.Context, k connection.Key, due func(connection.Connection) bool) (connection.Connection, error) {
	c, claim, err := s.lease(ctx, k, due) // lease, and the row as it is under it
	if errors.Is(err, ErrBusy) {
		return s.overtaken(ctx, k)
	}
	if err != nil || claim == nil {
		return c, err
	}
	if !due(c) || c.Status == connection.ReconnectNeeded { // still due?
		return s.release(ctx, c, *claim)
	}
	if wait := c.RetryAt.Sub(s.Now()); wait > 0 && c.Failure != nil {
		c, err := s.release(ctx, c, *claim)
		return s.stale(c, err, wait)
	}
	t, held, c, err := s.prepare(ctx, c, *claim)
	if err == nil {
		c, err = s.intend(ctx, c, *claim, held.Grant) // intent
	}
	if err != nil {
		return s.failed(ctx, c, *claim, err)
	}
	result, err := s.exchange(ctx, t, held)
	if err != nil && len(result.Renewed) == 0 {
		return s.failed(ctx, c, *claim, err)
	}
	// Of several tokens some were renewed: those must be stored, whatever
	// became of the others, which stay due.
	return s.swap(ctx, c, *claim, result)
}

// lease takes the lease, waiting for whoever has it. A nil claim means that
// there is no more need: the row is returned as the other one left it.
func (s *Service) lease(ctx context.Context, k connection.Key, due func(connection.Connection) bool) (connection.Connection, *connection.Claim, error) {
	holder := token.NewID("ref") // of this renewal, not of this process
	deadline := s.Now().Add(waitForOther)
	for {
		var claim connection.Claim
		c, err := s.Connections.Update(ctx, k, func(c *connection.Connection) (err error) {
			if c.Status == connection.Deleting {
				return connection.ErrGone
			}
			claim, err = c.Acquire(holder, s.Now().UTC(), leaseTTL)
			return err
		})
		if err == nil {
			return c, &claim, nil
		}
		if !errors.Is(err, connection.ErrLeased) {
			return c, nil, err
		}
		if s.Now().After(deadline) {
			return c, nil, ErrBusy
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return c, nil, err
		}
		if c, err = s.Connections.Get(ctx, k); err != nil {
			return c, nil, err
		}
		switch {
		case c.Status == connection.ReconnectNeeded:
			return c, nil, reconnectError(c)
		case !due(c):
			return c, nil, nil
		}
	}
}

func (s *Service) release(ctx context.Context, c connection.Connection, claim connection.Claim) (connection.Connection, error) {
	out, err := s.Connections.Update(ctx, c.Key, func(c *connection.Connection) error { return c.Release(claim) })
	if errors.Is(err, connection.ErrFenced) {
		return s.Connections.Get(ctx, c.Key)
	}
	return out, err
}

// stale answers for a renewal that may not be tried yet: a token that still
// lives is better than none.
func (s *Service) stale(c connection.Connection, err error, wait time.Duration) (connection.Connection, error) {
	switch {
	case err != nil:
		return c, err
	case c.Status != connection.Connected:
		return c, standing(c)
	case c.Set.AccessExpiresAt.IsZero() || s.Now().Before(c.Set.AccessExpiresAt):
		return c, nil
	case c.Failure == nil:
		return c, ErrBusy
	}
	return c, &Unavailable{Failure: *c.Failure, RetryAfter: wait}
}

// overtaken answers for a renewal that somebody else has the lease of: the row
// as it is decides.
func (s *Service) overtaken(ctx context.Context, k connection.Key) (connection.Connection, error) {
	c, err := s.Connections.Get(ctx, k)
	return s.stale(c, err, pollInterval)
}

// prepare gathers all that the exchange needs, so that nothing of ours can fail
// any more once the intent says that the grant may be spent.
func (s *Service) prepare(ctx context.Context, c connection.Connection, claim connection.Claim) (t provider.Target, held token.Set, _ connection.Connection, err error) {
	if !s.renewable(c) {
		return t, held, c, provider.ErrNotRenewable
	}
	if c, err = s.recover(ctx, c, claim); err != nil {
		return t, held, c, err
	}
	if t, err = s.target(ctx, c, c.Granted); err != nil {
		return t, held, c, err
	}
	if held.Grant, err = s.Vault.Grant(ctx, s.caller(c), c, c.Set, "refresh"); err != nil {
		return t, held, c, err
	}
	held.Access, err = s.Vault.Access(ctx, s.caller(c), c, c.Set, "refresh")
	return t, held, c, err
}

// intend records that the grant is about to be spent.
func (s *Service) intend(ctx context.Context, c connection.Connection, claim connection.Claim, grant token.Grant) (connection.Connection, error) {
	now := s.Now().UTC()
	intent := connection.Intent{ID: token.NewID("set"), TokenHash: hashOf(grant), At: now, Attempt: 1}
	if c.Intent != nil && c.Intent.TokenHash == intent.TokenHash {
		// Nobody knows what became of the attempt before. The version stays,
		// so that whatever it may yet store is found under it.
		intent.ID, intent.Attempt = c.Intent.ID, c.Intent.Attempt+1
		if s.reuseEndsOthers(c) {
			return c, errAnswerLost
		}
	}
	out, err := s.Connections.Update(ctx, c.Key, func(c *connection.Connection) error {
		return c.Record(claim, intent, now.Add(leaseTTL))
	})
	if err != nil {
		return c, err
	}
	return out, nil
}

// recover adopts what an interrupted renewal had stored and not yet published.
func (s *Service) recover(ctx context.Context, c connection.Connection, claim connection.Claim) (connection.Connection, error) {
	if c.Intent == nil || c.Intent.ID == c.Set.GrantVersion {
		return c, nil
	}
	stored := connection.Set{GrantVersion: c.Intent.ID}
	_, err := s.Vault.Grant(ctx, s.caller(c), c, stored, "recover")
	if errors.Is(err, vault.ErrNoGrant) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	s.Logger.InfoContext(ctx, "an interrupted renewal was recovered", "connection", c.ID)
	out, err := s.Connections.Update(ctx, c.Key, func(c *connection.Connection) error {
		return c.Adopt(claim, stored.GrantVersion)
	})
	if err != nil {
		return c, err
	}
	s.dropSpent(ctx, out, c.Set.GrantVersion)
	return out, nil
}

// reuseEndsOthers reports whether presenting a spent refresh token would end
// grants beyond this connection: then an attempt whose answer was lost is not
// repeated.
func (s *Service) reuseEndsOthers(c connection.Connection) bool {
	return s.habits(c).OnReuse.Family == "all"
}

// renewable reports whether there is anything to renew the connection's tokens
// with: a refresh token, or the access token itself.
func (s *Service) renewable(c connection.Connection) bool {
	return c.Set.Renewable() || c.Provider != "" && s.habits(c).Grant == presets.GrantExchange
}

// habits are how the connection's provider renews.
func (s *Service) habits(c connection.Connection) presets.Refresh {
	p, ok := s.Catalogue.Provider(c.Provider)
	if !ok {
		return presets.Refresh{}
	}
	p, err := p.Resolve(c.Variant, s.Catalogue.Provider)
	if err != nil {
		return presets.Refresh{}
	}
	return p.Refresh
}

func (s *Service) caller(c connection.Connection) vault.Caller {
	return vault.Caller{Tenant: c.Tenant, Connection: c.ID, Actor: "refresh"}
}

func hashOf(g token.Grant) string {
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(g.Renewables)) {
		fmt.Fprintf(&all, "%s=%s\n", name, g.Renewables[name].RefreshToken.Reveal())
	}
	return token.Hash(token.Secret(all.String()))
}

// exchange spends the grant, once.
func (s *Service) exchange(ctx context.Context, t provider.Target, held token.Set) (provider.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	return s.Engine.Refresh(ctx, t, held.Grant, held.Access, soonest(held.Access)...)
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
	client, err := s.Secrets.Client(ctx, c.Tenant, c.Provider, g.ClientID)
	if err != nil {
		return provider.Target{}, err
	}
	t, _, err := flow.TargetOf(s.Catalogue, c.Provider, g.Parameters, client, s.BaseURL, s.Deployment)
	return t, err
}

// swap seals the result under the intent's version and points the row at it.
// What cannot be stored is tried again with the same result, never by asking
// the provider again.
func (s *Service) swap(ctx context.Context, c connection.Connection, claim connection.Claim, r provider.Result) (connection.Connection, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseTTL/2)
	defer cancel()
	var (
		out connection.Connection
		set connection.Set
	)
	err := persist(ctx, func() (err error) {
		// Sealed once: a second try must put the same bytes.
		if set.AccessVersion == "" {
			if set, err = s.seal(ctx, c, r); err != nil {
				set = connection.Set{}
				return err
			}
		}
		var scopes []string
		if r.ScopesKnown {
			scopes = r.ScopesGranted
		}
		out, err = s.Connections.Update(ctx, c.Key, func(row *connection.Connection) error {
			return row.Renewed(claim, set, scopes, s.Now().UTC())
		})
		return err
	})
	switch {
	case errors.Is(err, connection.ErrFenced), errors.Is(err, connection.ErrNotFound):
		s.withdraw(ctx, c, set.GrantVersion)
		return s.overtaken(ctx, c.Key) // somebody reconnected or disconnected meanwhile
	case err != nil:
		s.Logger.ErrorContext(ctx, "a renewed token could not be stored", "connection", c.ID, "err", err)
		return c, fmt.Errorf("store the renewed token: %w", err)
	}
	s.dropSpent(ctx, out, c.Set.GrantVersion)
	s.Logger.InfoContext(ctx, "token renewed", "connection", c.ID, "provider", c.Provider, "rotated", out.Set.GrantVersion != c.Set.GrantVersion)
	return out, nil
}

// dropSpent removes a grant that was spent, once the row names its successor.
func (s *Service) dropSpent(ctx context.Context, c connection.Connection, version string) {
	if err := s.drop(ctx, c, "rotated", version); err != nil {
		s.Logger.WarnContext(ctx, "a spent grant was not removed", "connection", c.ID, "err", err)
	}
}

// withdraw removes what a renewal has stored that lost its lease, unless the
// row says that whoever has it now may adopt it.
func (s *Service) withdraw(ctx context.Context, c connection.Connection, version string) {
	row, err := s.Connections.Get(ctx, c.Key)
	if errors.Is(err, connection.ErrNotFound) {
		row, err = connection.Connection{Key: c.Key, UserID: c.UserID, Server: c.Server}, nil
	}
	if err == nil {
		err = s.drop(ctx, row, "overtaken", version)
	}
	if err != nil {
		s.Logger.WarnContext(ctx, "a useless grant was not removed", "connection", c.ID, "err", err)
	}
}

// seal writes the access part, and the grant only if it rotated.
func (s *Service) seal(ctx context.Context, c connection.Connection, r provider.Result) (connection.Set, error) {
	old := c.Set
	if r.Rotated {
		set, err := s.Vault.Seal(ctx, s.caller(c), c, c.Intent.ID, "refresh", r.Set)
		if err == nil || !s.stored(ctx, c, r.Set.Grant) {
			return set, err
		}
		// The store kept the grant although it answered with an error. Sealed
		// again it would be other bytes, which the store refuses.
		old = connection.Set{GrantVersion: c.Intent.ID, GrantStore: s.Vault.Grants.Name(), RefreshExpiresAt: firstEnd(r.Set.Grant)}
	}
	set, err := s.Vault.SealAccess(ctx, s.caller(c), c, c.Intent.ID, "refresh", r.Set.Access)
	set.GrantVersion, set.GrantStore, set.RefreshExpiresAt = old.GrantVersion, old.GrantStore, old.RefreshExpiresAt
	return set, err
}

// stored reports whether the grant lies in the store under the intent's version.
func (s *Service) stored(ctx context.Context, c connection.Connection, g token.Grant) bool {
	found, err := s.Vault.Grant(ctx, s.caller(c), c, connection.Set{GrantVersion: c.Intent.ID}, "refresh")
	return err == nil && hashOf(found) == hashOf(g)
}

// firstEnd is when the first refresh token of the grant expires; zero: never.
func firstEnd(g token.Grant) time.Time {
	var first time.Time
	for _, r := range g.Renewables {
		if !r.ExpiresAt.IsZero() && (first.IsZero() || r.ExpiresAt.Before(first)) {
			first = r.ExpiresAt
		}
	}
	return first
}

// persist tries again for a while: what is to be stored exists nowhere else.
func persist(ctx context.Context, write func() error) error {
	wait := 50 * time.Millisecond
	for {
		err := write()
		if err == nil || errors.Is(err, connection.ErrFenced) || errors.Is(err, connection.ErrGone) || errors.Is(err, connection.ErrNotFound) || errors.Is(err, vault.ErrForbidden) {
			return err
		}
		if sleep(ctx, wait) != nil {
			return err
		}
		wait = min(2*wait, 5*time.Second)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
