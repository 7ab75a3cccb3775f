// Package vault seals token sets and opens them again for a named caller.
//
// A set is stored in two parts (package token): the sealed access token lies in
// the connection's own row, the sealed grant in a [GrantStore] under the version
// that the row names. Nothing is opened without a [Caller] who may have it, and
// nothing is returned before the audit line that says so is durable.
//
// Only callback and refresh are given a Vault.
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Errors of the vault.
var (
	// ErrForbidden: the caller may not have this connection's tokens.
	ErrForbidden = errors.New("this caller may not use this connection")
	// ErrNoGrant: there is no stored grant of that version.
	ErrNoGrant = errors.New("no stored grant of that version")
	// ErrTaken: another grant is stored as that version.
	ErrTaken = errors.New("another grant is stored there")
	// ErrAudit: the audit line could not be written, so nothing was opened.
	ErrAudit = errors.New("the audit line could not be written")
)

// Caller is on whose behalf a secret is used.
type Caller struct {
	Tenant string
	// User, when set, limits the caller to that user's connections.
	User string
	// Connection, when set, limits the caller to that one connection.
	Connection string
	// Actor says who it is, for the audit line: "api_key", "page",
	// "task:tsk_…", "refresh", "callback".
	Actor string
}

// May reports whether the caller may use the connection.
func (c Caller) May(conn connection.Connection) bool {
	return c.Tenant == conn.Tenant && c.Actor != "" &&
		(c.User == "" || c.User == conn.UserID) &&
		(c.Connection == "" || c.Connection == conn.ID)
}

// Line is one line of the audit: who used which secret, when, for what.
type Line struct {
	ID         string    `json:"id"`
	At         time.Time `json:"at"`
	Tenant     string    `json:"tenant"`
	Actor      string    `json:"actor"`
	UserID     string    `json:"user_id,omitempty"`
	Connection string    `json:"connection"`
	Server     string    `json:"server,omitempty"`
	// Action is what was done: "open_access", "open_grant", "seal", "remove",
	// or "renew", which opens both parts and seals their successors.
	Action string `json:"action"`
	// Purpose is what for: "refresh", "token", "task", "disconnect", ….
	Purpose string `json:"purpose"`
}

// Audit keeps the lines. Append returns when the line is durable; a line whose
// ID is taken is an error.
type Audit interface {
	Append(ctx context.Context, l Line) error
}

// GrantStore keeps sealed grants by connection and version. It never sees a
// token, and it does not decide which version is current.
type GrantStore interface {
	// Name is what rows call this store.
	Name() string
	// Put is durable when it returns. Putting the same bytes under the same
	// version again succeeds; other bytes are ErrTaken.
	Put(ctx context.Context, k connection.Key, version string, sealed []byte) error
	// Get returns ErrNoGrant if there is none.
	Get(ctx context.Context, k connection.Key, version string) ([]byte, error)
	// Remove removes exactly these versions; one that is not there is fine.
	// There is no "all but these": a version may have been put that no row
	// names yet.
	Remove(ctx context.Context, k connection.Key, versions ...string) error
	// Clear removes every version of a connection that is being deleted. What
	// it leaves behind on failure, the next Clear removes.
	Clear(ctx context.Context, k connection.Key) error
}

// PlacedGrants is a GrantStore made of several, of which a row names one.
type PlacedGrants interface {
	GrantStore
	// At returns the same store, reading in the named place first.
	At(store string) GrantStore
}

// Slots is a GrantStore in which a renewal's grant takes the place of the one
// that was spent before it: one write in place of two. A slot is written in
// turn with another, so that the grant in force is never touched.
type Slots interface {
	GrantStore
	// Replace stores the grant in the slot of its version ([Slot]). Whatever was
	// put there under a lower fence is gone; what was put under the same or a
	// higher one stays, and the error is connection.ErrFenced. Of one version the
	// same bytes may be put again, which changes nothing.
	Replace(ctx context.Context, k connection.Key, version string, fence int64, sealed []byte) error
	// Spent is Remove of a version that a renewal has spent, which lies in the
	// named store; "" when that is not known. One that lies in a slot may stay
	// there: the next renewal takes its place.
	Spent(ctx context.Context, k connection.Key, version, store string) error
}

// Slot is the slot that a version names by its end, "a" or "b"; "" for one that
// has a place of its own.
func Slot(version string) string {
	if n := len(version) - 2; n > 0 && (version[n:] == "_a" || version[n:] == "_b") {
		return version[n+1:]
	}
	return ""
}

