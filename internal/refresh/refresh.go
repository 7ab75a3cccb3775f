// Package refresh keeps tokens alive, hands them out and ends them.
//
// A renewal spends a refresh token, and many providers let it be spent once.
// The order that makes this safe, here and in every process that shares the
// store, is [Service.renew]:
//
//	lease        one renewer a connection; each lease has a higher fence
//	re-read      the row as it is: nobody writes between this and the lease
//	still due?   somebody else may have renewed while we waited
//	intent       what is about to be spent, and the version its result will have
//	exchange     once
//	swap         seal under the intent's version, then point the row at it,
//	             if the fence still holds; that gives the lease back
//
// The first four are one conditional write, so that the row says both that
// somebody renews and what may be spent, or neither.
//
// Whoever finds an intent without a result looks first for a grant stored under
// its version, then spends the old token again: had it been spent, its
// successor would be lost anyway.
package refresh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Errors of the service. Where a failure was recorded, it is wrapped as
// [*Unavailable].
var (
	// ErrReconnect: the grant is dead; only the person can help.
	ErrReconnect = errors.New("the connection needs to be reconnected")
	// ErrPending: the connection waits for its confirmation.
	ErrPending = errors.New("the connection is waiting to be confirmed")
	// ErrBusy: somebody else holds the lease and did not finish in time.
	ErrBusy = errors.New("the connection is being changed by somebody else")
)

// Unavailable says that no token could be had for now.
type Unavailable struct {
	Failure connection.Failure
	// RetryAfter is how long to wait before asking again.
	RetryAfter time.Duration
}

func (e *Unavailable) Error() string {
	return "the token could not be renewed: " + e.Failure.Detail
}

// The times of a renewal. The lease outlives the exchange, so that a slow
// provider does not let a second renewer in.
const (
	leaseTTL        = 90 * time.Second
	exchangeTimeout = 20 * time.Second // of the 29 that API Gateway gives a request
	storeTimeout    = 45 * time.Second // for what the provider has answered
	waitForOther    = 45 * time.Second
	firstPoll       = 50 * time.Millisecond
	lastPoll        = 2 * time.Second
	pollShare       = 4 // a poll is followed by a pause of so many times its length
	slowestPoll     = 5 * time.Second
	usedResolution  = time.Hour
)

// Service renews, hands out and ends.
type Service struct {
	Connections connection.Store
	Vault       *vault.Vault
	Catalogue   flow.Catalogue
	Secrets     flow.Secrets
	Engine      *provider.Engine
	BaseURL     string
	Deployment  map[string]string
	// Pace keeps from asking a provider that is down or asks for less; nil:
	// Unpaced.
	Pace Pacer
	// Notify is given what the rows have to tell; nil: nobody is told.
	Notify Notifier
	// Window is how long after its last use a connection's tokens are kept
	// fresh; zero: DefaultWindow.
	Window time.Duration
	// ExchangeTimeout is how long a provider may take to answer; zero: 20
	// seconds. It has to stay well below the time of a lease, 90 seconds.
	ExchangeTimeout time.Duration
	Now             func() time.Time
	Logger          *slog.Logger
	// AtStep, when set, is called at each step of a renewal: for rehearsals.
	AtStep func(Step)

	inFlight singleflight.Group
	work     sync.WaitGroup
	known    sync.Map // *presets.Provider, by its id and variant
}

// Wait returns when nothing that was begun is under way any more: an exchange
// whose result is not stored yet would be lost with the process.
func (s *Service) Wait() { s.work.Wait() }

// Token returns the connection's access tokens, renewed first if they would
// live shorter than minTTL. Tokens whose whole life is shorter than that are
// renewed at half of it, and none before its provider permits. Of any number of
// callers at once, one exchange.
func (s *Service) Token(ctx context.Context, caller vault.Caller, k connection.Key, minTTL time.Duration, purpose string) (token.Access, connection.Connection, error) {
	due := func(c connection.Connection) bool {
		if !s.renewable(c) {
			return s.expiresWithin(c.Set, 0) // it is used as long as it lives
		}
		if h := s.habits(c); h.NotBefore != "" {
			return s.expiresWithin(c.Set, min(minTTL, h.NotBefore.Value()))
		}
		return s.expiresWithin(c.Set, minTTL)
	}
	return s.token(ctx, caller, k, due, purpose)
}

