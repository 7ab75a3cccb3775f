package fake

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
)

var _ host.Store = (*Store)(nil)

// BeginTask implements [host.Store].
func (s *Store) BeginTask(_ context.Context, t host.Task) (host.Task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.task(s.taskOf[t.Connection])
	running := err == nil && old.State != host.TaskFailed
	if running {
		return old, host.ErrRunning
	}
	if s.tasks[t.ID] != nil && t.ID != old.ID {
		return host.Task{}, host.ErrExists
	}
	delete(s.tasks, old.ID)
	s.generations[t.Connection]++
	t.Generation = s.generations[t.Connection]
	s.tasks[t.ID], s.taskOf[t.Connection] = document(t), t.ID
	return t, nil
}

// GetTask implements [host.Store].
func (s *Store) GetTask(_ context.Context, id string) (host.Task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.task(id)
}

func (s *Store) task(id string) (host.Task, error) {
	var t host.Task
	err := decode(s.tasks[id], &t, host.ErrNoTask)
	return t, err
}

// TaskOf implements [host.Store].
func (s *Store) TaskOf(_ context.Context, k connection.Key) (host.Task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.task(s.taskOf[k])
}

// UpdateTask implements [host.Store]; change must not call the store.
func (s *Store) UpdateTask(_ context.Context, id string, change func(*host.Task) error) (host.Task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.task(id)
	if err != nil {
		return host.Task{}, err
	}
	k := t.Connection
	if err := change(&t); err != nil {
		return host.Task{}, err
	}
	t.ID, t.Connection = id, k
	s.tasks[id] = document(t)
	return t, nil
}

// EndTask implements [host.Store].
func (s *Store) EndTask(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, err := s.task(id); err == nil {
		delete(s.taskOf, t.Connection)
		delete(s.tasks, id)
	}
	return nil
}

// Tasks implements [host.Store].
func (s *Store) Tasks(_ context.Context) ([]host.Task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []host.Task
	for _, id := range slices.Sorted(maps.Keys(s.tasks)) {
		t, err := s.task(id)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// PutMCPToken implements [host.Store].
func (s *Store) PutMCPToken(_ context.Context, t host.MCPToken) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deletedTokens[t.ID] || s.deletedTokens[t.Hash] {
		return host.ErrExists
	}
	for _, old := range s.tokens {
		if old.ID == t.ID || old.Hash == t.Hash {
			return host.ErrExists
		}
	}
	s.tokens[t.ID] = t
	return nil
}

// MCPTokenByHash implements [host.Store].
func (s *Store) MCPTokenByHash(_ context.Context, hash string) (host.MCPToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		if t.Hash == hash {
			return t, nil
		}
	}
	return host.MCPToken{}, host.ErrNoToken
}

// MCPTokens implements [host.Store].
func (s *Store) MCPTokens(_ context.Context, k connection.Key) ([]host.MCPToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []host.MCPToken
	for _, t := range s.tokens {
		if t.Connection == k {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b host.MCPToken) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// DeleteMCPToken implements [host.Store].
func (s *Store) DeleteMCPToken(_ context.Context, k connection.Key, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[id]
	if !ok || t.Connection != k {
		return host.ErrNoToken
	}
	delete(s.tokens, id)
	s.deletedTokens[id], s.deletedTokens[t.Hash] = true, true
	return nil
}

// DeleteMCPTokens implements [host.Store].
func (s *Store) DeleteMCPTokens(_ context.Context, k connection.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.tokens, func(_ string, t host.MCPToken) bool { return t.Connection == k })
	return nil
}
