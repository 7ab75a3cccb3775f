package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Errors of the store.
var (
	ErrNoClient  = errors.New("no such client")
	ErrNoRequest = errors.New("no such authorization request")
	ErrNoGrant   = errors.New("no such grant")
	ErrNoConsent = errors.New("no such consent")
	// ErrExists: a record of that key is there already.
	ErrExists = errors.New("the record exists already")
	// ErrChanged: somebody else changed the record meanwhile.
	ErrChanged = errors.New("the record was changed meanwhile")
	// ErrSpent: what works once was used before.
	ErrSpent = errors.New("that was used before")
	// ErrTooMany: there have been as many as are let in for now.
	ErrTooMany = errors.New("too many for now")
)

// Kind is how a client became known.
type Kind string

// The kinds of clients.
const (
	// Document: its id is the URL of its metadata (Client ID Metadata Document).
	Document Kind = "document"
	// Dynamic: it registered itself (RFC 7591).
	Dynamic Kind = "dynamic"
	// Registered: whoever runs Lanyard entered it.
	Registered Kind = "registered"
)

// The ways in which a client proves itself at the token endpoint (RFC 7591 §2,
// token_endpoint_auth_method).
const (
	AuthNone   = "none"
	AuthBasic  = "client_secret_basic"
	AuthPost   = "client_secret_post"
	AuthKeyJWT = "private_key_jwt"
)

