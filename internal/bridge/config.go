package bridge

import (
	"log/slog"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// Config is what a [Bridge] needs. Only Start is required.
type Config struct {
	// Start starts a server.
	Start Start
	// PerClient gives each client a server of its own. A modern one is known by
	// its name, see Trusted, and by what of a legacy server's questions it can
	// answer; one without a name by the latter alone.
	PerClient bool
	// Trusted says that the caller knows its clients: [task.ClientHeader] names
	// them, and a session is whatever id comes with [task.SessionHeader], so that
	// it outlives this bridge. Otherwise those headers mean nothing.
	Trusted bool
	// Logger: nil is silent.
	Logger *slog.Logger
	// Started, if set, hears how each start of a server went, initialize
	// included: nil when it is ready. How a [Bridge.Swap] went, its caller hears.
	Started func(error)
	// Listed, if set, hears what a started server offers, and again what of it has
	// changed. It must be quick.
	Listed func(mcp.Catalogue)
	// Result, if set, is shown the answer to each tools/call. It must not keep
	// or change it.
	Result func(raw []byte)
	// Begin, if set, is told which server a tools/call is about to be sent to.
	// What it returns decides what becomes of a first answer that is an error;
	// nil: the client gets it.
	Begin func(Child) Again

	MaxBody      int64         // of a request, in bytes; 8 MiB if 0
	MaxMessage   int           // of a server's message, in bytes; 64 MiB if 0
	MaxSessions  int           // 1000 if 0
	MaxListens   int           // subscriptions of modern clients to a server; 100 if 0
	ListenFor    time.Duration // then a subscription is ended; 30 min if 0
	MaxSuspended int           // calls that wait for what their client is asked; 100 if 0
	SuspendFor   time.Duration // then they are cancelled; 10 min if 0
	IdleAfter    time.Duration // a session unused for so long is dropped; 30 min if 0
	StartTimeout time.Duration // until initialize is answered; 60 s if 0
	Drain        time.Duration // for calls in flight at a swap; 60 s if 0
	Hold         time.Duration // of an answer, until its call is sent again; 10 s if 0
	StreamAfter  time.Duration // a slow answer becomes an event stream; 10 s if 0
	KeepAlive    time.Duration // between comments on a quiet stream; 25 s if 0
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&c.MaxBody, 8<<20)
	orDefault(&c.MaxMessage, 64<<20)
	orDefault(&c.MaxSessions, 1000)
	orDefault(&c.MaxListens, 100)
	orDefault(&c.ListenFor, 30*time.Minute)
	orDefault(&c.MaxSuspended, 100)
	orDefault(&c.SuspendFor, 10*time.Minute)
	orDefault(&c.IdleAfter, 30*time.Minute)
	orDefault(&c.StartTimeout, time.Minute)
	orDefault(&c.Drain, time.Minute)
	orDefault(&c.Hold, 10*time.Second)
	orDefault(&c.StreamAfter, 10*time.Second)
	orDefault(&c.KeepAlive, 25*time.Second)
	return c
}

func orDefault[T ~int | ~int64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
