package fake

import (
	"context"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/signin"
)

var _ signin.Store = (*Store)(nil)

// PutAttempt implements [signin.Store].
func (s *Store) PutAttempt(_ context.Context, a signin.Attempt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.attempts[a.ID]; ok {
		return flow.ErrExists
	}
	s.attempts[a.ID] = document(a)
	return nil
}

// Attempt implements [signin.Store].
func (s *Store) Attempt(_ context.Context, id string) (signin.Attempt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempt(id)
}

func (s *Store) attempt(id string) (signin.Attempt, error) {
	var a signin.Attempt
	doc, ok := s.attempts[id]
	if !ok {
		return a, signin.ErrUnknown
	}
	return a, decode(doc, &a, signin.ErrUsed)
}

// ConfirmAttempt implements [signin.Store].
func (s *Store) ConfirmAttempt(_ context.Context, tenant, id, user, proofHash string, now time.Time) (signin.Attempt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.attempt(id)
	if err == nil {
		err = a.MayConfirm(tenant, user, now)
	}
	if err != nil {
		return signin.Attempt{}, err
	}
	a.UserID, a.ProofHash = user, proofHash
	s.attempts[id] = document(a)
	return a, nil
}

// TakeAttempt implements [signin.Store].
func (s *Store) TakeAttempt(_ context.Context, id, browser, proofHash string, now time.Time) (signin.Attempt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.attempt(id)
	if err == nil {
		err = a.MayTake(browser, proofHash, now)
	}
	if err != nil {
		return signin.Attempt{}, err
	}
	s.attempts[id] = nil
	return a, nil
}