// NextVersion names the set that a renewal of the connection is to make: in a
// slot that the row names no version of, so that nothing in it is needed.
func NextVersion(c connection.Connection) string {
	version := token.NewID("set")
	for _, slot := range []string{"_a", "_b"} {
		if !c.NamesSuffix(slot) {
			return version + slot
		}
	}
	return version
}

// Prover is a GrantStore that can be proven to take a write before a refresh
// token is spent whose successor it must keep.
type Prover interface {
	Prove(ctx context.Context, k connection.Key) error
}

// Vault seals and opens.
type Vault struct {
	Sealer *Sealer
	Grants GrantStore
	Audit  Audit
	Now    func() time.Time
}

// Permit is the right to use one connection's secrets for one purpose. There is
// an audit line of it, durable before it was given.
type Permit struct {
	v *Vault
	c connection.Connection
}

// Permit admits the caller for one action, such as "renew", and everything that
// it takes of opening and sealing.
func (v *Vault) Permit(ctx context.Context, caller Caller, c connection.Connection, action, purpose string) (*Permit, error) {
	if err := v.admit(ctx, caller, c, action, purpose); err != nil {
		return nil, err
	}
	return &Permit{v, c}, nil
}

// Seal stores a set under the version and returns what the row has to say of
// it. The row decides: until it names the version, nothing has changed.
func (v *Vault) Seal(ctx context.Context, caller Caller, c connection.Connection, version, purpose string, s token.Set) (connection.Set, error) {
	p, err := v.Permit(ctx, caller, c, "seal", purpose)
	if err != nil {
		return connection.Set{}, err
	}
	return p.Seal(ctx, version, s)
}

// Seal is [Vault.Seal].
func (p *Permit) Seal(ctx context.Context, version string, s token.Set) (connection.Set, error) {
	return p.Rotation(version, 0, s)(ctx)
}

// Rotation returns what seals and stores the set, under the fence of the lease
// under which a renewal runs. It can be called again after an error, and seals
// but once: a store that took a grant and answered with an error is given the
// same bytes.
func (p *Permit) Rotation(version string, fence int64, s token.Set) func(context.Context) (connection.Set, error) {
	var out connection.Set
	var sealed []byte
	return func(ctx context.Context) (_ connection.Set, err error) {
		if out.AccessVersion == "" {
			if out, err = p.SealAccess(ctx, version, s.Access); err != nil {
				out = connection.Set{}
				return out, err
			}
		}
		if s.Grant.Empty() {
			return out, nil
		}
		if sealed == nil {
			if sealed, err = p.seal(ctx, GrantPart, version, s.Grant); err != nil {
				return connection.Set{}, fmt.Errorf("seal the grant: %w", err)
			}
		}
		if err := p.put(ctx, version, fence, sealed); err != nil {
			return connection.Set{}, fmt.Errorf("store the grant: %w", err)
		}
		set := out
		set.Describe(version, p.v.Grants.Name(), s.Grant)
		return set, nil
	}
}

func (p *Permit) put(ctx context.Context, version string, fence int64, sealed []byte) error {
	if slots, ok := p.v.Grants.(Slots); ok && Slot(version) != "" {
		return slots.Replace(ctx, p.c.Key, version, fence, sealed)
	}
	return p.v.Grants.Put(ctx, p.c.Key, version, sealed)
}

// SealAccess seals the access part alone: what a person pasted has no other.
func (v *Vault) SealAccess(ctx context.Context, caller Caller, c connection.Connection, version, purpose string, a token.Access) (connection.Set, error) {
	p, err := v.Permit(ctx, caller, c, "seal", purpose)
	if err != nil {
		return connection.Set{}, err
	}
	return p.SealAccess(ctx, version, a)
}

// SealAccess is [Vault.SealAccess]: a renewal that does not rotate writes one
// row and touches no grant.
func (p *Permit) SealAccess(ctx context.Context, version string, a token.Access) (connection.Set, error) {
	sealed, err := p.seal(ctx, AccessPart, version, a)
	if err != nil {
		return connection.Set{}, fmt.Errorf("seal the access token: %w", err)
	}
	return connection.Set{
		AccessVersion: version, Access: sealed, AccessExpiresAt: a.ExpiresAt(), IssuedAt: p.v.Now().UTC(), TokenHash: a.Hash(),
	}, nil
}

func (p *Permit) seal(ctx context.Context, part Part, version string, value any) ([]byte, error) {
	plain, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return p.v.Sealer.Seal(ctx, binding(p.c, part, version), packed.Pack(plain))
}

// errForm: what opened was sealed by us, and is of a form that a later version
// writes. That says nothing of the token in it.
var errForm = errors.New("the sealed part is of a form that this version does not know: update it")

