// Package bridge lets clients of MCP's Streamable HTTP transport talk to a
// server that speaks MCP over standard input and output.
//
//	POST   initialize     a session; the server is started if it does not run
//	       request        → id rewritten → the server's stdin
//	                      ← its answer, as JSON; as an event stream when
//	                        progress comes first or the answer takes long
//	       notification,  → the server; 202
//	       response
//	GET                   the session's stream of what the server says by itself
//	DELETE                the end of the session
//	POST   of a client of the modern era, which has no sessions:
//	       request        → as it is to a server that knows that era, translated
//	                        to one that does not
//	       subscriptions/listen   a stream of what the server says by itself
//
// By default all clients share one server (of each era that they speak): ids and
// progress tokens are rewritten, so that two clients may use the same ones, and
// what the server says without being asked goes to every session. A shared
// server is told that its client has no capabilities, because its own requests
// could not be attributed. With [Config.PerClient] each session has a server of
// its own, which may ask the client back, and so has each modern client of a
// server that does not know its era; that one is asked by answers.
//
// A tools/call whose answer is an error may be sent a second time, see
// [Config.Begin], if its tool declares itself read-only or idempotent; the
// client then gets the second answer, and never learns of the first.
//
// The bridge looks at a message's envelope only, and at whether a tool's result
// is an error; the rest passes byte for byte, where nothing is translated.
//
// It speaks the revisions 2025-03-26 to 2025-11-25 of MCP, which have sessions,
// and 2026-07-28, the modern one
// (https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http).
package bridge

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// swapsAtOnce is how many servers of a [Bridge.Swap] start at the same time.
const swapsAtOnce = 4

var (
	errClosed = errors.New("the bridge is closed")
	errFull   = errors.New("too many sessions are in use")
	errOther  = errors.New("the session is another client's")
)

// Bridge is an [http.Handler] for one path.
type Bridge struct {
	cfg Config
	// life ends with Close. It belongs to the servers, which outlive the
	// requests that start them.
	life   context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	// shared is the initialized server of all sessions; nil if each has its own.
	// modern is the server of all modern clients, where it knows their era.
	shared, modern *backend
	lists          *lists
	eras           *eras
	waits          suspended
	states         states
	// looking is held by who waits for an answer without sleeping.
	looking sync.Mutex

	mu       sync.RWMutex
	start    Start
	sessions map[string]*session
	// guests stand in for the sessions of modern clients, see [Bridge.guest].
	guests map[string]*session
	closed bool
}

// New returns a bridge; end it with [Bridge.Close]. No server is started yet.
func New(cfg Config) *Bridge {
	b := &Bridge{cfg: cfg.withDefaults(), start: cfg.Start, sessions: map[string]*session{}, guests: map[string]*session{}, lists: newLists(), eras: newEras(),
		waits: suspended{calls: map[string]*waiting{}}, states: newStates()}
	b.life, b.cancel = context.WithCancel(context.Background())
	b.modern = newBackend(b, nil, nil)
	b.modern.modern = true
	if !cfg.PerClient {
		b.shared = newBackend(b, nil, defaultParams)
	}
	b.tasks.Go(b.sweep)
	b.tasks.Go(b.gather)
	return b
}

// Warm starts the shared server before the first client comes. It has no
// effect with [Config.PerClient].
func (b *Bridge) Warm(ctx context.Context) error {
	if b.shared == nil {
		return nil
	}
	_, err := b.shared.acquire(ctx)
	if errors.Is(err, errModernOnly) {
		_, err = b.modern.acquire(ctx)
	}
	return err
}

