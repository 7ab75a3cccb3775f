package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Migration moves the sealed grants of a deployment to one of its two stores,
// connection by connection, while the deployment works:
//
//	lease     nobody renews meanwhile
//	copy      every version that the row names, read back and compared
//	point     the row says that they lie in the new store, and the lease ends:
//	          one write, if the lease still holds
//	discard   the old copies, and the secret that held them
//
// Interrupted anywhere, nothing is lost: until the row points to the new store
// the old one has everything, and afterwards the new one. Run again, it goes on;
// a connection that has moved is only tidied up.
//
// New grants must go to the new store first: set LANYARD_VAULT_STORE and deploy.
type Migration struct {
	Connections connection.Store
	// Grants has the new store as its Store.
	Grants *Grants
	Now    func() time.Time
	// Report is told of each connection that was not moved, and why. It may be
	// nil.
	Report func(connection.Key, error)
}

// Moved counts connections.
type Moved struct {
	// Moved were moved, Already were there, Empty have no grant to move.
	Moved   int `json:"moved"`
	Already int `json:"already"`
	Empty   int `json:"empty"`
	// Kept are among the moved and the already moved: the old store holds
	// versions of them that the row does not name (yet).
	Kept int `json:"kept"`
	// Left were not moved: somebody renewed or changed them, what they name is
	// nowhere, or a store failed. Running again takes them up.
	Left int `json:"left"`
}

// Add adds the counts of another tenant.
func (m *Moved) Add(o Moved) {
	m.Moved += o.Moved
	m.Already += o.Already
	m.Empty += o.Empty
	m.Kept += o.Kept
	m.Left += o.Left
}

// moveTTL is how long one connection is leased: longer than all its calls take.
const moveTTL = 90 * time.Second

// moveTries is how often a connection is tried that changes meanwhile.
const moveTries = 3

// errMoving: the row named another version when it was to be pointed.
var errMoving = errors.New("the connection changed while it was moved")

// Run moves the connections of one tenant. An error means that they could not
// be listed; what happens to one connection is counted and reported.
func (m *Migration) Run(ctx context.Context, tenant string) (Moved, error) {
	var out Moved
	page := connection.Page{Limit: 100}
	for {
		found, next, err := m.Connections.List(ctx, tenant, connection.Filter{}, page)
		if err != nil {
			return out, fmt.Errorf("list the connections of %s: %w", tenant, err)
		}
		for _, c := range found {
			if err := m.move(ctx, c.Key, &out); err != nil {
				out.Left++
				if m.Report != nil {
					m.Report(c.Key, err)
				}
			}
			if ctx.Err() != nil {
				return out, ctx.Err()
			}
		}
		if next == "" {
			return out, nil
		}
		page.Cursor = next
	}
}

func (m *Migration) move(ctx context.Context, k connection.Key, count *Moved) error {
	for try := 1; ; try++ {
		err := m.once(ctx, k, count)
		changed := errors.Is(err, errMoving) || errors.Is(err, connection.ErrFenced)
		if !changed || try == moveTries {
			return err
		}
	}
}

func (m *Migration) once(ctx context.Context, k connection.Key, count *Moved) error {
	c, err := m.Connections.Get(ctx, k)
	switch {
	case errors.Is(err, connection.ErrNotFound), err == nil && c.Status == connection.Deleting:
		count.Empty++ // its deletion clears both stores
		return nil
	case err != nil:
		return err
	case len(named(c)) == 0:
		count.Empty++
		return nil
	}
	old, err := m.left(ctx, c)
	if err != nil {
		return err
	}
	if len(old) == 0 && m.placed(c) {
		return m.tidy(ctx, c, nil, &count.Already, count)
	}
	var claim connection.Claim
	c, err = m.Connections.Update(ctx, k, func(c *connection.Connection) (err error) {
		if c.Status == connection.Deleting {
			return connection.ErrGone
		}
		claim, err = c.Acquire(token.NewID("mov"), m.Now().UTC(), moveTTL)
		return err
	})
	if err != nil {
		return err
	}
	copied, err := m.copy(ctx, c)
	if err == nil {
		err = m.point(ctx, c, claim)
	}
	if err != nil {
		return errors.Join(err, m.release(ctx, k, claim))
	}
	return m.tidy(ctx, c, copied, &count.Moved, count)
}

// stores are the one to move to and the one to move from.
func (m *Migration) stores() (to, from discarder) {
	both := m.Grants.stores(m.Grants.Store)
	return both[0], both[1]
}

// sets are the sets of a row.
func sets(c *connection.Connection) []*connection.Set {
	all := []*connection.Set{&c.Set}
	if c.Proposal != nil {
		all = append(all, &c.Proposal.Set)
	}
	for i := range c.Retired {
		all = append(all, &c.Retired[i].Set)
	}
	return all
}

