// Package host is everything between an MCP client and a running server: the
// MCP endpoint, its bearer tokens, and the tasks behind it.
//
//	request ─► bearer → MCP token → connection ─► its task, started if need be
//	                                                 │ TLS pinned to the key that
//	                                                 │ the runner registered
//	                                                 ▼
//	runner ─► claim (ticket, once) ─► recipe and access tokens; later: tokens
//
// A task is bound to one connection by its ticket and gets access tokens only;
// they come from package refresh, which alone opens the vault.
package host

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// Errors of the host.
var (
	// ErrNotConnected: the connection cannot be used now; the text says why.
	ErrNotConnected = errors.New("the connection cannot be used")
	// ErrStarting: the server is still starting; ask again.
	ErrStarting = errors.New("the server is still starting")
	// ErrServerFailed wraps why a server did not start.
	ErrServerFailed = errors.New("the server failed to start")
	// ErrLost: the task went away while it had the request, so nobody knows what
	// became of it.
	ErrLost = errors.New("the connection to the server was lost during the request")
	// ErrNotHosted: the preset's server is not one that is run here.
	ErrNotHosted = errors.New("this server is not hosted")
)

// Times of a task's life.
const (
	ticketTTL    = 5 * time.Minute
	startTimeout = 5 * time.Minute
	// waitForTask is below what MCP clients wait for an answer.
	waitForTask = 45 * time.Second
	// orphanAge is well after a task's record was written.
	orphanAge    = 2 * time.Minute
	usedEvery    = 20 * time.Second
	checkEvery   = 30 * time.Second
	pollInterval = 50 * time.Millisecond
)

// Tokens hands out access tokens: package refresh.
type Tokens interface {
	Token(ctx context.Context, caller vault.Caller, k connection.Key, minTTL time.Duration, purpose string) (token.Access, connection.Connection, error)
	Check(ctx context.Context, caller vault.Caller, k connection.Key, d refresh.Doubt, purpose string) (token.Access, connection.Connection, error)
}

// Installer makes a server's program ready and returns where it is.
type Installer interface {
	Ensure(ctx context.Context, s presets.Server) (dir string, err error)
}

// Start is what a task starts with. Nothing in it is worth anything once the
// ticket was traded, but Identity, which stands in for SigV4 on one machine.
type Start struct {
	TaskID string
	// Connection is whose task it is: for people who look at the platform.
	Connection connection.Key
	Ticket     token.Secret
	// Warm: it starts for nobody yet, and waits for its ticket.
	Warm bool
	// Identity is empty where the platform vouches for its tasks.
	Identity   token.Secret
	ControlURL string
	Server     presets.Server
}

// Launcher starts and stops tasks.
type Launcher interface {
	// Launch returns when the task is on its way; the task reports the rest.
	Launch(ctx context.Context, s Start) error
	// Stop ends a task that this launcher started; others it ignores.
	Stop(ctx context.Context, taskID string) error
}

// Roll is a launcher that can say which tasks there are, whoever started them:
// one whose tasks outlive the process that did.
type Roll interface {
	// Started returns the ids of the tasks that were started before then and
	// still run. It may lag behind.
	Started(ctx context.Context, before time.Time) ([]string, error)
}

// Service runs the tasks and speaks for them.
type Service struct {
	Store       Store
	Connections connection.Store
	Tokens      Tokens
	Catalogue   flow.Catalogue
	// SignIns knows the clients that have signed in; nil: none can. Asker makes the
	// links by which their persons are asked in the middle of a conversation; nil:
	// they are told where their pages are.
	SignIns   SignIns
	Asker     Asker
	Installer Installer
	Launcher  Launcher
	// Catalogues keeps what servers say of themselves. Nil: only this process does.
	Catalogues Catalogues
	// BearerKey is what the tasks' bearers are derived from, and the key of
	// sessions.
	BearerKey []byte
	// BaseURL is the public URL; ControlURL is what tasks call.
	BaseURL, ControlURL string
	Deployment          map[string]string
	// Vouch asks the platform whether the identity that a caller proved is that
	// of this task. Nil: a task proves itself with [Start.Identity].
	Vouch func(ctx context.Context, taskID, identity string) (bool, error)
	// AllowLoopback lets remote servers be on this machine, by plain http: for one
	// machine, and for emulators.
	AllowLoopback bool
	// Relay sends a request to a remote server from where there is a way out; what
	// it is given, [Service.ServeRelayed] takes there. Nil: from here.
	Relay func(ctx context.Context, call []byte) ([]byte, error)
	// StepUp answers a client that has signed in with 403 where scopes are missing;
	// without it, with a result: where the platform takes the challenge out of a
	// function's own answer.
	StepUp bool
	// Inline does what a request begins before it is answered: for a process
	// that stands still between requests.
	Inline bool
	// Pool keeps tasks that wait for a connection, as many of each server as Warm
	// says. Nil: none wait. It needs Vouch.
	Pool Pool
	Warm map[string]int
	// OnlyForCalls: a task is started by what needs it alone, and not already when
	// a client begins or asks what there is.
	OnlyForCalls bool
	// IdleStop is how long a task lives without a request, MaxLife how long with
	// any number of them; 0: [DefaultMaxLife].
	IdleStop, MaxLife time.Duration
	Now               func() time.Time
	Logger            *slog.Logger

	links    links   // to the tasks
	remotes  remotes // servers
	memory   memory  // of what servers say of themselves
	sessions sealer  // of clients of the era that has sessions
	states   sealer  // of requests whose person is asked
	departed ended   // those of them that are over
	pending  pending // requests whose task starts
	// patience stands for lookAfter in tests.
	patience time.Duration
}

// background runs f, beside the request that begins it where that is possible.
func (s *Service) background(f func()) {
	if s.Inline {
		f()
		return
	}
	go f()
}

// taskBearer names connection, task and generation, so that an address used
// again by another task accepts nothing that was meant for this one.
func (s *Service) taskBearer(t Task) token.Secret {
	mac := hmac.New(sha256.New, s.BearerKey)
	fmt.Fprintf(mac, "%s\x00%s\x00%s\x00%d", t.Connection.Tenant, t.Connection.ID, t.ID, t.Generation)
	return token.Secret(base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
}

// connection returns the caller's connection if it can be used.
func (s *Service) connection(ctx context.Context, caller vault.Caller, k connection.Key) (connection.Connection, error) {
	c, err := s.Connections.Get(ctx, k)
	if err != nil {
		return c, err
	}
	if !caller.May(c) || c.Status == connection.Deleting {
		return c, connection.ErrNotFound
	}
	switch c.Status {
	case connection.Pending:
		return c, fmt.Errorf("%w: %w", ErrNotConnected, refresh.ErrPending)
	case connection.ReconnectNeeded:
		return c, fmt.Errorf("%w: %w", ErrNotConnected, refresh.ErrReconnect)
	}
	return c, nil
}
