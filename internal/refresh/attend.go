package refresh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Notifier tells the owners of connections what became of them.
type Notifier interface {
	// Deliver tries to deliver the event and returns what is left to do of it,
	// with the time of the next try; nil: nothing. It gives up by itself, and
	// logs why. It may be asked to deliver an event again that it has delivered.
	Deliver(ctx context.Context, c connection.Connection, e connection.Event) *connection.Event
}

// atOnce is how many connections are attended beside each other: most of the
// time goes by in waiting for providers.
const atOnce = 50

// Sweep attends what is due, at most limit connections, and reports how many
// those were. On AWS a queue is between the two: see cloud.Queue.
func (s *Service) Sweep(ctx context.Context, limit int) (int, error) {
	keys, err := s.Connections.Due(ctx, s.Now(), limit)
	if err != nil {
		return 0, err
	}
	if err := s.AttendAll(ctx, keys); err != nil {
		s.Logger.WarnContext(ctx, "connections could not be attended", "err", err)
	}
	return len(keys), ctx.Err()
}

// AttendAll attends the connections beside each other: a provider that hangs
// holds up its own alone. It returns what went wrong on our side; what a
// provider said is in the rows, with the time of the next try.
func (s *Service) AttendAll(ctx context.Context, keys []connection.Key) error {
	errs := make([]error, len(keys))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, k := range keys {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			err := s.Attend(ctx, k)
			if err != nil && !errors.Is(err, connection.ErrNotFound) && !errors.Is(err, connection.ErrLeased) {
				errs[i] = fmt.Errorf("attend %s: %w", k.ID, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Attend does for one connection what is due: it drops a proposal that nobody
// confirmed, revokes and removes sets that are no longer current, finishes a
// deletion that was interrupted, renews the tokens, and tells its owner. One
// that needs nothing any more, or that somebody else is at, is left alone.
func (s *Service) Attend(ctx context.Context, k connection.Key) error {
	c, err := s.Connections.Get(ctx, k)
	if err != nil {
		return err
	}
	var left error // what cannot be removed is no reason to let the tokens end
	if untidy(c, s.Now()) {
		if c, left = s.tidy(ctx, k); left != nil && (c.ID == "" || c.Status == connection.Deleting) {
			return left
		}
	}
	if c.Status == connection.Connected && isDue(earlier(c.RenewAt, c.NoticeAt), s.Now()) {
		if c, err = s.keep(ctx, c); err != nil {
			return errors.Join(left, err)
		}
	}
	return errors.Join(left, s.deliver(ctx, c))
}

func isDue(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// untidy reports whether there is something to remove.
func untidy(c connection.Connection, now time.Time) bool {
	return len(c.Retired) > 0 || c.Status == connection.Deleting || c.Proposal != nil && now.After(c.Proposal.ConfirmBy)
}

// tidy removes what is no longer needed, under the lease.
func (s *Service) tidy(ctx context.Context, k connection.Key) (connection.Connection, error) {
	holder, now := token.NewID("swp"), s.Now().UTC()
	var claim connection.Claim
	c, err := s.Connections.Update(ctx, k, func(c *connection.Connection) (err error) {
		if !untidy(*c, now) {
			return errIdle
		}
		if err := c.Expire(now); err != nil && !errors.Is(err, connection.ErrNoProposal) {
			return err
		}
		claim, err = c.Acquire(holder, now, leaseTTL)
		return err
	})
	switch {
	case errors.Is(err, errIdle):
		return s.Connections.Get(ctx, k)
	case err != nil:
		return c, err
	case c.Status == connection.Deleting:
		if _, err := s.remove(ctx, c); err != nil {
			return c, err
		}
		return c, connection.ErrNotFound
	}
	err = s.dropRetired(ctx, c)
	// Also after a failure: whoever waits for a token must not wait for the
	// lease to run out.
	c, rerr := s.release(context.WithoutCancel(ctx), c, claim)
	return c, errors.Join(err, rerr)
}

// keep renews the tokens if the plan still says so, and plans anew. What a
// provider refuses is recorded in the row, and no error here.
func (s *Service) keep(ctx context.Context, c connection.Connection) (connection.Connection, error) {
	now := s.Now().UTC()
	planned := c
	s.plan(&planned)
	if !isDue(planned.RenewAt, now) {
		return s.replan(ctx, c, now)
	}
	if c.LeasedAt(now) {
		return c, nil // somebody is at it; if they die, it is still due
	}
	if hold := s.pace().Closed(ctx, c); hold != nil {
		return s.postpone(ctx, c, hold)
	}
	version := c.Set.AccessVersion
	due := func(c connection.Connection) bool { return c.Set.AccessVersion == version }
	out, _, err := s.renewShared(ctx, c.Key, &c, due)
	var down *Unavailable
	switch {
	case errors.As(err, &down), errors.Is(err, ErrReconnect), errors.Is(err, ErrBusy), errors.Is(err, ErrPending):
		return s.Connections.Get(ctx, c.Key)
	case errors.Is(err, connection.ErrGone):
		return c, connection.ErrNotFound
	}
	return out, err
}

// replan writes the plan, and announces an end that comes near.
func (s *Service) replan(ctx context.Context, c connection.Connection, now time.Time) (connection.Connection, error) {
	out, err := s.Connections.UpdateFrom(ctx, c, func(c *connection.Connection) error {
		s.plan(c)
		if isDue(c.NoticeAt, now) {
			c.AnnounceEnd(now)
		}
		return nil
	})
	return out, err
}

// postpone makes the connection due again when its provider may be asked, and
// some time after that: all of them wait for the same moment.
func (s *Service) postpone(ctx context.Context, c connection.Connection, hold *Held) (connection.Connection, error) {
	return s.Connections.UpdateFrom(ctx, c, func(c *connection.Connection) error {
		s.wait(c, hold)
		if isDue(c.NoticeAt, s.Now()) {
			c.AnnounceEnd(s.Now().UTC())
		}
		return nil
	})
}

// deliverFor is how long events are begun to be delivered, of one row: what was
// delivered must be noted before a function is ended, or it is sent again and
// again. The rest stays due.
const deliverFor = 20 * time.Second

// deliver tells the owner what the row has to tell.
func (s *Service) deliver(ctx context.Context, c connection.Connection) error {
	type result struct {
		id   string
		rest *connection.Event
	}
	var done []result
	began := s.Now()
	for _, e := range c.Events {
		if s.Now().Sub(began) >= deliverFor {
			break
		}
		if !isDue(e.NextAt, s.Now()) {
			continue
		}
		r := result{id: e.ID}
		if s.Notify != nil {
			r.rest = s.Notify.Deliver(ctx, c, e)
		}
		done = append(done, r)
	}
	if len(done) == 0 {
		return nil
	}
	_, err := s.Connections.UpdateFrom(context.WithoutCancel(ctx), c, func(c *connection.Connection) error {
		for _, d := range done {
			c.Delivered(d.id, d.rest)
		}
		return nil
	})
	return err
}

// Run sweeps until ctx ends, on one machine; on AWS a schedule does it.
func (s *Service) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if _, err := s.Sweep(ctx, mostAtOnce); err != nil && ctx.Err() == nil {
			s.Logger.WarnContext(ctx, "sweep failed", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// mostAtOnce bounds one sweep of one machine; what is left is due at the next.
const mostAtOnce = 10_000
