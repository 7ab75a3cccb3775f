package runner

import (
	"context"
	"errors"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
)

const (
	// hintEvery is how often a hint may make us ask for which no call is held.
	hintEvery = 30 * time.Second
	// holdBelow: with less than this left of the old token, calls wait for the
	// new server at a restart, because the old one would soon be refused.
	holdBelow = 30 * time.Second
	// longestNap bounds each wait by the monotonic clock, which stands still
	// while a laptop sleeps and the token does not.
	longestNap = time.Minute
	// The pauses between attempts to renew.
	firstRetry, lastRetry = time.Second, time.Minute
	shortestRetry         = 100 * time.Millisecond
	// reconnectRetry is the pause once only the person can help.
	reconnectRetry = 5 * time.Minute
)

var errSameToken = errors.New("the token that came is the one that is about to expire")

// rotation is the state of the renewing loop.
type rotation struct {
	*run
	// retry is the pause after a failure, which lasts until after; zero after a
	// success.
	retry time.Duration
	after time.Time
	// pending: renewed, but the server does not have it yet.
	pending bool
	// dead: reported as needing a reconnect.
	dead bool
	// hinted is when a hint last made us ask.
	hinted time.Time
}

// rotate renews the access before it expires and upon hints, and brings it to
// the server. It returns only when ctx is over or mcprun refuses the task.
func (r *run) rotate(ctx context.Context) error {
	o := &rotation{run: r}
	for {
		suspect, ok := o.wait(ctx)
		if !ok {
			return nil
		}
		if !suspect && (time.Now().Before(o.after) || !o.due() && !o.pending) {
			continue
		}
		if err := o.settle(ctx, o.attempt(ctx, suspect)); err != nil {
			return err
		}
		// By the wall clock; see longestNap.
		o.after = time.Now().Round(0).Add(o.retry)
	}
}

// attempt is a step, and the answer to the calls that are held for it.
func (o *rotation) attempt(ctx context.Context, suspect bool) error {
	if !suspect {
		return o.step(ctx, false)
	}
	o.hinted = time.Now()
	_, before := o.cred.latest()
	q := o.doubts.begin()
	err := o.step(ctx, true)
	if err == nil || errors.Is(err, task.ErrReconnect) {
		o.doubts.found(err != nil) // before those who wait for it go on
	}
	_, now := o.cred.latest()
	o.doubts.end(q, now != before)
	return err
}

// wait returns when there may be something to do: suspect after a hint, not ok
// when ctx is over.
func (o *rotation) wait(ctx context.Context) (suspect, ok bool) {
	nap := longestNap
	left, expires := o.left()
	switch pause := time.Until(o.after); {
	case pause > 0:
		nap = min(nap, pause)
	case o.pending:
		nap = shortestRetry
	case expires && o.timed():
		nap = min(nap, max(shortestRetry, left-o.cred.margin()))
	}
	if pause, held := o.held(); held {
		nap = min(nap, pause)
	}
	timer := time.NewTimer(nap)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, false
	case <-timer.C:
	case <-o.doubts.wake:
	case <-o.hints:
		if o.hinted.IsZero() || time.Since(o.hinted) >= hintEvery {
			return true, true
		}
	}
	pause, held := o.held()
	return held && pause <= 0, true
}

// held reports whether calls wait for a question, and how long until it may
// begin.
func (o *rotation) held() (time.Duration, bool) {
	return o.doubts.pending(o.withinReach())
}

// timed reports whether a renewed token is brought to the server by us.
func (o *rotation) timed() bool {
	kind := o.claim.Recipe.Rotation
	return kind == task.RotateFile || kind == task.RotateRestart
}

// left is how long the current set lives.
func (o *rotation) left() (left time.Duration, expires bool) {
	at := o.cred.current().ExpiresAt()
	return time.Until(at), !at.IsZero()
}

func (o *rotation) due() bool {
	left, expires := o.left()
	return o.timed() && expires && left <= o.cred.margin()
}

// step renews what is due and brings it to the server.
func (o *rotation) step(ctx context.Context, suspect bool) error {
	left, _ := o.left()
	if suspect && !o.pending || o.due() { // what is pending may be all that is missing
		// A little longer than what is left asks for another one, and is less
		// than even a short-lived token brings. A hint asks for nothing: it must
		// not be what ends a token that lives.
		ttl := time.Duration(0)
		if !suspect {
			ttl = max(0, left) + time.Second
		}
		_, changed, err := o.cred.fresh(ctx, ttl, suspect)
		if err != nil {
			return err
		}
		if !changed && !suspect {
			return errSameToken
		}
		o.pending = o.pending || changed
	}
	if !o.pending {
		return nil
	}
	if err := o.apply(ctx, suspect || left < holdBelow || o.claim.Recipe.OldTokenDies); err != nil {
		return err
	}
	o.pending = false
	return nil
}

// apply brings the current set to the running server.
func (r *run) apply(ctx context.Context, hold bool) (err error) {
	_, edition := r.cred.latest()
	switch r.claim.Recipe.Rotation {
	case task.RotateFile:
		_, edition, err = r.writeCurrent()
	case task.RotateRestart:
		err = r.bridge.Swap(ctx, r.start, hold)
	}
	// broker: the server asks; none: there is nothing to bring
	if err == nil {
		r.brought.Store(edition)
	}
	return err
}

// settle decides what follows from how a step went. It returns the errors that
// end the task.
func (o *rotation) settle(ctx context.Context, err error) error {
	switch {
	case err == nil:
		o.retry = 0
		if o.dead {
			o.dead = false
			o.doubts.found(false)
			o.enqueue(o.ready())
		}
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, task.ErrRefused):
		return err
	case errors.Is(err, task.ErrReconnect):
		o.retry = reconnectRetry
		if !o.dead {
			o.dead = true
			o.doubts.found(true)
			o.enqueue(o.ready())
		}
	default:
		first := firstRetry
		if left, expires := o.left(); expires {
			first = min(first, max(shortestRetry, left/8))
		}
		o.retry = min(max(first, 2*o.retry), lastRetry)
		o.log.WarnContext(ctx, "the access was not renewed", "retry", o.retry, "err", o.redact(err.Error()))
	}
	return nil
}
