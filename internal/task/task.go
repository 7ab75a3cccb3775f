// Package task is what mcprun and a runner say to each other: the ticket
// exchange, the recipe for starting an MCP server, the tokens that it may have
// and the reports of how it went.
//
// A task starts with nothing but its id, a ticket and the control URL; a warm
// one gets the ticket later, when there is a connection for it. It
// trades the ticket, once, for a [Claim]; the exchange binds the task to one
// connection until it stops, and its later requests for tokens are authorised
// by that binding. What proves the task's identity is the transport's affair:
// SigV4 with the task role on AWS, a secret made for the process on one
// machine.
package task

import (
	"context"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Rotation is how a renewed access token reaches the running server.
type Rotation string

// The kinds of rotation that a server's preset may name.
const (
	// RotateBroker: the server asks the runner's loopback token endpoint.
	RotateBroker Rotation = "broker"
	// RotateFile: the runner rewrites a credential file that the server re-reads.
	RotateFile Rotation = "file"
	// RotateRestart: the runner starts the server anew between calls.
	RotateRestart Rotation = "restart"
	// RotateNone: nothing to renew (API keys, servers without credentials).
	RotateNone Rotation = "none"
)

// ClientsEach gives every MCP client a child of its own; the default, shared,
// gives all clients of a connection one child.
const (
	ClientsShared = "shared"
	ClientsEach   = "each"
)

// Headers by which mcprun tells a runner on each MCP request whose it is.
const (
	// ClientHeader is an opaque and stable name of the client.
	ClientHeader = "Lanyard-Client"
	// SessionHeader stands beside the id of a session: base64url of the JSON
	// params with which the client initialized it.
	SessionHeader = "Lanyard-Session"
)

// Recipe is how one MCP server is started. It holds no secret.
type Recipe struct {
	// Server is the preset's name.
	Server string `json:"server"`
	// Command is the program and its arguments, parameters filled in.
	Command []string `json:"command"`
	// Env is the preset's fixed environment, parameters filled in.
	Env map[string]string `json:"env,omitempty"`
	// Mapping is oauth_to_env_mapping: token field → environment variable. A
	// field is access_token, NAME.access_token, expires_at, a metadata path
	// (team.id), value.NAME, or credential_files.NAME (the file's path).
	Mapping map[string]string `json:"mapping,omitempty"`
	// Files are the preset's credential_files by name.
	Files map[string]File `json:"files,omitempty"`
	// Parameters are what the person was asked before connecting.
	Parameters map[string]string `json:"parameters,omitempty"`
	Rotation   Rotation          `json:"rotation"`
	Clients    string            `json:"clients,omitempty"`
	// AuthFailure are texts in a tool result that hint at a dead credential.
	AuthFailure []string `json:"auth_failure,omitempty"`
	// OldTokenDies: at the provider a renewal ends the access token before it at
	// once, so that calls under way with it fail.
	OldTokenDies bool `json:"old_token_dies,omitempty"`
}

// File is a credential file: a Go text/template over [Recipe] and token data.
type File struct {
	// Path is relative to the task's private HOME; empty: the runner chooses.
	Path     string `json:"path,omitempty"`
	Template string `json:"template"`
}

// ClaimRequest trades a ticket.
type ClaimRequest struct {
	TaskID string       `json:"task_id"`
	Ticket token.Secret `json:"ticket"`
	// Address is where the runner listens, host:port.
	Address string `json:"address"`
	// KeyFingerprint is the lower-case hex SHA-256 of the
	// SubjectPublicKeyInfo of the certificate that the runner serves.
	KeyFingerprint string `json:"key_fingerprint"`
}

// Claim is what a ticket is worth.
type Claim struct {
	Connection string `json:"connection"`
	Generation int64  `json:"generation"`
	// Bearer is what mcprun presents on each request to this task.
	Bearer token.Secret `json:"bearer"`
	Recipe Recipe       `json:"recipe"`
	Access token.Access `json:"access"`
	// ReconnectURL is the page on which the person connects anew.
	ReconnectURL string `json:"reconnect_url,omitempty"`
}

// WarmRequest says that a task which has no ticket yet is up. Address and
// KeyFingerprint are those of [ClaimRequest].
type WarmRequest struct {
	TaskID         string `json:"task_id"`
	Address        string `json:"address"`
	KeyFingerprint string `json:"key_fingerprint"`
}

// Warm answers it: who assigns a ticket to the task will show the bearer.
type Warm struct {
	Bearer token.Secret `json:"bearer"`
}

// Assignment is what a warm task is sent, once.
type Assignment struct {
	Ticket token.Secret `json:"ticket"`
}

// TokenRequest asks for tokens that live at least MinTTL.
type TokenRequest struct {
	TaskID string `json:"task_id"`
	// MinTTL is in seconds.
	MinTTL int `json:"min_ttl"`
	// Suspect says that the server seems to have been refused with the token
	// that it has: a hint, which the far side checks at a limited rate. MinTTL
	// means nothing then.
	Suspect bool `json:"suspect,omitempty"`
	// Refused is, with Suspect, the [token.Access.Hash] of what the server was
	// refused with: where that is the current set no more, there is nothing to
	// check.
	Refused string `json:"refused,omitempty"`
}

// State is a step in a task's life.
type State string

// The states that a runner reports.
const (
	Ready   State = "ready"
	Failed  State = "failed"
	Stopped State = "stopped"
)

// Report tells how the server is doing.
type Report struct {
	TaskID string `json:"task_id"`
	State  State  `json:"state"`
	// Detail is for a person: what happened and the redacted tail of the
	// server's standard error. It is hostile text.
	Detail string    `json:"detail,omitempty"`
	At     time.Time `json:"at,omitzero"`
	// Catalogue is what the server offers, in a report that follows its start
	// when that is known, and in one more whenever it has changed. It is the
	// server's word.
	Catalogue *mcp.Catalogue `json:"catalogue,omitempty"`
}

// Control is the runner's side of the line to mcprun.
type Control interface {
	// Claim trades the ticket. A second claim of one ticket fails.
	Claim(ctx context.Context, r ClaimRequest) (Claim, error)
	// Token returns access tokens that live at least as long as asked, or an
	// error that wraps [ErrReconnect] when only the person can help.
	Token(ctx context.Context, r TokenRequest) (token.Access, error)
	// Report is best effort.
	Report(ctx context.Context, r Report) error
}
