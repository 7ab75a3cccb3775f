package conformance_test

import (
	"context"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/conformance"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/signin"
)

func signIns(adapter func(*fake.Store) signin.Store) func(*testing.T) {
	return func(t *testing.T) {
		conformance.SignIns(t, func(*testing.T) signin.Store { return adapter(fake.New()) })
	}
}

// confirmsAnew lets the last confirmation win.
type confirmsAnew struct{ *fake.Store }

func (s confirmsAnew) ConfirmAttempt(ctx context.Context, tenant, id, user, proofHash string, now time.Time) (signin.Attempt, error) {
	a, err := s.Attempt(ctx, id)
	if err == nil && a.UserID != "" && a.Tenant == tenant && now.Before(a.ExpiresAt) {
		user = a.UserID
	}
	return s.Store.ConfirmAttempt(ctx, tenant, id, user, proofHash, now)
}

// confirmsForAll asks not whose attempt it is.
type confirmsForAll struct{ *fake.Store }

func (s confirmsForAll) ConfirmAttempt(ctx context.Context, _, id, user, proofHash string, now time.Time) (signin.Attempt, error) {
	a, err := s.Attempt(ctx, id)
	if err != nil {
		return a, err
	}
	return s.Store.ConfirmAttempt(ctx, a.Tenant, id, user, proofHash, now)
}

// takesUnproven takes an attempt that nobody has confirmed.
type takesUnproven struct{ *fake.Store }

func (s takesUnproven) TakeAttempt(ctx context.Context, id, browser, proofHash string, now time.Time) (signin.Attempt, error) {
	a, err := s.Attempt(ctx, id)
	if err == nil && a.ProofHash == proofHash && a.Browser == browser {
		return a, nil
	}
	return s.Store.TakeAttempt(ctx, id, browser, proofHash, now)
}

// takesAsRead returns what it read before somebody confirmed it.
type takesAsRead struct{ *fake.Store }

func (s takesAsRead) TakeAttempt(ctx context.Context, id, browser, proofHash string, now time.Time) (signin.Attempt, error) {
	seen, err := s.Attempt(ctx, id)
	if err != nil {
		return seen, err
	}
	meanwhile()
	_, err = s.Store.TakeAttempt(ctx, id, browser, proofHash, now)
	if err != nil {
		return signin.Attempt{}, err
	}
	return seen, nil
}
