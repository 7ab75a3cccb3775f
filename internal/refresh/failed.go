package refresh

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// errAnswerLost: the answer to a renewal was lost, and asking again could end
// more than this connection.
var errAnswerLost = errors.New("the provider's answer to a renewal was lost, and repeating it could end other connections too: reconnect the account")

// How often a failed renewal is tried again.
const (
	firstRetry = 5 * time.Second
	maxRetry   = time.Hour
	// settling is how old a set must be for its grant to be lost when it is not found,
	// and for its client to have moved.
	settling = 5 * time.Minute
)

// failed records what a renewal that did not work means. sent says that the
// provider may have been asked: if it was not, nothing was spent.
func (s *Service) failed(ctx context.Context, c connection.Connection, claim connection.Claim, cause error, sent bool) (connection.Connection, error) {
	ctx = context.WithoutCancel(ctx)
	var held *Held
	if errors.As(cause, &held) {
		return s.held(ctx, c, claim, held)
	}
	f, dead, ambiguous, after := judge(c, cause, s.Now())
	f.At = s.Now().UTC()
	if e := (*provider.Error)(nil); sent && errors.As(cause, &e) {
		s.pace().Report(ctx, c, e)
	}
	count := 0
	if c.Failure != nil {
		count = c.Failure.Count
	}
	wait := max(after, backoff(count))
	seen := c
	out, err := s.Connections.UpdateFrom(ctx, c, func(c *connection.Connection) error {
		intent := s.intentBefore(*c, seen, sent)
		if err := c.Failed(claim, f, dead, sent && ambiguous, f.At.Add(wait)); err != nil {
			return err
		}
		if !dead && !(sent && ambiguous) {
			c.Intent = intent // this one has spent nothing
		}
		s.plan(c)
		return nil
	})
	if errors.Is(err, connection.ErrFenced) {
		// invalid_grant means reconnect only if nobody else has rotated or
		// reconnected: somebody did, so their set decides.
		return s.overtaken(ctx, c.Key)
	}
	if err != nil {
		return c, errors.Join(cause, err)
	}
	s.Logger.WarnContext(ctx, "token not renewed", "connection", c.ID, "provider", c.Provider, "verdict", f.Verdict, "code", f.Code, "count", out.Failure.Count)
	return s.stale(out, nil, wait)
}

// intentBefore is the intent that a renewal has found, which stays if it has
// spent nothing: nobody knows what became of that one. seen is the row as the
// renewal knows it, sent says whether it has asked the provider.
func (s *Service) intentBefore(row, seen connection.Connection, sent bool) *connection.Intent {
	switch {
	case row.Intent == nil || seen.Intent == nil:
		return nil // there was none, or what it has led to was adopted
	case !sent && s.recordsLate(seen):
		return seen.Intent // its own was not recorded yet
	case seen.Intent.Attempt < 2:
		return nil
	}
	before := *seen.Intent
	before.Attempt--
	return &before
}

// held gives the lease back: the provider is not to be asked now, which says
// nothing about this connection.
func (s *Service) held(ctx context.Context, c connection.Connection, claim connection.Claim, h *Held) (connection.Connection, error) {
	seen := c
	out, err := s.Connections.UpdateFrom(ctx, c, func(c *connection.Connection) error {
		intent := s.intentBefore(*c, seen, false)
		if err := c.Release(claim); err != nil {
			return err
		}
		c.Intent = intent
		s.wait(c, h)
		return nil
	})
	if errors.Is(err, connection.ErrFenced) {
		return s.overtaken(ctx, c.Key)
	}
	if err != nil {
		return c, err
	}
	return s.waiting(out, h)
}

// wait plans the connection for when its provider may be asked again: before its
// token ends, if there is time. If it ends before that, its owner is told then.
func (s *Service) wait(c *connection.Connection, h *Held) {
	now := s.Now().UTC()
	c.Wait(h.failure(now), now)
	if s.plan(c); c.RenewAt.IsZero() || !c.RenewAt.Before(h.Until) {
		return
	}
	c.RenewAt = back(*c, h.Until, h.Spread).UTC()
	if end := c.Set.AccessExpiresAt; end.After(now) {
		c.RenewAt = earlier(c.RenewAt, end)
	}
}

