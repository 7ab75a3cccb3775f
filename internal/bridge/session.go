package bridge

import (
	"sync"
	"sync/atomic"
	"time"
)

// session is one client's.
type session struct {
	id string
	// client is the name of [task.ClientHeader]; empty: nobody vouches for one.
	client string
	// offers is what a modern client offers, whose session this only stands in
	// for; nil: it is a session.
	offers  *offered
	backend *backend
	// box holds what the server says by itself until the GET stream takes it.
	box  *mailbox
	gone chan struct{}
	// busy counts open requests and streams; used is when the last one began or
	// ended, in Unix nanoseconds.
	busy atomic.Int32
	used atomic.Int64

	mu sync.Mutex
	// trials are the calls that may be sent a second time.
	trials map[*trial]bool
	// replaced is closed when another GET stream takes over; nil without one.
	replaced chan struct{}
}

func (s *session) touch() { s.used.Store(time.Now().UnixNano()) }

// begin marks the session as in use until the function that it returns is
// called.
func (s *session) begin() func() {
	s.busy.Add(1)
	s.touch()
	return func() {
		s.touch()
		s.busy.Add(-1)
	}
}

// idleFor is how long nobody has used the session.
func (s *session) idleFor() time.Duration {
	if s.busy.Load() > 0 {
		return 0
	}
	return time.Since(time.Unix(0, s.used.Load()))
}

// attach makes the caller the one that listens, in place of whoever did: a
// client that lost its connection comes back before we notice the loss.
func (s *session) attach() (replaced chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.replaced != nil {
		close(s.replaced)
	}
	s.replaced = make(chan struct{})
	return s.replaced
}

func (s *session) detach(mine chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.replaced == mine {
		s.replaced = nil
	}
}

func (s *session) listening() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replaced != nil
}

// end tells the session's handlers to return and stops a server of its own.
// [Bridge.drop] and [Bridge.Close] see to it that it runs once.
func (s *session) end() {
	close(s.gone)
	if s.backend.owner == s {
		s.backend.close()
	}
}