// Swap replaces every running server by one that start starts, and uses start
// from now on. Calls in flight finish on the old server, at most
// [Config.Drain]; sessions stay. With hold, new calls wait for the new server;
// without, the old one answers them until the new one is ready. On an error the
// old servers stay.
func (b *Bridge) Swap(ctx context.Context, start Start, hold bool) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return errClosed
	}
	b.tasks.Add(1)
	defer b.tasks.Done()
	b.start = start
	backends := []*backend{b.modern}
	if b.shared != nil {
		backends = append(backends, b.shared)
	} else {
		for _, all := range []map[string]*session{b.sessions, b.guests} {
			for _, s := range all {
				backends = append(backends, s.backend)
			}
		}
	}
	b.mu.Unlock()
	// One after the other would keep the last ones waiting, all at once would
	// take twice the memory.
	errs, slots := make([]error, len(backends)), make(chan struct{}, swapsAtOnce)
	var wg sync.WaitGroup
	for i, k := range backends {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = k.swap(ctx, hold)
			<-slots
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close ends every session and server and waits until they are gone.
func (b *Bridge) Close() {
	b.mu.Lock()
	again := b.closed
	b.closed = true
	all := append(slices.Collect(maps.Values(b.sessions)), slices.Collect(maps.Values(b.guests))...)
	b.sessions, b.guests = map[string]*session{}, map[string]*session{}
	b.mu.Unlock()
	b.cancel()
	b.waits.close()
	for _, s := range all {
		b.tasks.Go(s.end)
	}
	for _, k := range []*backend{b.modern, b.shared} {
		if k != nil && !again {
			k.everyone.end()
			k.close()
		}
	}
	b.tasks.Wait()
}

func (b *Bridge) starter() Start {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.start
}

// ServeHTTP implements [http.Handler].
func (b *Bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		b.post(w, r)
	case http.MethodGet, http.MethodDelete:
		if mcp.IsModern(r.Header.Get(mcp.VersionHeader)) {
			w.Header().Set("Allow", "POST")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		s := b.sessionOf(w, r, nil)
		if s == nil {
			return
		}
		if r.Method == http.MethodDelete {
			b.drop(s)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		b.listen(w, r, s)
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// open returns the session of this client with this id, and makes it if there
// is none.
func (b *Bridge) open(id, client string, params []byte) (*session, error) {
	s := &session{id: id, client: client, backend: b.shared, box: newMailbox(), gone: make(chan struct{})}
	if b.shared == nil {
		s.backend = newBackend(b, s, params)
	} else {
		b.shared.offer(params)
	}
	known, err := b.admit(s)
	if err == nil && known.client != client {
		return nil, errOther
	}
	return known, err
}

// admit adds a session, or returns the one that has its id. Where there are as
// many as there may be, the one that nobody has used for the longest time ends:
// most clients go without a word.
func (b *Bridge) admit(s *session) (*session, error) {
	s.touch()
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, errClosed
	}
	of := b.kind(s)
	if known := of[s.id]; known != nil {
		known.touch()
		b.mu.Unlock()
		return known, nil
	}
	var idle *session
	if len(b.sessions)+len(b.guests) >= b.cfg.MaxSessions {
		if idle = b.idlest(); idle == nil {
			b.mu.Unlock()
			return nil, errFull
		}
		delete(b.kind(idle), idle.id)
		b.tasks.Add(1)
		defer b.tasks.Done()
	}
	of[s.id] = s
	b.mu.Unlock()
	if idle != nil {
		idle.end() // and its server, before the new one has its own
	}
	return s, nil
}

// kind is where a session is kept. b.mu is held.
func (b *Bridge) kind(s *session) map[string]*session {
	if s.offers != nil {
		return b.guests
	}
	return b.sessions
}

// idlest is the session without a request under way that was used last before
// all others; nil: there is none. b.mu is held.
func (b *Bridge) idlest() (least *session) {
	for _, all := range []map[string]*session{b.sessions, b.guests} {
		for _, s := range all {
			if s.busy.Load() == 0 && (least == nil || s.used.Load() < least.used.Load()) {
				least = s
			}
		}
	}
	return least
}

// drop ends a session. It may be called more than once.
func (b *Bridge) drop(s *session) {
	b.mu.Lock()
	if of := b.kind(s); of[s.id] == s {
		delete(of, s.id)
		b.tasks.Go(s.end)
	}
	b.mu.Unlock()
}

// sweep drops sessions that nobody uses.
func (b *Bridge) sweep() {
	tick := time.NewTicker(b.cfg.IdleAfter / 4)
	defer tick.Stop()
	for {
		select {
		case <-b.life.Done():
			return
		case <-tick.C:
		}
		b.mu.RLock()
		var idle []*session
		for _, all := range []map[string]*session{b.sessions, b.guests} {
			for _, s := range all {
				if s.idleFor() >= b.cfg.IdleAfter {
					idle = append(idle, s)
				}
			}
		}
		b.mu.RUnlock()
		for _, s := range idle {
			b.drop(s)
		}
	}
}

func (b *Bridge) eachSession(visit func(*session)) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, s := range b.sessions {
		visit(s)
	}
}
