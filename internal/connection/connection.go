// Package connection is the record of one user's account at one provider for
// one MCP server, and what may happen to it.
//
// Every change is a transition: a method that checks whether it may happen and
// then changes the record in memory. A [Store] applies transitions atomically
// and knows nothing of what they mean, so that the rules live here once,
// whatever the database.
//
//	            Propose                    Promote, once a place is picked
//	callback ───────────► proposal waiting ───────► current set
//	                          │ unconfirmed            │ Acquire → Record → Settle (refresh)
//	                          ▼                        ▼
//	                       dropped                 BeginDelete → row removed
//
// The row decides which stored set is current: it names the version of the
// sealed grant and carries the sealed access token. A worker that has lost its
// lease can write to the grant store, but cannot make the row point at what it
// wrote.
package connection

import (
	"slices"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
)

// Status is the health of a connection as a person should see it.
type Status string

// The statuses. A connection that is waiting for its first confirmation is
// pending; one that is being reconnected stays what it was meanwhile.
const (
	Pending         Status = "pending"
	Connected       Status = "connected"
	ReconnectNeeded Status = "reconnect_needed"
	Deleting        Status = "deleting"
)

// Key names a connection.
type Key struct {
	Tenant string `json:"tenant"`
	ID     string `json:"id"`
}

// Account is whom the provider says granted access.
type Account struct {
	// Subject is the provider's stable identifier; empty when it tells none.
	Subject string `json:"subject,omitempty"`
	// Label is for people: an e-mail address or a name. Hostile text.
	Label string `json:"label,omitempty"`
}

// Set describes one stored token set. It holds no token unsealed.
type Set struct {
	// GrantVersion is the version of the sealed grant in the grant store: the
	// id of the intent that made it. Empty when there is nothing to renew.
	GrantVersion string `json:"grant_version,omitempty"`
	// GrantStore names the store that holds it, so that a deployment can move
	// from one to another row by row.
	GrantStore string `json:"grant_store,omitempty"`
	// AccessVersion is the version that the sealed access part is bound to.
	AccessVersion string `json:"access_version"`
	// Access is the sealed access part.
	Access []byte `json:"access"`
	// AccessExpiresAt is zero when the provider named no lifetime.
	AccessExpiresAt time.Time `json:"access_expires_at,omitzero"`
	// IssuedAt is when the access token was issued.
	IssuedAt time.Time `json:"issued_at"`
	// RefreshExpiresAt is zero when the provider named no lifetime.
	RefreshExpiresAt time.Time `json:"refresh_expires_at,omitzero"`
	// RefreshFixed: a renewal was seen not to move RefreshExpiresAt, so that
	// nothing but the person can.
	RefreshFixed bool `json:"refresh_fixed,omitempty"`
	// TokenHash is of what a renewal spends: the refresh tokens, or the access
	// token where that one is exchanged. See [Intent].
	TokenHash string `json:"token_hash,omitempty"`
}

// Renewable reports whether there is a grant to renew the access token with.
func (s Set) Renewable() bool { return s.GrantVersion != "" }

// Describe notes of the set where its grant lies and what is known of it.
func (s *Set) Describe(version, store string, g token.Grant) {
	s.GrantVersion, s.GrantStore, s.RefreshExpiresAt, s.TokenHash = version, store, g.FirstEnd(), g.Hash()
}

// Granted is what a person granted in one flow, beside the tokens themselves.
type Granted struct {
	Account Account `json:"account"`
	// ScopesAsked and Scopes are what was asked for and what was granted.
	ScopesAsked []string `json:"scopes_asked,omitempty"`
	Scopes      []string `json:"scopes,omitempty"`
	// ClientID and Variant say with which of our registrations the grant was
	// made: a refresh token works with that one only.
	ClientID string `json:"client_id,omitempty"`
	Variant  string `json:"variant,omitempty"`
	// ClientAt are the values of the provider's parameters that were said with our
	// client (host): where the grant was made. It is renewed and revoked nowhere
	// else, and its tokens are for servers there. None: at the provider's defaults.
	ClientAt map[string]string `json:"client_at,omitempty"`
	// Parameters are what the person was asked before connecting (shop, site).
	Parameters map[string]string `json:"parameters,omitempty"`
	// Found is who granted it, where no preset knows that beforehand.
	Found *Found `json:"found,omitempty"`
	// Place is which place of the provider it is used for, where it can be for
	// several.
	Place *Place `json:"place,omitempty"`
}

// Named is what tells the grants of a person apart, for people: the account, and
// the place. Hostile text.
func (g Granted) Named() string {
	switch {
	case g.Place == nil || g.Place.Label == "":
		return g.Account.Label
	case g.Account.Label == "":
		return g.Place.Label
	}
	return g.Account.Label + " · " + g.Place.Label
}

// At reports whether the grant is used for that place; nil: for the only one that
// there can be.
func (g Granted) At(p *Place) bool {
	return g.Place == nil && p == nil || g.Place != nil && p != nil && g.Place.ID == p.ID
}

// Proposal is a grant that is stored but not yet in force.
type Proposal struct {
	FlowID string `json:"flow_id"`
	// ConfirmBy is when it is revoked and dropped unless confirmed.
	ConfirmBy time.Time `json:"confirm_by"`
	Set       Set       `json:"set"`
	Granted   Granted   `json:"granted"`
	// Places are those of which the person has yet to pick one. Until then it
	// cannot be promoted. More: there are others beside them.
	Places []Place `json:"places,omitempty"`
	More   bool    `json:"more,omitempty"`
}

// Retired is a set that is no longer current and waits to be revoked, where that
// harms no other set, and removed.
type Retired struct {
	Set     Set     `json:"set"`
	Granted Granted `json:"granted"`
}

