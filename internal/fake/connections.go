package fake

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
)

var _ connection.Store = (*Store)(nil)

// Create implements [connection.Store].
func (s *Store) Create(_ context.Context, c connection.Connection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connections[c.Key] != nil {
		return connection.ErrExists
	}
	s.connections[c.Key], s.revisions[c.Key] = document(c), c.Revision
	return nil
}

// Get implements [connection.Store].
func (s *Store) Get(_ context.Context, k connection.Key) (connection.Connection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connection(k)
}

func (s *Store) connection(k connection.Key) (connection.Connection, error) {
	var c connection.Connection
	err := decode(s.connections[k], &c, connection.ErrNotFound)
	return c, err
}

// Update implements [connection.Store]; change must not call the store.
func (s *Store) Update(_ context.Context, k connection.Key, change func(*connection.Connection) error) (connection.Connection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.connection(k)
	if err != nil {
		return connection.Connection{}, err
	}
	return s.write(c, change)
}

// write stores what change makes of the row.
func (s *Store) write(c connection.Connection, change func(*connection.Connection) error) (connection.Connection, error) {
	k, revision := c.Key, c.Revision
	if err := change(&c); err != nil {
		return connection.Connection{}, err
	}
	c.Key, c.Revision = k, revision+1
	s.connections[k], s.revisions[k] = document(c), c.Revision
	return s.connection(k)
}

// UpdateFrom implements [connection.Store]. What was seen is believed, as by
// the stores that are spared a read.
func (s *Store) UpdateFrom(ctx context.Context, seen connection.Connection, change func(*connection.Connection) error) (connection.Connection, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	doc := s.connections[seen.Key]
	if doc != nil && s.revisions[seen.Key] == seen.Revision {
		doc = document(seen)
	}
	var c connection.Connection
	if err := decode(doc, &c, connection.ErrNotFound); err != nil {
		return connection.Connection{}, err
	}
	return s.write(c, change)
}

// Delete implements [connection.Store].
func (s *Store) Delete(_ context.Context, k connection.Key, check func(connection.Connection) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.connection(k)
	if err != nil {
		return err
	}
	if err := check(c); err != nil {
		return err
	}
	delete(s.connections, k)
	delete(s.revisions, k)
	return nil
}

// List implements [connection.Store].
func (s *Store) List(_ context.Context, tenant string, f connection.Filter, p connection.Page) ([]connection.Connection, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []connection.Connection
	for k := range s.connections {
		c, err := s.connection(k)
		if err != nil {
			return nil, "", err
		}
		if c.Tenant == tenant && f.Matches(c) {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b connection.Connection) int { return strings.Compare(rank(a), rank(b)) })
	var ranks []string
	for _, c := range all {
		ranks = append(ranks, rank(c))
	}
	from, to, next, err := page(ranks, 1, p.Cursor, p.Limit)
	return all[from:to], next, err
}

func rank(c connection.Connection) string { return stamp(c.CreatedAt) + c.ID }

// Due implements [connection.Store].
func (s *Store) Due(_ context.Context, now time.Time, limit int) ([]connection.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []connection.Connection
	for k := range s.connections {
		c, err := s.connection(k)
		if err != nil {
			return nil, err
		}
		if at := c.AttentionAt(); !at.IsZero() && !at.After(now) {
			due = append(due, c)
		}
	}
	slices.SortFunc(due, func(a, b connection.Connection) int {
		return cmp.Or(a.AttentionAt().Compare(b.AttentionAt()), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.ID, b.ID))
	})
	var out []connection.Key
	for _, c := range due[:min(max(limit, 0), len(due))] {
		out = append(out, c.Key)
	}
	return out, nil
}
