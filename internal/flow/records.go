package flow

import (
	"context"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// Link is a connect link: what a tenant's backend mints for one of its users.
// The first browser to open it claims it.
type Link struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	// SecretHash is the hash of the part of the URL that is not the id.
	SecretHash string            `json:"secret_hash"`
	UserID     string            `json:"user_id"`
	Servers    []string          `json:"servers,omitempty"`
	ReturnURL  string            `json:"return_url,omitempty"`
	Parameters map[string]string `json:"parameters,omitempty"`
	// Owner: the link is for the person who runs this machine, so that nobody
	// has to confirm what is connected by it.
	Owner bool `json:"owner,omitempty"`
	// Browser is the hash of the browser that claimed the link; "": nobody yet.
	Browser   string    `json:"browser,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Session says whose pages a browser may see. Servers, when set, are the only
// ones that it may connect, and whose connections it may see and use.
type Session struct {
	Hash    string   `json:"hash"`
	Tenant  string   `json:"tenant"`
	UserID  string   `json:"user_id"`
	Browser string   `json:"browser"`
	Servers []string `json:"servers,omitempty"`
	// Owner: the person who runs this machine.
	Owner bool `json:"owner,omitempty"`
	// Proven: the person signed in, at the tenant's issuer or its own login. A
	// link proves nothing: whoever was sent it can open it.
	Proven bool `json:"proven,omitempty"`
	// Name is what the person is called on our pages, if not by UserID. Hostile
	// text.
	Name string `json:"name,omitempty"`
	// LinkID is the link that opened it; empty if none did.
	LinkID     string            `json:"link_id,omitempty"`
	ReturnURL  string            `json:"return_url,omitempty"`
	Parameters map[string]string `json:"parameters,omitempty"`
	ExpiresAt  time.Time         `json:"expires_at"`
}

// Status is how far a flow has come.
type Status string

// The statuses of a flow. Failed, denied and connected are ends; picking waits
// for the person to say which of several places the connection is for, pending for
// the tenant's confirmation.
const (
	Started    Status = "started"
	Authorized Status = "authorizing" // the browser is at the provider
	Exchanging Status = "exchanging"
	Picking    Status = "picking"
	Pending    Status = "pending"
	Connected  Status = "connected"
	Denied     Status = "denied"
	Failed     Status = "failed"
)

// Ended reports whether nothing more can happen.
func (s Status) Ended() bool { return s == Connected || s == Denied || s == Failed }

// Flow is one attempt to connect.
type Flow struct {
	ID       string `json:"id"`
	Tenant   string `json:"tenant"`
	UserID   string `json:"user_id"`
	Server   string `json:"server"`
	Provider string `json:"provider"`
	// Found is where access is granted, if the server itself named it, and ClientID
	// our client there.
	Found    *connection.Found `json:"found,omitempty"`
	ClientID string            `json:"client_id,omitempty"`
	// ClientAt is where our client was when the flow began: see [connection.Granted].
	ClientAt map[string]string `json:"client_at,omitempty"`
	// Scopes asked for, by scope parameter ("scope", "user_scope").
	Scopes     map[string][]string `json:"scopes,omitempty"`
	ReturnURL  string              `json:"return_url,omitempty"`
	Parameters map[string]string   `json:"parameters,omitempty"`
	// ConnectionID is the connection to reconnect; "" makes or finds one.
	ConnectionID      string `json:"connection_id,omitempty"`
	AllowOtherAccount bool   `json:"allow_other_account,omitempty"`
	// Confirm says that the tenant must confirm who finished it.
	Confirm bool `json:"confirm,omitempty"`
	// RequestID is the authorization request of an MCP client that goes on when
	// the flow has ended.
	RequestID string `json:"request_id,omitempty"`
	// Elicited: it was begun by a call of an MCP client for this user, so that
	// nobody else may take it up who merely has its address.
	Elicited bool `json:"elicited,omitempty"`
	// Popup says that the page that started it waits and polls.
	Popup bool `json:"popup,omitempty"`
	// Browser is the hash of the browser that the flow is bound to.
	Browser   string    `json:"browser,omitempty"`
	Status    Status    `json:"status"`
	Result    Result    `json:"result"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Revision  int64     `json:"revision"`
}

