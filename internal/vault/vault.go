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
	// Action is what was done: "open_access", "open_grant", "seal", "remove".
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
	// version again succeeds; other bytes are refused.
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

// Vault seals and opens.
type Vault struct {
	Sealer *Sealer
	Grants GrantStore
	Audit  Audit
	Now    func() time.Time
}

// Seal stores a set under the version and returns what the row has to say of
// it. The row decides: until it names the version, nothing has changed.
func (v *Vault) Seal(ctx context.Context, caller Caller, c connection.Connection, version, purpose string, s token.Set) (connection.Set, error) {
	out, err := v.SealAccess(ctx, caller, c, version, purpose, s.Access)
	if err != nil {
		return connection.Set{}, err
	}
	if s.Grant.Empty() {
		return out, nil
	}
	plain, err := json.Marshal(s.Grant)
	if err != nil {
		return connection.Set{}, err
	}
	sealed, err := v.Sealer.Seal(ctx, binding(c, GrantPart, version), plain)
	if err != nil {
		return connection.Set{}, fmt.Errorf("seal the grant: %w", err)
	}
	if err := v.Grants.Put(ctx, c.Key, version, sealed); err != nil {
		return connection.Set{}, fmt.Errorf("store the grant: %w", err)
	}
	out.GrantVersion, out.GrantStore = version, v.Grants.Name()
	for _, r := range s.Grant.Renewables {
		if !r.ExpiresAt.IsZero() && (out.RefreshExpiresAt.IsZero() || r.ExpiresAt.Before(out.RefreshExpiresAt)) {
			out.RefreshExpiresAt = r.ExpiresAt
		}
	}
	return out, nil
}

// SealAccess seals the access part alone: a renewal that does not rotate
// writes one row and touches no grant.
func (v *Vault) SealAccess(ctx context.Context, caller Caller, c connection.Connection, version, purpose string, a token.Access) (connection.Set, error) {
	if err := v.admit(ctx, caller, c, "seal", purpose); err != nil {
		return connection.Set{}, err
	}
	plain, err := json.Marshal(a)
	if err != nil {
		return connection.Set{}, err
	}
	sealed, err := v.Sealer.Seal(ctx, binding(c, AccessPart, version), plain)
	if err != nil {
		return connection.Set{}, fmt.Errorf("seal the access token: %w", err)
	}
	return connection.Set{
		AccessVersion:   version,
		Access:          sealed,
		AccessExpiresAt: a.ExpiresAt(),
		IssuedAt:        v.Now().UTC(),
	}, nil
}

// Access opens the access part of a set of the connection.
func (v *Vault) Access(ctx context.Context, caller Caller, c connection.Connection, s connection.Set, purpose string) (token.Access, error) {
	var out token.Access
	if err := v.admit(ctx, caller, c, "open_access", purpose); err != nil {
		return out, err
	}
	plain, err := v.Sealer.Open(ctx, binding(c, AccessPart, s.AccessVersion), s.Access)
	if err != nil {
		return out, fmt.Errorf("open the access token of %s: %w", c.ID, err)
	}
	err = json.Unmarshal(plain, &out)
	return out, err
}

// Grant opens the long-lived part. A set without one opens as an empty grant.
func (v *Vault) Grant(ctx context.Context, caller Caller, c connection.Connection, s connection.Set, purpose string) (token.Grant, error) {
	var out token.Grant
	if s.GrantVersion == "" {
		return out, nil
	}
	if err := v.admit(ctx, caller, c, "open_grant", purpose); err != nil {
		return out, err
	}
	grants := v.Grants
	if placed, ok := grants.(PlacedGrants); ok {
		grants = placed.At(s.GrantStore)
	}
	sealed, err := grants.Get(ctx, c.Key, s.GrantVersion)
	if err != nil {
		return out, fmt.Errorf("read the grant of %s: %w", c.ID, err)
	}
	plain, err := v.Sealer.Open(ctx, binding(c, GrantPart, s.GrantVersion), sealed)
	if err != nil {
		return out, fmt.Errorf("open the grant of %s: %w", c.ID, err)
	}
	err = json.Unmarshal(plain, &out)
	return out, err
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