// named are the versions that the row names. That of its intent may not be
// stored yet.
func named(c connection.Connection) map[string]bool {
	out := map[string]bool{}
	if c.Intent != nil {
		out[c.Intent.ID] = false
	}
	for _, s := range sets(&c) {
		if s.GrantVersion != "" {
			out[s.GrantVersion] = true // must be there
		}
	}
	return out
}

// placed reports whether the row says of all that it names that it lies in the
// new store.
func (m *Migration) placed(c connection.Connection) bool {
	for _, s := range sets(&c) {
		if s.GrantVersion != "" && s.GrantStore != m.Grants.Store {
			return false
		}
	}
	// An intent's grant has no store yet: whoever adopts it finds it in either.
	return true
}

// left are the versions that the row names and the old store still holds.
func (m *Migration) left(ctx context.Context, c connection.Connection) ([]string, error) {
	_, from := m.stores()
	var old []string
	for version := range named(c) {
		_, err := from.Get(ctx, c.Key, version)
		if err == nil {
			old = append(old, version)
		} else if !errors.Is(err, vault.ErrNoGrant) {
			return nil, fmt.Errorf("read version %s: %w", version, err)
		}
	}
	return old, nil
}

// copy puts what the old store holds into the new one, reads it back, and
// returns the versions that are now in both.
func (m *Migration) copy(ctx context.Context, c connection.Connection) (copied []string, err error) {
	to, from := m.stores()
	for version, must := range named(c) {
		sealed, err := from.Get(ctx, c.Key, version)
		if errors.Is(err, vault.ErrNoGrant) {
			// It is in the new store already, or an intent without a result.
			_, err = to.Get(ctx, c.Key, version)
			if err == nil || errors.Is(err, vault.ErrNoGrant) && !must {
				continue
			}
		}
		if err != nil {
			return nil, fmt.Errorf("read version %s: %w", version, err)
		}
		if err := m.put(ctx, c, version, sealed); err != nil {
			return nil, fmt.Errorf("copy version %s: %w", version, err)
		}
		stored, err := to.Get(ctx, c.Key, version)
		if err != nil {
			return nil, fmt.Errorf("read back version %s: %w", version, err)
		}
		if !bytes.Equal(stored, sealed) {
			return nil, fmt.Errorf("version %s is not the same in the new store", version)
		}
		copied = append(copied, version)
	}
	return copied, nil
}

// put puts a copy where a renewal would have put it, by way of what looks at the
// row afterwards: a connection that was deleted meanwhile gets nothing.
func (m *Migration) put(ctx context.Context, c connection.Connection, version string, sealed []byte) error {
	if vault.Slot(version) == "" {
		return m.Grants.Put(ctx, c.Key, version, sealed)
	}
	if err := m.Grants.Replace(ctx, c.Key, version, c.Fence, sealed); err != nil {
		return err
	}
	return m.Grants.unlessDeleted(ctx, c.Key)
}

// point makes the row name the new store, and gives the lease back. c is the
// row as it was copied.
func (m *Migration) point(ctx context.Context, c connection.Connection, claim connection.Claim) error {
	seen := named(c)
	_, err := m.Connections.Update(ctx, c.Key, func(row *connection.Connection) error {
		if err := row.Release(claim); err != nil {
			return err
		}
		for _, s := range sets(row) {
			if s.GrantVersion == "" {
				continue
			}
			// A callback needs no lease to propose a set.
			if _, ok := seen[s.GrantVersion]; !ok && s.GrantStore != m.Grants.Store {
				return errMoving
			}
			s.GrantStore = m.Grants.Store
		}
		return nil
	})
	return err
}

// release gives the lease back, so that a failed move delays no renewal.
func (m *Migration) release(ctx context.Context, k connection.Key, claim connection.Claim) error {
	_, err := m.Connections.Update(context.WithoutCancel(ctx), k, func(c *connection.Connection) error { return c.Release(claim) })
	if errors.Is(err, connection.ErrFenced) || errors.Is(err, connection.ErrNotFound) {
		return nil // somebody else has it
	}
	return err
}

// tidy removes what was copied from the old store, and counts.
func (m *Migration) tidy(ctx context.Context, c connection.Connection, copied []string, as *int, count *Moved) error {
	_, from := m.stores()
	empty, err := from.discard(ctx, c, copied...)
	if err != nil {
		return fmt.Errorf("it has moved, but its old copy is still there: %w", err)
	}
	*as++
	if !empty {
		count.Kept++
	}
	return nil
}
