// Package runner is what runs inside a task: it starts one connection's MCP
// server, gives it the access that it may have, and serves it to mcprun.
//
//	listen     TLS with a key made for this task
//	wait       a warm task alone: for its ticket                warm
//	claim      the ticket → recipe, access tokens, bearer
//	prepare    private HOME, credential files, environment      home, render
//	serve      /mcp: bearer → bridge → the server's stdio       serve
//	renew      before the access token expires, by rotation:    rotate
//	           broker   the server asks the loopback endpoint   broker
//	           file     its credential file is replaced
//	           restart  a second server is started and swapped in
//	repeat     a call that a renewal made fail, once:           again
//	end        the process group is killed, the HOME removed
//
// The runner never sees a refresh token or a client secret, and what it hands
// to the server is all that the server gets: nothing of the runner's own
// environment. Errors and reports carry the end of what the server printed,
// without the secrets.
package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyardhq/lanyard/internal/bridge"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

const (
	// reportTimeout bounds a report, which is best effort.
	reportTimeout = 10 * time.Second
	// perClientSessions bounds the servers of a task with one for each client.
	perClientSessions = 64
	// idleSession is how long a session lasts that nobody uses: as long as mcprun,
	// unless it is told otherwise, leaves a whole task that nobody uses. mcprun
	// describes it again when its client comes back.
	idleSession = 10 * time.Minute
)

// Config is what a task starts with. TaskID, Ticket and Control are required.
type Config struct {
	TaskID  string
	Ticket  token.Secret
	Control task.Control
	// Register, if set, makes it a warm task: instead of having a ticket it tells
	// mcprun that it is up, and waits for one.
	Register func(context.Context, task.WarmRequest) (task.Warm, error)
	// Listen is where to serve; "127.0.0.1:0" if empty.
	Listen string
	// Advertise is the host at which mcprun reaches Listen; empty: the host of
	// Listen.
	Advertise string
	// Dir is where the task's private directory is made; a tmpfs is best. The
	// system's directory for temporary files if empty.
	Dir string
	// UID and GID, if UID is not 0, are who the server runs as. The runner must
	// be root then.
	UID, GID uint32
	// Sandbox, if set, is a program with arguments that runs [SandboxMain].
	Sandbox []string
	// Read lists what a sandboxed server may read besides the system's
	// directories and its own package.
	Read []string
	// Path and Lang are the server's PATH and LANG.
	Path, Lang string
	// ExtraEnv is given to the server in addition: a proxy, a CA file.
	ExtraEnv map[string]string
	// Lifeline, if set, ends the task when it does: the standard input that a
	// parent holds open.
	Lifeline io.Reader
	// Logger: nil is silent.
	Logger *slog.Logger
}

var errLifeline = errors.New("the parent process is gone")

// run is one task under way.
type run struct {
	cfg    Config
	log    *slog.Logger
	claim  task.Claim
	cred   *credentials
	home   *home
	broker *broker
	bridge *bridge.Bridge
	// reports are sent in order by one goroutine, so that none holds up a call.
	reports chan task.Report
	hints   chan struct{}
	doubts  *doubts
	// brought is the edition of the access that was last brought to the servers;
	// only rotate writes it.
	brought atomic.Int64
	// files lets one at a time write the credential files, with the set that is
	// current then: an older one must not be the last.
	files sync.Mutex
}

// Run runs a task until ctx ends, the lifeline ends or mcprun refuses the task;
// only the last is an error. When it returns, nothing of the task is left.
func Run(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if cfg.Lifeline != nil {
		go func() {
			_, _ = io.Copy(io.Discard, cfg.Lifeline)
			cancel(errLifeline)
		}()
	}
	r := &run{cfg: cfg, log: cfg.Logger, reports: make(chan task.Report, 16), hints: make(chan struct{}, 1), doubts: newDoubts()}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	id, err := newIdentity()
	if err != nil {
		return fmt.Errorf("make the task's key: %w", err)
	}
	listen := cfg.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer ln.Close()
	address := advertised(ln.Addr(), cfg.Advertise)
	if cfg.Register != nil {
		cfg.Ticket, err = r.wait(ctx, ln, id, address)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for a ticket: %w", err)
		}
	}
	r.claim, err = cfg.Control.Claim(ctx, task.ClaimRequest{
		TaskID: cfg.TaskID, Ticket: cfg.Ticket, Address: address, KeyFingerprint: id.fingerprint,
	})
	if err != nil {
		return fmt.Errorf("claim the ticket: %w", err)
	}
	if err := r.check(); err != nil {
		r.report(ctx, task.Failed, err.Error())
		return err
	}
	return r.work(ctx, cancel, ln, id)
}

// check refuses a claim that could only fail in obscure ways later.
func (r *run) check() error {
	switch {
	case r.claim.Bearer == "":
		return errors.New("the claim has no bearer")
	case len(r.claim.Recipe.Command) == 0:
		return errors.New("the recipe has no command")
	}
	switch r.claim.Recipe.Rotation {
	case task.RotateBroker, task.RotateFile, task.RotateRestart, task.RotateNone:
		return nil
	}
	return fmt.Errorf("the recipe's rotation %q is none of broker, file, restart and none", r.claim.Recipe.Rotation)
}