// Failure is the last thing that went wrong with a connection.
type Failure struct {
	// Verdict is one of the words of package provider.
	Verdict string `json:"verdict"`
	Code    string `json:"code,omitempty"`
	// Detail is for a person and holds no secret. It may be hostile text.
	Detail string    `json:"detail,omitempty"`
	At     time.Time `json:"at"`
	// Count is how many failures there were in a row.
	Count int `json:"count"`
}

// Connection is the record.
type Connection struct {
	Key
	UserID   string `json:"user_id"`
	Server   string `json:"server"`
	AuthType string `json:"auth_type"`
	Provider string `json:"provider,omitempty"`
	// Label is the person's own name for it; empty: what the grant is named.
	Label  string `json:"label,omitempty"`
	Status Status `json:"status"`
	// Tools says which tools MCP clients are offered.
	Tools ToolFilter `json:"tools,omitzero"`
	// Alias begins the names of its tools where all servers of its user are behind
	// one endpoint. Once it has one it keeps it: a name must not come to mean
	// another account. Empty: nobody has listed them yet.
	Alias string `json:"alias,omitempty"`

	Granted
	Set      Set       `json:"set"`
	Proposal *Proposal `json:"proposal,omitempty"`
	Retired  []Retired `json:"retired,omitempty"`

	// Fence grows with every lease and every promotion; a worker whose fence
	// is not the row's own has lost.
	Fence  int64   `json:"fence"`
	Lease  *Lease  `json:"lease,omitempty"`
	Intent *Intent `json:"intent,omitempty"`

	Failure *Failure `json:"failure,omitempty"`
	// RetryAt is when a failed renewal may be tried again.
	RetryAt time.Time `json:"retry_at,omitzero"`
	// RenewAt is when the tokens are renewed although nobody asks; zero: they
	// are renewed when somebody does. Package refresh plans it; a row that was
	// just connected says now, and is planned then.
	RenewAt time.Time `json:"renew_at,omitzero"`
	// EndsAt is when the grant ends whatever we do, if that is known; NoticeAt
	// is when its owner is told, and EndAnnounced the end that was told.
	EndsAt       time.Time `json:"ends_at,omitzero"`
	NoticeAt     time.Time `json:"notice_at,omitzero"`
	EndAnnounced time.Time `json:"end_announced,omitzero"`
	// ScopesLost are scopes that the person granted and the provider stopped
	// granting: the token lives, and is good for less.
	ScopesLost []string `json:"scopes_lost,omitempty"`
	// Health changes with the transitions below, which add to Events what its
	// owner is to be told.
	Health Health  `json:"health,omitempty"`
	Events []Event `json:"events,omitempty"`

	CreatedAt     time.Time `json:"created_at"`
	ConnectedAt   time.Time `json:"connected_at,omitzero"`
	LastRefreshAt time.Time `json:"last_refresh_at,omitzero"`
	LastUsedAt    time.Time `json:"last_used_at,omitzero"`
	// Revision counts the writes of this row.
	Revision int64 `json:"revision"`
	// Trail is a store's own mark on a row that it has read, for
	// [Store.UpdateFrom]. Nobody else looks at it.
	Trail string `json:"-"`
}

// DisplayLabel is what a person calls the connection.
func (c Connection) DisplayLabel() string {
	switch {
	case c.Label != "":
		return c.Label
	case c.Named() != "":
		return c.Named()
	case c.Proposal != nil && c.Proposal.Granted.Named() != "":
		return c.Proposal.Granted.Named()
	}
	return c.Account.Subject
}

// InUse reports whether the connection has a set in force: not before its first
// proposal was promoted.
func (c Connection) InUse() bool { return c.Set.GrantVersion != "" || len(c.Set.Access) > 0 }

// Names reports whether the row says of a grant version that it is, was or may
// become one of the connection's: such a grant must stay stored.
func (c Connection) Names(version string) bool {
	return c.Set.GrantVersion == version ||
		c.Intent != nil && c.Intent.ID == version ||
		c.Proposal != nil && c.Proposal.Set.GrantVersion == version ||
		slices.ContainsFunc(c.Retired, func(r Retired) bool { return r.Set.GrantVersion == version })
}

// NamesSuffix reports whether a version that the row names ends so.
func (c Connection) NamesSuffix(suffix string) bool {
	return strings.HasSuffix(c.Set.GrantVersion, suffix) ||
		c.Intent != nil && strings.HasSuffix(c.Intent.ID, suffix) ||
		c.Proposal != nil && strings.HasSuffix(c.Proposal.Set.GrantVersion, suffix) ||
		slices.ContainsFunc(c.Retired, func(r Retired) bool { return strings.HasSuffix(r.Set.GrantVersion, suffix) })
}

// AttentionAt is when somebody has to look at the row even if nobody uses it:
// an unconfirmed proposal runs out, a retired set or the row itself is to be
// removed, tokens are to be renewed, somebody is to be told. Zero: never.
func (c Connection) AttentionAt() time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if len(c.Retired) > 0 || c.Status == Deleting {
		// Once the lease that somebody holds on the work has run out.
		if c.Lease != nil {
			sooner(c.Lease.Until)
		} else {
			sooner(c.CreatedAt)
		}
	}
	if c.Status == Deleting {
		return at
	}
	if c.Proposal != nil {
		sooner(c.Proposal.ConfirmBy)
	}
	if c.Status == Connected {
		sooner(c.RenewAt)
		sooner(c.NoticeAt)
	}
	for _, e := range c.Events {
		sooner(e.NextAt)
	}
	return at
}