// Client is an MCP client. Its texts are its own, and hostile.
type Client struct {
	ID           string   `json:"id"`
	Kind         Kind     `json:"kind"`
	Name         string   `json:"name,omitempty"`
	URI          string   `json:"uri,omitempty"`
	RedirectURIs []string `json:"redirect_uris"`
	// AuthMethod is one of the Auth constants. SecretHash belongs to the two
	// with a secret, JWKS or JWKSURI to the one with a key.
	AuthMethod string          `json:"auth_method"`
	SecretHash string          `json:"secret_hash,omitempty"`
	JWKS       json.RawMessage `json:"jwks,omitempty"`
	JWKSURI    string          `json:"jwks_uri,omitempty"`
	CreatedAt  time.Time       `json:"created_at"`
	// ExpiresAt is when a document is read anew, and when a dynamic client that
	// nobody uses is forgotten; zero: never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Status is how far a request has come.
type Status string

// The statuses of a request. Answered and denied are ends.
const (
	Asked    Status = "asked"
	Allowed  Status = "allowed" // by the person; there may be no connection yet
	Answered Status = "answered"
	Denied   Status = "denied"
)

// Request is an authorization request under way (RFC 6749 §4.1.1), after its
// client and redirect URI were found good.
type Request struct {
	ID          string `json:"id"`
	ClientID    string `json:"client_id"`
	RedirectURI string `json:"redirect_uri"`
	// State is the client's own, which it gets back.
	State string `json:"state,omitempty"`
	// Challenge is the client's code_challenge; its method is S256 always (RFC
	// 7636 §4.3).
	Challenge string `json:"challenge"`
	// Scopes are those that are asked for and known here.
	Scopes []string `json:"scopes,omitempty"`
	// Resource is the MCP endpoint that the access is for (RFC 8707), and Tenant
	// and Server what stands there. Server "" is all servers of a person.
	Resource string `json:"resource"`
	Tenant   string `json:"tenant"`
	Server   string `json:"server,omitempty"`
	// Browser is the hash of the browser that brought it: no other one may see
	// it.
	Browser string `json:"browser"`
	// UserID is who allowed it; empty before.
	UserID string `json:"user_id,omitempty"`
	// Servers narrows a request for all servers, as the person's session is.
	Servers []string `json:"servers,omitempty"`
	// FlowID is the flow that makes the connection, ConnectionID the connection
	// that was chosen.
	FlowID       string    `json:"flow_id,omitempty"`
	ConnectionID string    `json:"connection_id,omitempty"`
	Status       Status    `json:"status"`
	CreatedAt    time.Time `json:"created_at"`
	ExpiresAt    time.Time `json:"expires_at"`
	Revision     int64     `json:"revision"`
}

// Grant is what a person allowed a client: the tokens of one authorization. It
// is bound to tenant, user, client, resource and connection, none of which ever
// changes.
type Grant struct {
	ID       string `json:"id"`
	Tenant   string `json:"tenant"`
	UserID   string `json:"user_id"`
	ClientID string `json:"client_id"`
	// ClientName is what the client called itself then. Hostile text.
	ClientName string `json:"client_name,omitempty"`
	// Resource is the audience. Server is empty where it is all servers of the
	// person; Servers then narrows them.
	Resource   string   `json:"resource"`
	Server     string   `json:"server,omitempty"`
	Servers    []string `json:"servers,omitempty"`
	Connection string   `json:"connection,omitempty"`
	Scopes     []string `json:"scopes,omitempty"`
	Code       Code     `json:"code,omitzero"`
	Refresh    Refresh  `json:"refresh,omitzero"`
	// Access are the access tokens that live, oldest first.
	Access    []Access  `json:"access,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	// UsedAt is when the client last got tokens, which one in use does every hour:
	// a bearer's check writes nothing.
	UsedAt time.Time `json:"used_at,omitzero"`
	// ExpiresAt is when the refresh token ends, and before there is one, the code.
	ExpiresAt time.Time `json:"expires_at"`
	Revision  int64     `json:"revision"`
}

// Code is the authorization code, as a hash. It stays after it was taken, so
// that a second use is known for one.
type Code struct {
	Hash        string    `json:"hash"`
	Challenge   string    `json:"challenge"`
	RedirectURI string    `json:"redirect_uri"`
	ExpiresAt   time.Time `json:"expires_at"`
	Taken       bool      `json:"taken,omitempty"`
}

// Refresh is where the rotation of the refresh token stands. An answer may be
// lost on its way: the token that was presented last works until one that came
// of it is used.
type Refresh struct {
	// Family is the hash of the part that all refresh tokens of the grant have in
	// common. Whoever shows it with anything but Last or Next has an old token,
	// and has stolen it, or was robbed: no list of old ones is kept that somebody
	// could fill.
	Family string `json:"family,omitempty"`
	// Last is the hash of the token that was presented last; empty: none yet.
	Last string `json:"last,omitempty"`
	// Next are the hashes of those that were given for it: one, or a few where
	// the client asked again.
	Next []string `json:"next,omitempty"`
}

// Access is an access token, as a hash.
type Access struct {
	Hash      string    `json:"hash"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Consent remembers that a person gave a client access. Connection is by which of
// theirs, so that no other account takes its place unasked.
type Consent struct {
	Tenant      string    `json:"tenant"`
	UserID      string    `json:"user_id"`
	ClientID    string    `json:"client_id"`
	Resource    string    `json:"resource"`
	RedirectURI string    `json:"redirect_uri"`
	Connection  string    `json:"connection,omitempty"`
	Scopes      []string  `json:"scopes,omitempty"`
	At          time.Time `json:"at"`
	ExpiresAt   time.Time `json:"expires_at"`
}

// Store keeps what the authorization server knows. Expired records may be
// returned until they are purged: callers compare ExpiresAt themselves.
type Store interface {
	// AddClient returns ErrExists if the id is taken.
	AddClient(ctx context.Context, c Client) error
	// SaveClient adds the client, or replaces the one of its id.
	SaveClient(ctx context.Context, c Client) error
	// GetClient returns ErrNoClient.
	GetClient(ctx context.Context, id string) (Client, error)
	// RegisteredClients lists those of kind [Registered], by id.
	RegisteredClients(ctx context.Context) ([]Client, error)
	// DeleteClient returns ErrNoClient if there is none.
	DeleteClient(ctx context.Context, id string) error

	// AddRequest returns ErrExists if the id is taken.
	AddRequest(ctx context.Context, r Request) error
	// GetRequest returns ErrNoRequest.
	GetRequest(ctx context.Context, id string) (Request, error)
	// UpdateRequest stores r if the stored revision is still r.Revision, and
	// returns it with the next one; else ErrChanged, or ErrNoRequest.
	UpdateRequest(ctx context.Context, r Request) (Request, error)

	// AddGrant returns ErrExists if the id is taken. That of a deleted grant
	// stays taken until it would have expired.
	AddGrant(ctx context.Context, g Grant) error
	// GetGrant returns ErrNoGrant. It reads what was written last.
	GetGrant(ctx context.Context, id string) (Grant, error)
	// UpdateGrant applies change to the grant as it is, atomically; it may call
	// it several times. An error from change leaves the grant alone and is
	// returned. ErrNoGrant if there is none.
	UpdateGrant(ctx context.Context, id string, change func(*Grant) error) (Grant, error)
	// DeleteGrant ends a grant; ending one that is gone succeeds.
	DeleteGrant(ctx context.Context, id string) error
	// Grants lists those of a user, oldest first.
	Grants(ctx context.Context, tenant, user string) ([]Grant, error)

	// SaveConsent adds or replaces what a user has allowed a client at a
	// resource.
	SaveConsent(ctx context.Context, c Consent) error
	// GetConsent returns ErrNoConsent.
	GetConsent(ctx context.Context, tenant, user, client, resource string) (Consent, error)
	// DeleteUser removes the grants and consents of a user. Having nothing to
	// remove is success.
	DeleteUser(ctx context.Context, tenant, user string) error

	// Spend notes that what works once was used; ErrSpent if it was before. Of
	// any number of callers one succeeds. It is remembered until then.
	Spend(ctx context.Context, what string, until time.Time) error
	// Admit counts one more in the window that ends then, if there have been
	// fewer than most; else ErrTooMany.
	Admit(ctx context.Context, window string, most int, until time.Time) error
}
