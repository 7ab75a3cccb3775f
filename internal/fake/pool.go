package fake

import (
	"context"
	"maps"
	"slices"

	"github.com/lanyardhq/lanyard/internal/host"
)

var _ host.Pool = (*Store)(nil)

// AddWarm implements [host.Pool].
func (s *Store) AddWarm(_ context.Context, w host.Warm) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.warm[w.ID]; ok {
		return host.ErrExists
	}
	s.warm[w.ID] = w
	return nil
}

// ReadyWarm implements [host.Pool].
func (s *Store) ReadyWarm(_ context.Context, w host.Warm) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.warm[w.ID]
	if !ok {
		return host.ErrNoTask
	}
	if old.Registered {
		return host.ErrExists
	}
	old.IdentityHash, old.Address, old.KeyFingerprint, old.Registered = w.IdentityHash, w.Address, w.KeyFingerprint, true
	s.warm[w.ID] = old
	return nil
}

// TakeWarm implements [host.Pool].
func (s *Store) TakeWarm(_ context.Context, server string) (host.Warm, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, w := range s.warm {
		if w.Registered && w.Server == server {
			delete(s.warm, id)
			return w, nil
		}
	}
	return host.Warm{}, host.ErrNoTask
}

// WarmTasks implements [host.Pool].
func (s *Store) WarmTasks(context.Context) ([]host.Warm, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.warm)), nil
}

// DropWarm implements [host.Pool].
func (s *Store) DropWarm(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.warm[id]; !ok {
		return host.ErrNoTask
	}
	delete(s.warm, id)
	return nil
}
