package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// Tasks that fail. The record of one is kept, so that people learn why, and so
// that its successor knows how many have failed before it: each start costs
// money, and a server that cannot start is not started at every request.

const (
	// firstPause is how long a server that failed is left alone, doubled with
	// each further failure up to lastPause.
	firstPause = 10 * time.Second
	lastPause  = 10 * time.Minute
	// settled is for how long a server was up whose end is no failed start.
	settled = 5 * time.Minute
	// failedKeep is for how long a failure is remembered that nobody has retried.
	failedKeep = time.Hour
	// DefaultMaxLife is how long a task lives however much it is used: with a new
	// one come new images and definitions, and what has leaked is gone.
	DefaultMaxLife = 12 * time.Hour
	// lastCalls is how much longer a task may live in which there is always a
	// call: longer than any of them can take.
	lastCalls = time.Hour
)

// What a person is told of a task that did not say itself why it failed.
const (
	// ourFault: the cause is the operator's business.
	ourFault    = "its task could not be started, for a reason on our side that the log tells whoever runs this"
	neverUp     = "it did not come up within five minutes"
	endedItself = "it ended soon after its start"
	notThere    = "it did not answer any more"
)

// Failure is why a server cannot be used, and when it is tried again. It wraps
// [ErrServerFailed].
type Failure struct {
	// Times is how often it has failed on end, 1 or more.
	Times int
	// RetryAfter is how long it is left alone from now on.
	RetryAfter time.Duration
	// Why may be hostile text.
	Why string
}

func (f *Failure) Error() string {
	if f.Times <= 1 {
		return ErrServerFailed.Error() + ": " + f.Why
	}
	return fmt.Sprintf("%s %d times, the next try is in %v: %s", ErrServerFailed, f.Times, f.RetryAfter, f.Why)
}

// Unwrap returns [ErrServerFailed].
func (f *Failure) Unwrap() error { return ErrServerFailed }

func (s *Service) refusal(t Task) error {
	wait := t.RetryAt.Sub(s.Now())
	return &Failure{Times: t.Failures, RetryAfter: max(wait, time.Second).Round(time.Second), Why: t.Detail}
}

// pause is for how long a server is left alone that failed so many times on end.
func pause(failures int) time.Duration {
	if failures <= 0 {
		return 0
	}
	return min(firstPause<<min(failures-1, 10), lastPause)
}

// stuck reports whether a task should have come up long ago.
func (s *Service) stuck(t Task) bool {
	return (t.State == TaskStarting || t.State == TaskClaimed) && s.Now().Sub(t.StartedAt) > startTimeout
}

// replaceable reports whether a task is over although it has a record: it never
// came up, or it failed and was left alone for long enough.
func (s *Service) replaceable(t Task) bool {
	return s.stuck(t) || t.State == TaskFailed && !s.Now().Before(t.RetryAt)
}

// over is why a task should end, or nothing.
func (s *Service) over(t Task) string {
	now, life := s.Now(), s.MaxLife
	if life <= 0 {
		life = DefaultMaxLife
	}
	age, unused := now.Sub(t.StartedAt), now.Sub(t.LastUsedAt)
	switch {
	case t.State == TaskFailed && unused > failedKeep && now.Sub(t.RetryAt) > failedKeep:
		return "failed long ago"
	case t.State != TaskReady:
		return ""
	case age > life+lastCalls:
		return "too old"
	case s.links.busy(t.ID):
		return ""
	case unused > s.IdleStop:
		return "idle"
	case age > life && unused > s.quiet():
		return "old"
	}
	return ""
}

// quiet is after which time without a touch nobody can be using a task: another
// process that does touches it more often.
func (s *Service) quiet() time.Duration { return max(s.IdleStop/4, time.Second) + usedEvery }

