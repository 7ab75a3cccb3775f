package refresh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
// if somebody else just did.
func (s *Service) renew(ctx context.Context, k connection.Key, due func(connection.Connection) bool) (connection.Connection, error) {
	c, claim, err := s.begin(ctx, k, due) // lease, re-read, still due?, intent: one write
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

// begin takes the lease and records the intent, in one write of the row as it
// is: whoever reads the row later knows both or neither. It waits for whoever
// has the lease. A nil claim means that nothing is to be done: the row is
// returned as it is, or as somebody else left it.
func (s *Service) begin(ctx context.Context, k connection.Key, due func(connection.Connection) bool) (connection.Connection, *connection.Claim, error) {
	holder := token.NewID("ref") // of this renewal, not of this process
	deadline := s.Now().Add(waitForOther)
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		asked := time.Now()
		c, err := s.Connections.Get(ctx, k)
		if err != nil {
			return c, nil, err
		}
		if hold := s.pace().Closed(ctx, c); hold != nil && s.due(c, due) == nil {
			c, err := s.waiting(c, hold)
			return c, nil, err
		}
		var claim connection.Claim
		if !c.LeasedAt(s.Now()) { // else it is in vain
			row := c // as it was when it refused: of many who begin at once, all but one see it so
			c, err = s.Connections.UpdateFrom(ctx, c, func(c *connection.Connection) (err error) {
				row = *c
				if err := s.due(*c, due); err != nil {
					return err
				}
				now := s.Now().UTC()
				if claim, err = c.Acquire(holder, now, leaseTTL); err == nil && !s.recordsLate(*c) {
					err = c.Record(claim, s.intent(*c), now.Add(leaseTTL))
				}
				return err
			})
			if err == nil {
				return c, &claim, nil
			}
			if !errors.Is(err, connection.ErrLeased) && !errors.Is(err, errIdle) && !errors.Is(err, errTooEarly) {
				return c, nil, err
			}
			c = row
		}
		switch err := s.due(c, due); {
		case errors.Is(err, errIdle):
			return c, nil, standing(c)
		case errors.Is(err, errTooEarly):
			c, err := s.stale(c, nil, c.RetryAt.Sub(s.Now()))
			return c, nil, err
		case err != nil:
			return c, nil, err
		}
		if s.Now().After(deadline) {
			c, err := s.stale(c, nil, lastPoll)
			return c, nil, err
		}
		// A store that is slow to answer is asked less often: whoever has the
		// lease needs it, too.
		slow := min(pollShare*time.Since(asked), slowestPoll)
		if err := sleep(ctx, jitter(max(wait, slow))); err != nil {
			return c, nil, err
		}
	}
}

var (
	// errIdle: a connection needs nothing, whatever an index or an older
	// reading of it said.
	errIdle = errors.New("nothing is to be done")
	// errTooEarly: a renewal has failed, and is not tried again yet.
	errTooEarly = errors.New("a renewal that failed is not tried again yet")
)

// due returns nil if the connection is to be renewed now.
func (s *Service) due(c connection.Connection, due func(connection.Connection) bool) error {
	switch {
	case c.Status == connection.Deleting:
		return connection.ErrGone
	case c.Status == connection.ReconnectNeeded || !due(c):
		return errIdle
	case c.Failure != nil && s.Now().Before(c.RetryAt):
		return errTooEarly
	}
	return nil
}

// intent is what the row says while the connection's grant may be spent. When
// nobody knows what became of the attempt before, its version stays, so that
// whatever it may yet store is found under it.
func (s *Service) intent(c connection.Connection) connection.Intent {
	now := s.Now().UTC()
	if i := c.Intent; i != nil && i.TokenHash == c.Set.TokenHash {
		return connection.Intent{ID: i.ID, TokenHash: i.TokenHash, At: now, Attempt: i.Attempt + 1}
	}
	return connection.Intent{ID: vault.NextVersion(c), TokenHash: c.Set.TokenHash, At: now, Attempt: 1}
}