// open is the reverse of seal.
func (p *Permit) open(ctx context.Context, part Part, version string, sealed []byte, value any) error {
	plain, err := p.v.Sealer.Open(ctx, binding(p.c, part, version), sealed)
	if err != nil {
		return err
	}
	if plain, err = packed.Unpack(plain, maxPlain); err != nil {
		return fmt.Errorf("%w: %w", errForm, err)
	}
	return json.Unmarshal(plain, value)
}

// Access opens the access part of a set of the connection.
func (v *Vault) Access(ctx context.Context, caller Caller, c connection.Connection, s connection.Set, purpose string) (token.Access, error) {
	p, err := v.Permit(ctx, caller, c, "open_access", purpose)
	if err != nil {
		return token.Access{}, err
	}
	return p.Access(ctx, s)
}

// Access is [Vault.Access].
func (p *Permit) Access(ctx context.Context, s connection.Set) (token.Access, error) {
	var out token.Access
	if err := p.open(ctx, AccessPart, s.AccessVersion, s.Access, &out); err != nil {
		return token.Access{}, fmt.Errorf("open the access token of %s: %w", p.c.ID, err)
	}
	return out, nil
}

// Grant opens the long-lived part. A set without one opens as an empty grant.
func (v *Vault) Grant(ctx context.Context, caller Caller, c connection.Connection, s connection.Set, purpose string) (token.Grant, error) {
	if s.GrantVersion == "" {
		return token.Grant{}, nil
	}
	p, err := v.Permit(ctx, caller, c, "open_grant", purpose)
	if err != nil {
		return token.Grant{}, err
	}
	return p.Grant(ctx, s)
}

// Grant is [Vault.Grant].
func (p *Permit) Grant(ctx context.Context, s connection.Set) (token.Grant, error) {
	var out token.Grant
	if s.GrantVersion == "" {
		return out, nil
	}
	grants := p.v.Grants
	if placed, ok := grants.(PlacedGrants); ok {
		grants = placed.At(s.GrantStore)
	}
	sealed, err := grants.Get(ctx, p.c.Key, s.GrantVersion)
	if err != nil {
		return out, fmt.Errorf("read the grant of %s: %w", p.c.ID, err)
	}
	if err := p.open(ctx, GrantPart, s.GrantVersion, sealed, &out); err != nil {
		return token.Grant{}, fmt.Errorf("open the grant of %s: %w", p.c.ID, err)
	}
	return out, nil
}

// Prove proves that the store of new grants takes a write, where it can: what a
// renewal yields exists nowhere else.
func (p *Permit) Prove(ctx context.Context) error {
	if prover, ok := p.v.Grants.(Prover); ok {
		return prover.Prove(ctx, p.c.Key)
	}
	return nil
}

// DropSpent removes the grant of a version that a renewal has spent, unless the
// next renewal takes its place anyway.
func (p *Permit) DropSpent(ctx context.Context, version string) error {
	slots, ok := p.v.Grants.(Slots)
	if !ok {
		return p.v.Grants.Remove(ctx, p.c.Key, version)
	}
	store := ""
	if p.c.Set.GrantVersion == version {
		store = p.c.Set.GrantStore
	}
	return slots.Spent(ctx, p.c.Key, version, store)
}

// Remove removes the stored grants of these versions, which no row may name any
// more or ever again.
func (v *Vault) Remove(ctx context.Context, caller Caller, c connection.Connection, purpose string, versions ...string) error {
	if err := v.admit(ctx, caller, c, "remove", purpose); err != nil {
		return err
	}
	return v.Grants.Remove(ctx, c.Key, versions...)
}

// Clear removes all stored grants of a connection that is being deleted.
func (v *Vault) Clear(ctx context.Context, caller Caller, c connection.Connection, purpose string) error {
	if err := v.admit(ctx, caller, c, "remove", purpose); err != nil {
		return err
	}
	return v.Grants.Clear(ctx, c.Key)
}

// admit refuses a caller who may not, and writes the audit line before anything
// is sealed, opened or removed.
func (v *Vault) admit(ctx context.Context, caller Caller, c connection.Connection, action, purpose string) error {
	if !caller.May(c) {
		return ErrForbidden
	}
	err := v.Audit.Append(ctx, Line{
		ID: token.NewID("aud"), At: v.Now().UTC(), Tenant: c.Tenant, Actor: caller.Actor,
		UserID: c.UserID, Connection: c.ID, Server: c.Server, Action: action, Purpose: purpose,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAudit, err)
	}
	return nil
}

func binding(c connection.Connection, p Part, version string) Binding {
	return Binding{Tenant: c.Tenant, Connection: c.ID, Part: p, Version: version}
}