// work is the life of a claimed task.
func (r *run) work(ctx context.Context, cancel context.CancelCauseFunc, ln net.Listener, id *identity) (err error) {
	r.cred = newCredentials(r.cfg.Control, r.cfg.TaskID, r.claim)
	defer func() {
		// Best effort, and by a context that is not over.
		stop, done := context.WithTimeout(context.WithoutCancel(ctx), reportTimeout)
		defer done()
		detail := ""
		if err != nil {
			detail = r.redact(err.Error())
		}
		r.report(stop, task.Stopped, detail)
	}()
	if r.home, err = newHome(r.cfg.Dir, r.cfg.UID, r.cfg.GID); err != nil {
		return fmt.Errorf("make the task's private directory: %w", err)
	}
	defer r.home.remove()
	if r.claim.Recipe.Rotation == task.RotateBroker {
		if r.broker, err = newBroker(r.cred); err != nil {
			return fmt.Errorf("start the token endpoint: %w", err)
		}
		r.cred.guard(r.broker.secret, r.broker.handle)
		defer r.broker.close()
	}
	r.bridge = bridge.New(r.bridgeConfig())
	defer r.bridge.Close()

	srv := r.server(id)
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(ln, "", "") }()
	defer srv.Close()
	go r.sendReports(ctx)
	go func() {
		if err := r.rotate(ctx); err != nil {
			cancel(err)
		}
	}()
	if r.claim.Recipe.Clients == task.ClientsEach {
		r.started(nil) // its servers start with their clients
	} else {
		go func() { _ = r.bridge.Warm(ctx) }() // started hears how it went
	}
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	if cause := context.Cause(ctx); errors.Is(cause, task.ErrRefused) {
		return cause
	}
	return nil
}

func (r *run) bridgeConfig() bridge.Config {
	c := bridge.Config{
		Start:     r.start,
		PerClient: r.claim.Recipe.Clients == task.ClientsEach,
		Trusted:   true, // authorized: it is mcprun
		Logger:    r.log,
		Started:   r.started,
		Listed:    r.listed,
		IdleAfter: idleSession,
	}
	if c.PerClient {
		c.MaxSessions = perClientSessions
	}
	if hint := newHint(r.claim.Recipe.AuthFailure); hint != nil {
		c.Begin = func(s bridge.Child) bridge.Again { return r.again(s, hint) }
		c.Result = func(raw []byte) {
			if !hint.in(raw) {
				return
			}
			select {
			case r.hints <- struct{}{}:
			default: // one is waiting already
			}
		}
	}
	return c
}

// start starts the server with the access that is current now.
func (r *run) start(ctx context.Context) (bridge.Child, error) {
	access, edition, err := r.writeCurrent()
	if err != nil {
		return nil, err
	}
	env, err := r.environment(access)
	if err != nil {
		return nil, err
	}
	c, err := bridge.Command{
		Args: r.claim.Recipe.Command, Shim: r.sandbox(), Env: env, Dir: r.home.work,
		UID: r.cfg.UID, GID: r.cfg.GID, Bounded: true, Secrets: r.cred.secrets,
	}.Start(ctx)
	if err != nil {
		return nil, err
	}
	return newServer(c, edition), nil
}

// started reports how a start of the server went.
func (r *run) started(err error) {
	report := r.ready()
	if err != nil {
		report = task.Report{State: task.Failed, Detail: r.redact(err.Error())}
	}
	r.enqueue(report)
}

// listed reports what the server offers.
func (r *run) listed(c mcp.Catalogue) {
	report := r.ready()
	report.Catalogue = &c
	r.enqueue(report)
}

// ready is the report of a server that runs, and of what ails it.
func (r *run) ready() task.Report {
	report := task.Report{State: task.Ready}
	if r.doubts.hopeless() {
		report.Detail = "the access cannot be renewed: " + task.ErrReconnect.Error()
	}
	return report
}

func (r *run) redact(s string) string { return bridge.Redact(s, r.cred.secrets()) }

func (r *run) enqueue(report task.Report) {
	select {
	case r.reports <- report:
	default:
		r.log.Warn("too many reports wait; one is lost", "state", report.State)
	}
}

func (r *run) sendReports(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case report := <-r.reports:
			r.send(ctx, report)
		}
	}
}

func (r *run) report(ctx context.Context, state task.State, detail string) {
	r.send(ctx, task.Report{State: state, Detail: detail})
}

func (r *run) send(ctx context.Context, report task.Report) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	report.TaskID, report.At = r.cfg.TaskID, time.Now()
	if err := r.cfg.Control.Report(ctx, report); err != nil && ctx.Err() == nil {
		r.log.WarnContext(ctx, "the report was not taken", "state", report.State, "err", err)
	}
}