// Result is how a flow ended.
type Result struct {
	ConnectionID string `json:"connection_id,omitempty"`
	// Account is the label of the account that was connected. Hostile text.
	Account string `json:"account,omitempty"`
	// SetID is the id of the sealed set.
	SetID string `json:"set_id,omitempty"`
	// Code and Detail say what went wrong, for a program and for a person.
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Missing are the scopes that were asked for and not granted.
	Missing []string `json:"missing,omitempty"`
}

// State is the OAuth state proper: minted after consent, bound to the browser,
// taken once.
type State struct {
	// Hash is the hash of the state parameter.
	Hash   string `json:"hash"`
	Tenant string `json:"tenant"`
	FlowID string `json:"flow_id"`
	// Browser is the hash of the browser that consented.
	Browser string `json:"browser"`
	// Verifier is the PKCE code verifier (RFC 7636 §4.1). It is worthless
	// without the code, which only this browser brings, and is gone when the
	// state is taken.
	Verifier  string    `json:"verifier"`
	ClientID  string    `json:"client_id"`
	Variant   string    `json:"variant,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Store keeps what lives for minutes. Expired records may be returned until
// they are purged: callers compare ExpiresAt themselves, except in TakeState.
type Store interface {
	// PutLink, PutSession, PutFlow and PutState add a record, or return
	// ErrExists and leave the one that has its key. The id of a deleted link
	// stays taken until the link would have expired or longer, so that a
	// repeated request cannot bring it back.
	PutLink(ctx context.Context, l Link) error
	// GetLink returns ErrLinkUnknown.
	GetLink(ctx context.Context, tenant, id string) (Link, error)
	// ClaimLink binds an unclaimed, unexpired link to the browser, atomically.
	// Claiming it again from the same browser succeeds; from another one,
	// ErrLinkClaimed. Expired (not before ExpiresAt) it is ErrLinkExpired to
	// every browser; else ErrLinkUnknown.
	ClaimLink(ctx context.Context, tenant, id, browser string, now time.Time) (Link, error)
	// DeleteLink removes the link and the sessions that it opened, in one
	// atomic step; ErrLinkUnknown if there is none.
	DeleteLink(ctx context.Context, tenant, id string) error
	// DeleteUser removes the sessions of the tenant's user, and the user's
	// links as DeleteLink does. Having nothing to remove is success.
	DeleteUser(ctx context.Context, tenant, user string) error

	// PutSession of a session that a link opened returns ErrLinkUnknown once
	// the link is gone: who claimed it just before gets no session either.
	PutSession(ctx context.Context, s Session) error
	// GetSession returns ErrNoSession.
	GetSession(ctx context.Context, hash string) (Session, error)
	// DeleteSession removes a session. Having nothing to remove is success.
	DeleteSession(ctx context.Context, hash string) error

	PutFlow(ctx context.Context, f Flow) error
	// GetFlow returns ErrFlowUnknown.
	GetFlow(ctx context.Context, id string) (Flow, error)
	// UpdateFlow stores f if the stored revision is still f.Revision, and
	// returns it with the next one; else ErrChanged, or ErrFlowUnknown.
	UpdateFlow(ctx context.Context, f Flow) (Flow, error)

	PutState(ctx context.Context, s State) error
	// TakeState removes and returns the state if it is unexpired and belongs
	// to the browser, in one atomic step: of any number of callers, one gets
	// it. The others are told why not: ErrStateUsed, ErrStateExpired,
	// ErrStateBrowser or ErrStateUnknown; of an expired one another browser
	// learns ErrStateBrowser only. A refusal leaves the state for the browser
	// that it belongs to. ErrStateUsed is remembered for an hour or longer.
	TakeState(ctx context.Context, hash, browser string, now time.Time) (State, error)
}