// Renew is Token for a caller that was refused with the token of that version.
func (s *Service) Renew(ctx context.Context, caller vault.Caller, k connection.Key, version, purpose string) (token.Access, connection.Connection, error) {
	due := func(c connection.Connection) bool { return c.Set.AccessVersion == version && s.renewable(c) }
	return s.token(ctx, caller, k, due, purpose)
}

func (s *Service) token(ctx context.Context, caller vault.Caller, k connection.Key, due func(connection.Connection) bool, purpose string) (token.Access, connection.Connection, error) {
	c, err := s.usable(ctx, caller, k)
	if err != nil {
		return token.Access{}, c, err
	}
	// Again if the renewal that was under way was somebody else's, who may have
	// needed less.
	for tries, own := 0, false; due(c) && !own && tries < 2; tries++ {
		if c, own, err = s.renewShared(ctx, k, nil, due); err == nil {
			err = standing(c) // whoever was faster may have ended it
		}
		if err != nil {
			return token.Access{}, c, err
		}
	}
	a, err := s.Vault.Access(ctx, caller, c, c.Set, purpose)
	if err != nil {
		return token.Access{}, c, err
	}
	s.used(ctx, c)
	return a, c, nil
}

// usable returns the connection if the caller may have its tokens and there
// are any.
func (s *Service) usable(ctx context.Context, caller vault.Caller, k connection.Key) (connection.Connection, error) {
	c, err := s.Connections.Get(ctx, k)
	if err != nil {
		return c, err
	}
	if !caller.May(c) {
		return c, connection.ErrNotFound
	}
	return c, standing(c)
}

// standing says why a connection that is not connected has no tokens to give.
func standing(c connection.Connection) error {
	switch c.Status {
	case connection.Deleting:
		return connection.ErrNotFound
	case connection.Pending:
		return ErrPending
	case connection.ReconnectNeeded:
		return reconnectError(c)
	}
	return nil
}

func reconnectError(c connection.Connection) error {
	if c.Failure == nil || c.Failure.Detail == "" {
		return ErrReconnect
	}
	return fmt.Errorf("%w: %s", ErrReconnect, c.Failure.Detail)
}

// expiresWithin reports whether the access token is due for renewal.
func (s *Service) expiresWithin(set connection.Set, minTTL time.Duration) bool {
	if set.AccessExpiresAt.IsZero() {
		return false
	}
	if life := set.AccessExpiresAt.Sub(set.IssuedAt); minTTL >= life {
		minTTL = max(life/2, 0)
	}
	return !s.Now().Add(minTTL).Before(set.AccessExpiresAt)
}

// renewShared lets one renewal of this process serve all who ask at the same
// time. It goes on when the first of them leaves. own says that it was begun by
// this call. seen is the row if the caller has just read it, else nil.
func (s *Service) renewShared(ctx context.Context, k connection.Key, seen *connection.Connection, due func(connection.Connection) bool) (_ connection.Connection, own bool, _ error) {
	begun := false
	ch := s.inFlight.DoChan(k.Tenant+"/"+k.ID, func() (any, error) {
		begun = true
		s.work.Add(1)
		defer s.work.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), waitForOther+s.exchangeTimeout())
		defer cancel()
		return s.renew(ctx, k, seen, due)
	})
	select {
	case r := <-ch:
		return r.Val.(connection.Connection), begun, r.Err
	case <-ctx.Done():
		return connection.Connection{}, false, ctx.Err()
	}
}

func (s *Service) exchangeTimeout() time.Duration {
	if s.ExchangeTimeout > 0 {
		return s.ExchangeTimeout
	}
	return exchangeTimeout
}

// used notes that somebody uses the connection, seldom enough to cost little.
func (s *Service) used(ctx context.Context, c connection.Connection) {
	now := s.Now().UTC()
	if now.Sub(c.LastUsedAt) < usedResolution {
		return
	}
	_, err := s.Connections.UpdateFrom(ctx, c, func(c *connection.Connection) error {
		if now.Sub(c.LastUsedAt) < usedResolution {
			return errIdle // one of all who ask at the same time notes it
		}
		c.LastUsedAt = now
		s.plan(c)
		return nil
	})
	if err != nil && !errors.Is(err, errIdle) {
		s.Logger.WarnContext(ctx, "last use not noted", "connection", c.ID, "err", err)
	}
}
