package host

import (
	"context"
	"errors"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// Errors of the host's stores.
var (
	// ErrNoTask: the connection has no task, or it has ended.
	ErrNoTask = errors.New("no such task")
	// ErrRunning: the connection has a live task already.
	ErrRunning = errors.New("the connection has a task already")
	// ErrNoToken: the bearer is not one of ours, or was revoked.
	ErrNoToken = errors.New("no such MCP token")
	// ErrExists: a record of that key is there already.
	ErrExists = errors.New("the record exists already")
)

// TaskState is how far a task has come.
type TaskState string

// The states of a task. A task that ended has no record.
const (
	TaskStarting TaskState = "starting"
	TaskClaimed  TaskState = "claimed" // the ticket was traded; the server starts
	TaskReady    TaskState = "ready"
	TaskFailed   TaskState = "failed"
)

// Task is one running MCP server: at most one a connection.
type Task struct {
	ID         string         `json:"id"`
	Connection connection.Key `json:"connection"`
	Server     string         `json:"server"`
	// Generation counts the tasks of a connection; the task's bearer names it.
	Generation int64     `json:"generation"`
	State      TaskState `json:"state"`
	// TicketHash is empty once the ticket was traded.
	TicketHash    string    `json:"ticket_hash,omitempty"`
	TicketExpires time.Time `json:"ticket_expires,omitzero"`
	// IdentityHash is the hash of what the task proves itself with where there
	// is no SigV4.
	IdentityHash string `json:"identity_hash,omitempty"`
	// Address and KeyFingerprint are what the runner registered.
	Address        string `json:"address,omitempty"`
	KeyFingerprint string `json:"key_fingerprint,omitempty"`
	// Detail says why it failed; hostile text.
	Detail     string    `json:"detail,omitempty"`
	StartedAt  time.Time `json:"started_at"`
	LastUsedAt time.Time `json:"last_used_at"`
	// CheckedAt is when the provider was last asked because the server seemed
	// to be refused.
	CheckedAt time.Time `json:"checked_at,omitzero"`
	// Failures is how many tasks of the connection have failed on end, this one
	// included once it has. RetryAt is when a failed one may be replaced.
	Failures int       `json:"failures,omitempty"`
	RetryAt  time.Time `json:"retry_at,omitzero"`
	// Gone: the process of a failed task has ended, or was told to.
	Gone bool `json:"gone,omitempty"`
}

// bound reports whether the task has traded its ticket.
func (t Task) bound() bool { return t.Address != "" }

// MCPToken is a bearer for one connection's MCP endpoint. Only its hash is
// kept.
type MCPToken struct {
	ID         string         `json:"id"`
	Hash       string         `json:"hash"`
	Connection connection.Key `json:"connection"`
	UserID     string         `json:"user_id"`
	// Server is the audience: the token is good for /mcp/{Server} alone. Empty:
	// for /mcp alone, and Connection is [ForUser].
	Server string `json:"server"`
	// Servers narrows a token for /mcp to these; none: all that the user has.
	Servers   []string  `json:"servers,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Store keeps tasks and MCP tokens.
type Store interface {
	// BeginTask makes t the task of its connection, atomically: of any number
	// of callers one begins it, the others get the live task and ErrRunning.
	// A failed task is replaced. The generation is one more than any that the
	// connection's tasks had before. ErrExists if another connection's task
	// has the id.
	BeginTask(ctx context.Context, t Task) (Task, error)
	// GetTask and TaskOf return ErrNoTask.
	GetTask(ctx context.Context, id string) (Task, error)
	TaskOf(ctx context.Context, k connection.Key) (Task, error)
	// UpdateTask applies change to the task as it is, atomically; it may call
	// it several times. An error from change leaves the task alone; what it
	// does to ID and Connection is not kept. ErrNoTask as GetTask.
	UpdateTask(ctx context.Context, id string, change func(*Task) error) (Task, error)
	// EndTask removes the task; removing one that is gone succeeds.
	EndTask(ctx context.Context, id string) error
	// Tasks lists all tasks there are.
	Tasks(ctx context.Context) ([]Task, error)

	// PutMCPToken returns ErrExists if the id or the hash is taken. Those of a
	// deleted token stay taken until it would have expired or longer, so that a
	// repeated request cannot bring it back.
	PutMCPToken(ctx context.Context, t MCPToken) error
	// MCPTokenByHash returns ErrNoToken. It may return an expired one.
	MCPTokenByHash(ctx context.Context, hash string) (MCPToken, error)
	// MCPTokens lists those of a connection, oldest first.
	MCPTokens(ctx context.Context, k connection.Key) ([]MCPToken, error)
	// DeleteMCPToken returns ErrNoToken if the connection has none of that id.
	DeleteMCPToken(ctx context.Context, k connection.Key, id string) error
	// DeleteMCPTokens removes all of a connection's.
	DeleteMCPTokens(ctx context.Context, k connection.Key) error
}
