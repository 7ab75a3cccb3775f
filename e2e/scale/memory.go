package scale

import (
	"context"
	"sync"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// memory keeps connections as they are: with it a renewal costs what the
// refresher itself does, and no store's way to write a row down.
type memory struct {
	connection.Store // whatever else is asked of it, nobody asks here

	mu   sync.Mutex
	rows map[connection.Key]connection.Connection
}

// Create implements [connection.Store].
func (m *memory) Create(_ context.Context, c connection.Connection) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows[c.Key] = c
	return nil
}

// Get implements [connection.Store].
func (m *memory) Get(_ context.Context, k connection.Key) (connection.Connection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.rows[k]
	if !ok {
		return c, connection.ErrNotFound
	}
	return c, nil
}

// Update implements [connection.Store].
func (m *memory) Update(_ context.Context, k connection.Key, change func(*connection.Connection) error) (connection.Connection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.rows[k]
	if !ok {
		return c, connection.ErrNotFound
	}
	if err := change(&c); err != nil {
		return connection.Connection{}, err
	}
	c.Revision++
	m.rows[k] = c
	return c, nil
}

// UpdateFrom implements [connection.Store].
func (m *memory) UpdateFrom(ctx context.Context, seen connection.Connection, change func(*connection.Connection) error) (connection.Connection, error) {
	return m.Update(ctx, seen.Key, change)
}
