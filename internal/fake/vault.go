package fake

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Grants is the store of sealed grants.
func (s *Store) Grants() vault.GrantStore { return grants{s} }

type grants struct{ s *Store }

// Name implements [vault.GrantStore].
func (g grants) Name() string { return "fake" }

// Put implements [vault.GrantStore].
func (g grants) Put(_ context.Context, k connection.Key, version string, sealed []byte) error {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	if stored, ok := g.s.grants[k][version]; ok && !bytes.Equal(stored, sealed) {
		return fmt.Errorf("%w: %s, version %s", vault.ErrTaken, k.ID, version)
	}
	if g.s.grants[k] == nil {
		g.s.grants[k] = map[string][]byte{}
	}
	g.s.grants[k][version] = bytes.Clone(sealed)
	return nil
}

// Get implements [vault.GrantStore].
func (g grants) Get(_ context.Context, k connection.Key, version string) ([]byte, error) {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	sealed, ok := g.s.grants[k][version]
	if !ok {
		return nil, vault.ErrNoGrant
	}
	return bytes.Clone(sealed), nil
}

// Remove implements [vault.GrantStore].
func (g grants) Remove(_ context.Context, k connection.Key, versions ...string) error {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	for _, version := range versions {
		delete(g.s.grants[k], version)
	}
	return nil
}

// Clear implements [vault.GrantStore].
func (g grants) Clear(_ context.Context, k connection.Key) error {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	delete(g.s.grants, k)
	return nil
}

// Slots is another store of sealed grants, which keeps renewals in slots.
func (s *Store) Slots() vault.Slots { return slots{grants{s}} }

type slots struct{ grants }

// slot is what lies in one.
type slot struct {
	version string
	fence   int64
	sealed  []byte
}

// Replace implements [vault.Slots].
func (g slots) Replace(_ context.Context, k connection.Key, version string, fence int64, sealed []byte) error {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	there, ok := g.s.slots[k][vault.Slot(version)]
	switch {
	case ok && there.version == version && bytes.Equal(there.sealed, sealed):
		return nil
	case ok && there.fence >= fence:
		return fmt.Errorf("store version %s: %w", version, connection.ErrFenced)
	case g.s.slots[k] == nil:
		g.s.slots[k] = map[string]slot{}
	}
	g.s.slots[k][vault.Slot(version)] = slot{version, fence, bytes.Clone(sealed)}
	return nil
}

// Spent implements [vault.Slots].
func (g slots) Spent(ctx context.Context, k connection.Key, version, _ string) error {
	if vault.Slot(version) != "" {
		return nil
	}
	return g.Remove(ctx, k, version)
}

// Get implements [vault.GrantStore].
func (g slots) Get(ctx context.Context, k connection.Key, version string) ([]byte, error) {
	g.s.mu.Lock()
	there := g.s.slots[k][vault.Slot(version)]
	g.s.mu.Unlock()
	if there.version == version && version != "" {
		return bytes.Clone(there.sealed), nil
	}
	return g.grants.Get(ctx, k, version)
}

// Remove implements [vault.GrantStore].
func (g slots) Remove(ctx context.Context, k connection.Key, versions ...string) error {
	g.s.mu.Lock()
	for _, version := range versions {
		if name := vault.Slot(version); g.s.slots[k][name].version == version {
			delete(g.s.slots[k], name)
		}
	}
	g.s.mu.Unlock()
	return g.grants.Remove(ctx, k, versions...)
}

// Clear implements [vault.GrantStore].
func (g slots) Clear(ctx context.Context, k connection.Key) error {
	g.s.mu.Lock()
	delete(g.s.slots, k)
	g.s.mu.Unlock()
	return g.grants.Clear(ctx, k)
}

// AuditFilter selects audit lines of one tenant; an empty field selects all.
type AuditFilter = struct{ Connection, User string }

// Audit is the audit of a [Store].
type Audit struct{ s *Store }

var _ vault.Audit = (*Audit)(nil)

// Audit returns the audit.
func (s *Store) Audit() *Audit { return &Audit{s} }

// Append implements [vault.Audit]. A line whose id is taken is refused.
func (a *Audit) Append(_ context.Context, l vault.Line) error {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.lineIDs[l.ID] {
		return fmt.Errorf("there is an audit line %s already", l.ID)
	}
	a.s.lines, a.s.lineIDs[l.ID] = append(a.s.lines, l), true
	return nil
}

// List returns a page of lines, the newest first, and the cursor of the next
// page, empty at the end.
func (a *Audit) List(_ context.Context, tenant string, f AuditFilter, after string, limit int) ([]vault.Line, string, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	var all []vault.Line
	for _, l := range a.s.lines {
		if l.Tenant == tenant && (f.Connection == "" || f.Connection == l.Connection) && (f.User == "" || f.User == l.UserID) {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b vault.Line) int { return strings.Compare(lineRank(b), lineRank(a)) })
	var ranks []string
	for _, l := range all {
		ranks = append(ranks, lineRank(l))
	}
	from, to, next, err := page(ranks, -1, after, limit)
	return all[from:to], next, err
}

func lineRank(l vault.Line) string { return stamp(l.At) + l.ID }

// Keys is a key-encryption key that lives as long as the process.
type Keys struct{ wrap cipher.AEAD }

var _ vault.Keys = (*Keys)(nil)

// NewKeys makes a random one.
func NewKeys() *Keys {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has the right length
	}
	wrap, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return &Keys{wrap}
}

// DataKey implements [vault.Keys].
func (k *Keys) DataKey(_ context.Context, tenant string) (key, wrapped []byte, err error) {
	key = make([]byte, 32)
	_, _ = rand.Read(key)
	return key, k.wrap.Seal(nil, nil, key, []byte(tenant)), nil
}

// Unwrap implements [vault.Keys].
func (k *Keys) Unwrap(_ context.Context, tenant string, wrapped []byte) ([]byte, error) {
	key, err := k.wrap.Open(nil, nil, wrapped, []byte(tenant))
	if err != nil {
		return nil, vault.ErrSealed
	}
	return key, nil
}