// recordsLate reports whether the intent is recorded in a write of its own, after all
// else: where an intent without a result means that the person has to
// reconnect, there should be none that was not meant.
func (s *Service) recordsLate(c connection.Connection) bool {
	return !s.renewable(c) || s.reuseEndsOthers(c)
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
	return s.stale(c, err, lastPoll)
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

// reuseEndsOthers reports whether presenting a spent refresh token would end
// grants beyond this connection: then an attempt whose answer was lost is not
// repeated.
func (s *Service) reuseEndsOthers(c connection.Connection) bool {
	return s.habits(c).OnReuse.Family == "all"
}

// renewable reports whether there is anything to renew the connection's tokens
// with: a refresh token, or the access token itself.
func (s *Service) renewable(c connection.Connection) bool {
	return renewable(c, s.habits(c))
}

func renewable(c connection.Connection, h presets.Refresh) bool {
	switch h.Grant {
	case presets.GrantExchange:
		return true
	case presets.GrantNone:
		return false // whatever it gave us
	}
	return c.Set.Renewable()
}

// habits are how the connection's provider renews. They are resolved once: it
// checks the whole provider, and a catalogue does not change.
func (s *Service) habits(c connection.Connection) presets.Refresh {
	name := [2]string{c.Provider, c.Variant}
	if known, ok := s.known.Load(name); ok {
		return known.(presets.Refresh)
	}
	p, ok := s.Catalogue.Provider(c.Provider)
	if !ok {
		return presets.Refresh{}
	}
	p, err := p.Resolve(c.Variant, s.Catalogue.Provider)
	if err != nil {
		return presets.Refresh{}
	}
	s.known.Store(name, p.Refresh)
	return p.Refresh
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
	client, err := s.Secrets.Client(ctx, c.Tenant, c.Provider, g.ClientID)
	if err != nil {
		return provider.Target{}, err
	}
	t, _, err := flow.TargetOf(s.Catalogue, c.Provider, g.Parameters, client, s.BaseURL, s.Deployment)
	return t, err
}

// swap seals the result under the intent's version and points the row at it.
// What cannot be stored is tried again with the same bytes, never by asking the
// provider again.
func (s *Service) swap(ctx context.Context, c connection.Connection, claim connection.Claim, o opened, r provider.Result) (connection.Connection, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	var set connection.Set
	seal, publish := s.sealing(o.permit, c, r), s.publishing(claim, r, &set)
	out := c
	err := persist(ctx, func() (err error) {
		if set.AccessVersion == "" { // sealed once: a second try must put the same bytes
			if set, err = seal(ctx); err != nil {
				return err
			}
			s.reached(StepStored)
		}
		out, err = s.Connections.UpdateFrom(ctx, c, publish)
		return err
	})
	switch {
	case errors.Is(err, vault.ErrTaken):
		return s.overtaken(ctx, c.Key) // whoever had the lease after us has stored theirs
	case errors.Is(err, connection.ErrFenced), errors.Is(err, connection.ErrNotFound), errors.Is(err, connection.ErrGone):
		if out, ok := s.late(ctx, c, set, r); ok {
			return out, nil
		}
		if r.Rotated {
			s.withdraw(ctx, c, c.Intent.ID)
		}
		return s.overtaken(ctx, c.Key) // somebody reconnected or disconnected meanwhile
	case err != nil:
		s.Logger.ErrorContext(ctx, "a renewed token could not be stored", "connection", c.ID, "err", err)
		return c, fmt.Errorf("store the renewed token: %w", err)
	}
	s.reached(StepSwapped)
	s.pace().Report(ctx, c, nil)
	s.dropSpent(ctx, out, o.permit, c.Set.GrantVersion)
	s.Logger.InfoContext(ctx, "token renewed", "connection", c.ID, "provider", c.Provider, "rotated", r.Rotated)
	return out, nil
}

// late publishes a result that comes after its lease has ended, if whoever had
// the next one gave the connection up: they presented the token that we had
// spent, and what we hold is its successor.
func (s *Service) late(ctx context.Context, c connection.Connection, set connection.Set, r provider.Result) (connection.Connection, bool) {
	same := func(row connection.Connection) bool {
		return row.Set.GrantVersion == c.Set.GrantVersion && row.Set.AccessVersion == c.Set.AccessVersion
	}
	if set.AccessVersion == "" {
		return c, false // it was not even stored
	}
	ctx, cancel := context.WithTimeout(ctx, s.exchangeTimeout())
	defer cancel()
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		row, err := s.Connections.Get(ctx, c.Key)
		if err != nil || !same(row) {
			return c, false
		}
		if row.Status == connection.ReconnectNeeded {
			break
		}
		if !row.LeasedAt(s.Now()) || sleep(ctx, wait) != nil {
			return c, false
		}
	}
	out, err := s.Connections.Update(ctx, c.Key, func(row *connection.Connection) error {
		if row.Status != connection.ReconnectNeeded || !same(*row) {
			return connection.ErrFenced
		}
		claim, err := row.Acquire(token.NewID("ref"), s.Now().UTC(), leaseTTL)
		if err != nil {
			return err
		}
		return s.publishing(claim, r, &set)(row)
	})
	if err != nil {
		return c, false
	}
	s.Logger.WarnContext(ctx, "a renewal came late, and in time to save the connection", "connection", c.ID, "provider", c.Provider)
	return out, true
}

