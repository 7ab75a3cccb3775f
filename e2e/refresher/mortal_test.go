package refresher

import (
	"context"
	"sync/atomic"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// mortal counts the moments of a process's work on its stores (before and after
// each operation, and within each write of a row, while its transaction is
// open) and kills the process at one of them.
type mortal struct {
	at    int64
	count atomic.Int64
	// last is told the moment before the process is killed.
	last func(where string)
}

func (m *mortal) moment(where string) {
	if m.count.Add(1) == m.at {
		m.last(where)
		die()
	}
}

// beforePut is the one moment at which the provider's answer lies nowhere but
// in the process.
const beforePut = "before a grant is put"

// wrap returns the stores with their moments. waiting is called when somebody
// reads the row again and again.
func (m *mortal) wrap(s stores, waiting func()) stores {
	v := *s.vault
	v.Audit = mortalAudit{v.Audit, m}
	g := mortalGrants{v.Grants, m}
	v.Grants = g
	if slots, ok := g.GrantStore.(vault.Slots); ok {
		v.Grants = mortalSlots{g, slots}
	}
	return stores{connections: &mortalRows{s.connections, m, waiting, atomic.Int64{}}, vault: &v}
}

// readsOfOne is how often somebody who asks reads the row that nobody has the
// lease of.
const readsOfOne = 3

type mortalRows struct {
	connection.Store
	m       *mortal
	waiting func()
	reads   atomic.Int64
}

func (s *mortalRows) Get(ctx context.Context, k connection.Key) (connection.Connection, error) {
	s.m.moment("before a row is read")
	c, err := s.Store.Get(ctx, k)
	if s.reads.Add(1) == readsOfOne && c.Lease != nil {
		s.waiting()
	}
	return c, err
}

func (s *mortalRows) Update(ctx context.Context, k connection.Key, change func(*connection.Connection) error) (connection.Connection, error) {
	defer s.m.moment("after a write of a row")
	s.m.moment("before a write of a row")
	return s.Store.Update(ctx, k, s.within(change))
}

func (s *mortalRows) UpdateFrom(ctx context.Context, seen connection.Connection, change func(*connection.Connection) error) (connection.Connection, error) {
	defer s.m.moment("after a write of a row")
	s.m.moment("before a write of a row")
	return s.Store.UpdateFrom(ctx, seen, s.within(change))
}

func (s *mortalRows) within(change func(*connection.Connection) error) func(*connection.Connection) error {
	return func(c *connection.Connection) error {
		defer s.m.moment("in a write of a row")
		return change(c)
	}
}

type mortalGrants struct {
	vault.GrantStore
	m *mortal
}

func (s mortalGrants) Put(ctx context.Context, k connection.Key, version string, sealed []byte) error {
	defer s.m.moment("after a grant is put")
	s.m.moment(beforePut)
	return s.GrantStore.Put(ctx, k, version, sealed)
}

func (s mortalGrants) Get(ctx context.Context, k connection.Key, version string) ([]byte, error) {
	s.m.moment("before a grant is read")
	return s.GrantStore.Get(ctx, k, version)
}

func (s mortalGrants) Remove(ctx context.Context, k connection.Key, versions ...string) error {
	defer s.m.moment("after a grant is removed")
	s.m.moment("before a grant is removed")
	return s.GrantStore.Remove(ctx, k, versions...)
}

// mortalSlots are grants that take each other's place.
type mortalSlots struct {
	mortalGrants
	slots vault.Slots
}

func (s mortalSlots) Replace(ctx context.Context, k connection.Key, version string, fence int64, sealed []byte) error {
	defer s.m.moment("after a grant is put")
	s.m.moment(beforePut)
	return s.slots.Replace(ctx, k, version, fence, sealed)
}

// Prove keeps a store that can be proven one.
func (s mortalSlots) Prove(ctx context.Context, k connection.Key) error {
	defer s.m.moment("after a store is proven")
	s.m.moment("before a store is proven")
	if p, ok := s.slots.(vault.Prover); ok {
		return p.Prove(ctx, k)
	}
	return nil
}

type mortalAudit struct {
	vault.Audit
	m *mortal
}

func (s mortalAudit) Append(ctx context.Context, l vault.Line) error {
	defer s.m.moment("after an audit line")
	s.m.moment("before an audit line")
	return s.Audit.Append(ctx, l)
}
