package fake

import (
	"context"
	"errors"

	"github.com/lanyardhq/lanyard/internal/refresh"
)

var _ refresh.Gates = (*Store)(nil)

// Gate implements [refresh.Gates].
func (s *Store) Gate(_ context.Context, name string) (refresh.Gate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gate(name)
}

func (s *Store) gate(name string) (refresh.Gate, error) {
	var g refresh.Gate
	none := errors.New("no such gate")
	if err := decode(s.gates[name], &g, none); err != nil && err != none {
		return refresh.Gate{}, err
	}
	return g, nil
}

// UpdateGate implements [refresh.Gates]; change must not call the store.
func (s *Store) UpdateGate(_ context.Context, name string, change func(*refresh.Gate) error) (refresh.Gate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.gate(name)
	if err != nil {
		return refresh.Gate{}, err
	}
	if err := change(&g); err != nil {
		return refresh.Gate{}, err
	}
	s.gates[name] = document(g)
	return s.gate(name)
}