// replace makes room for another task of the connection, and says how many have
// failed on end before it. It is false where none may be started now.
func (s *Service) replace(ctx context.Context, c connection.Connection) (failures int, again bool, err error) {
	old, err := s.Store.TaskOf(ctx, c.Key)
	switch {
	case errors.Is(err, ErrNoTask):
		return 0, true, nil
	case err != nil:
		return 0, false, err
	case superseded(old, c):
		s.end(ctx, old) // its process may still be there
		return 0, true, nil
	case s.stuck(old):
		if old = s.fail(ctx, old.ID, neverUp, nil); !s.replaceable(old) {
			s.halt(ctx, old)
			return 0, false, nil
		}
	}
	if s.replaceable(old) {
		s.halt(ctx, old)
	}
	return old.Failures, true, nil
}

// fail notes why a task failed, for the person, and logs the cause where that is
// something else. A nil cause is the server's own failure. What was said first is
// kept: what follows is its consequence.
func (s *Service) fail(ctx context.Context, id, detail string, cause error) Task {
	first := false
	t, err := s.Store.UpdateTask(context.WithoutCancel(ctx), id, func(t *Task) error {
		if first = t.State != TaskFailed; first {
			s.failed(t, detail)
		}
		return nil
	})
	switch {
	case err != nil:
		s.Logger.WarnContext(ctx, "a task's failure was not noted", "task", id, "err", err)
	case !first:
	case cause != nil:
		s.Logger.ErrorContext(ctx, "a task could not be started", "task", id, "server", t.Server, "connection", t.Connection.ID, "failures", t.Failures, "err", cause)
	default:
		s.Logger.WarnContext(ctx, "server failed to start", "task", id, "server", t.Server, "connection", t.Connection.ID, "failures", t.Failures)
	}
	return t
}

// failed makes a task one that failed.
func (s *Service) failed(t *Task, detail string) {
	now := s.Now().UTC()
	since, counts := now, t.Failures+1
	switch late := t.StartedAt.Add(startTimeout); {
	case t.State == TaskReady:
		counts-- // it was up: once it may start again at once
	case late.Before(now):
		since = late // when nobody looked
	}
	t.Failures++
	t.State, t.Detail, t.TicketHash, t.LastUsedAt, t.RetryAt = TaskFailed, detail, "", now, since.Add(pause(counts))
}

// halt stops the process of a failed task, once.
func (s *Service) halt(ctx context.Context, t Task) {
	if t.Gone {
		return
	}
	ctx = context.WithoutCancel(ctx)
	s.background(func() {
		if err := s.Launcher.Stop(ctx, t.ID); err != nil {
			s.Logger.WarnContext(ctx, "a task did not stop", "task", t.ID, "err", err)
			return
		}
		if err := s.gone(ctx, t.ID); err != nil {
			s.Logger.WarnContext(ctx, "a task's end was not noted", "task", t.ID, "err", err)
		}
	})
}

// gone notes that a failed task has no process any more.
func (s *Service) gone(ctx context.Context, id string) error {
	_, err := s.Store.UpdateTask(ctx, id, func(t *Task) error {
		t.Gone = t.State == TaskFailed
		return nil
	})
	if errors.Is(err, ErrNoTask) {
		return nil
	}
	return err
}

// ended is what becomes of the record of a task whose process has ended, for
// the reason that a person may read.
func (s *Service) ended(ctx context.Context, t Task, why string) error {
	s.links.drop(t.ID)
	if t.State == TaskReady && s.Now().Sub(t.StartedAt) > settled {
		return s.Store.EndTask(ctx, t.ID)
	}
	s.fail(ctx, t.ID, why, nil)
	return s.gone(ctx, t.ID)
}

// vanished is what becomes of a task that is not where it should be: it is
// stopped, in case that it is somewhere.
func (s *Service) vanished(ctx context.Context, t Task) {
	if s.Now().Sub(t.StartedAt) > settled {
		s.end(ctx, t)
		return
	}
	s.links.drop(t.ID)
	s.halt(ctx, s.fail(ctx, t.ID, notThere, nil))
}