// failure is what it means for a connection whose token ends meanwhile.
func (h *Held) failure(now time.Time) connection.Failure {
	return connection.Failure{Verdict: string(h.Verdict), Code: "paused", Detail: h.Error(), At: now.UTC()}
}

// waiting answers for a renewal that waits for its provider to be asked again.
func (s *Service) waiting(c connection.Connection, h *Held) (connection.Connection, error) {
	told := c // the row says nothing of it, and who writes it next must not
	if told.Failure == nil {
		f := h.failure(s.Now())
		told.Failure = &f
	}
	_, err := s.stale(told, nil, h.Until.Sub(s.Now()))
	return c, err
}

// judge turns the cause into what the row and the person are told.
func judge(c connection.Connection, cause error, now time.Time) (f connection.Failure, dead, ambiguous bool, after time.Duration) {
	var e *provider.Error
	switch {
	case errors.As(cause, &e):
		f = connection.Failure{Verdict: string(e.Verdict), Code: e.Code, Detail: e.Error()}
		if e.Verdict == provider.Reconnect && c.Intent != nil && c.Intent.Attempt > 1 {
			f.Detail += ". Its answer to the renewal before was lost, and may have had the only token that is still good"
		}
		return f, e.Verdict == provider.Reconnect || e.Verdict == provider.ScopeLost, anyAmbiguous(cause), e.RetryAfter
	case errors.Is(cause, provider.ErrNotRenewable):
		return connection.Failure{Verdict: string(provider.Reconnect), Code: "not_renewable",
			Detail: "the access has ended and the provider gave nothing to renew it with: reconnect the account"}, true, false, 0
	case errors.Is(cause, errAnswerLost):
		return connection.Failure{Verdict: string(provider.Reconnect), Code: "answer_lost", Detail: cause.Error()}, true, false, 0
	case errors.Is(cause, flow.ErrMoved) && now.Sub(c.Set.IssuedAt) < settling:
		// A process may not know yet where the client is since a moment ago.
	case errors.Is(cause, flow.ErrMoved):
		return connection.Failure{Verdict: string(provider.Reconnect), Code: flow.ErrMoved.Code,
			Detail: cause.Error() + ": reconnect the account"}, true, false, 0
	case errors.Is(cause, flow.ErrNoClient), errors.Is(cause, provider.ErrTarget), errors.Is(cause, flow.ErrParameter):
		return connection.Failure{Verdict: string(provider.ClientMisconfigured), Code: flow.ErrNoClient.Code, Detail: cause.Error()}, false, false, 0 // nothing was sent, or it were a provider.Error
	case errors.Is(cause, vault.ErrNoGrant) && now.Sub(c.Set.IssuedAt) < settling:
		// A store may not find everywhere at once what it was just given.
	case errors.Is(cause, vault.ErrSealed), errors.Is(cause, vault.ErrNoGrant):
		return connection.Failure{Verdict: string(provider.Reconnect), Code: "sealed_set_unreadable",
			Detail: "the stored token cannot be opened: its key or its row was changed. Reconnect the account"}, true, false, 0
	}
	return connection.Failure{Verdict: string(provider.Transient), Code: "internal_error",
		Detail: "the token could not be renewed because of a fault on this side; it is tried again"}, false, true, 0
}

// anyAmbiguous reports whether, of all requests that failed, one may have been
// carried out.
func anyAmbiguous(err error) bool {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		return slices.ContainsFunc(several.Unwrap(), anyAmbiguous)
	}
	var e *provider.Error
	return errors.As(err, &e) && e.Ambiguous
}

func backoff(failures int) time.Duration {
	wait := firstRetry
	for range failures {
		if wait *= 2; wait >= maxRetry {
			return maxRetry
		}
	}
	return wait
}
