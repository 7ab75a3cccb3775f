package refresh

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// begin takes the lease and records the intent, in one write of the row as it
// is: whoever reads the row later knows both or neither. The row that the caller
// has seen saves a reading: if somebody has written since, the write does not
// hold, and the row is read. It waits for whoever has the lease. A nil claim means that nothing is to be done: the row is
// returned as it is, or as somebody else left it.
func (s *Service) begin(ctx context.Context, k connection.Key, seen *connection.Connection, due func(connection.Connection) bool) (connection.Connection, *connection.Claim, error) {
	holder := token.NewID("ref") // of this renewal, not of this process
	deadline := s.Now().Add(waitForOther)
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		asked := time.Now()
		c, err := s.row(ctx, k, seen)
		if err != nil {
			return c, nil, err
		}
		seen = nil // another try reads
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

// row is the row as it was seen, or as it is.
func (s *Service) row(ctx context.Context, k connection.Key, seen *connection.Connection) (connection.Connection, error) {
	if seen != nil {
		return *seen, nil
	}
	return s.Connections.Get(ctx, k)
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
