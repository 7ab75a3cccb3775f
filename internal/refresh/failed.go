package refresh

import (
	"context"
	"errors"
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
	// settling is how old a grant must be to be lost when it is not found.
	settling = 5 * time.Minute
)

// failed records what a renewal that did not work means.
func (s *Service) failed(ctx context.Context, c connection.Connection, claim connection.Claim, cause error) (connection.Connection, error) {
	ctx = context.WithoutCancel(ctx)
	f, dead, ambiguous, after := judge(c, cause, s.Now())
	f.At = s.Now().UTC()
	count := 0
	if c.Failure != nil {
		count = c.Failure.Count
	}
	wait := max(after, backoff(count))
	out, err := s.Connections.Update(ctx, c.Key, func(c *connection.Connection) error {
		return c.Failed(claim, f, dead, ambiguous, f.At.Add(wait))
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

// judge turns the cause into what the row and the person are told.
func judge(c connection.Connection, cause error, now time.Time) (f connection.Failure, dead, ambiguous bool, after time.Duration) {
	var e *provider.Error
	switch {
	case errors.As(cause, &e):
		f = connection.Failure{Verdict: string(e.Verdict), Code: e.Code, Detail: e.Error()}
		return f, e.Verdict == provider.Reconnect || e.Verdict == provider.ScopeLost, e.Ambiguous, e.RetryAfter
	case errors.Is(cause, provider.ErrNotRenewable):
		return connection.Failure{Verdict: string(provider.Reconnect), Code: "not_renewable",
			Detail: "the access has ended and the provider gave nothing to renew it with: reconnect the account"}, true, false, 0
	case errors.Is(cause, errAnswerLost):
		return connection.Failure{Verdict: string(provider.Reconnect), Code: "answer_lost", Detail: cause.Error()}, true, false, 0
	case errors.Is(cause, flow.ErrNoClient), errors.Is(cause, provider.ErrTarget), errors.Is(cause, flow.ErrParameter):
		return connection.Failure{Verdict: string(provider.ClientMisconfigured), Code: flow.ErrNoClient.Code, Detail: cause.Error()}, false, true, 0
	case errors.Is(cause, vault.ErrNoGrant) && now.Sub(c.Set.IssuedAt) < settling:
		// A store may not find everywhere at once what it was just given.
	case errors.Is(cause, vault.ErrSealed), errors.Is(cause, vault.ErrNoGrant):
		return connection.Failure{Verdict: string(provider.Reconnect), Code: "sealed_set_unreadable",
			Detail: "the stored token cannot be opened: its key or its row was changed. Reconnect the account"}, true, false, 0
	}
	return connection.Failure{Verdict: string(provider.Transient), Code: "internal_error",
		Detail: "the token could not be renewed because of a fault on this side; it is tried again"}, false, true, 0
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
