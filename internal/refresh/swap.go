package refresh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

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
			s.dropSpent(ctx, out, o.permit, c.Set.GrantVersion)
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