// sealing returns what seals the result, and the grant only if it rotated. A
// sealed part is kept from one try to the next.
func (s *Service) sealing(permit *vault.Permit, c connection.Connection, r provider.Result) func(context.Context) (connection.Set, error) {
	put := permit.Rotation(c.Intent.ID, c.Fence, r.Set)
	return func(ctx context.Context) (connection.Set, error) {
		if r.Rotated {
			return put(ctx)
		}
		set, err := permit.SealAccess(ctx, c.Intent.ID, r.Set.Access)
		old := c.Set
		set.GrantVersion, set.GrantStore, set.RefreshExpiresAt, set.RefreshFixed = old.GrantVersion, old.GrantStore, old.RefreshExpiresAt, old.RefreshFixed
		if old.GrantVersion != "" {
			set.TokenHash = old.TokenHash
			// A provider may tell a new end of the refresh token without a new one.
			if end := r.Set.Grant.FirstEnd(); !end.IsZero() {
				set.RefreshExpiresAt = end
			}
		}
		return set, err
	}
}

// publishing returns the change that makes the set current.
func (s *Service) publishing(claim connection.Claim, r provider.Result, set *connection.Set) func(*connection.Connection) error {
	var scopes []string
	if r.ScopesKnown {
		scopes = r.ScopesGranted
	}
	return func(row *connection.Connection) error {
		next := *set
		next.RefreshFixed = fixed(row.Set, next)
		if err := row.Renewed(claim, next, scopes, s.Now().UTC()); err != nil {
			return err
		}
		s.plan(row)
		return nil
	}
}

// dropSpent removes a grant that was spent, once the row names its successor.
func (s *Service) dropSpent(ctx context.Context, c connection.Connection, permit *vault.Permit, version string) {
	if version == "" || c.Names(version) {
		return
	}
	if err := permit.DropSpent(ctx, version); err != nil {
		s.Logger.WarnContext(ctx, "a spent grant was not removed", "connection", c.ID, "err", err)
	}
	s.reached(StepDropped)
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

// persist tries again for a while: what is to be stored exists nowhere else.
func persist(ctx context.Context, write func() error) error {
	wait := 50 * time.Millisecond
	for {
		err := write()
		if err == nil || errors.Is(err, connection.ErrFenced) || errors.Is(err, connection.ErrGone) || errors.Is(err, connection.ErrNotFound) || errors.Is(err, vault.ErrTaken) || errors.Is(err, vault.ErrForbidden) {
			return err
		}
		if sleep(ctx, wait) != nil {
			return err
		}
		wait = min(2*wait, 5*time.Second)
	}
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

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
