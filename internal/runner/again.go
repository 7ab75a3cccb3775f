package runner

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyardhq/lanyard/internal/bridge"
	"github.com/lanyardhq/lanyard/internal/task"
)

// Where a renewal ends the old access token at once, the calls under way with
// it fail, and so does the next one of a server that remembers its token. Their
// clients need not notice, where a second call does no harm: the answer is held,
// mcprun is asked, the new token is brought to the server and the same call is
// sent to it once more. Where nobody but the person can help, the answer goes
// out with the link to do so.
//
//	answer: an error that looks like a refusal ──► newer token brought already? ─┐
//	                │ no                                                         │ yes
//	                ▼                                                            ▼
//	one question for all who wait ──► the same token: the answer goes out     once more, if the
//	                │                 another: it is brought to the server ──► tool is repeatable
//	                └► reconnect: the answer goes out, and the link
//
// The answer is hostile text: a server can write what it likes, and what it
// passes on may be written by anybody. So it decides nothing. It makes us ask,
// at the rate of [doubts], and mcprun asks the provider at a rate of its own.
// A second try takes a renewal that really happened: another access token, from
// mcprun, since the call's server was last given one. A call is therefore
// repeated at most once, and never without a renewal; the first repeat after a
// renewal ends that renewal's worth for the calls that the server gets later.
// What is left to a hostile server is to see twice a call that it could as well
// have made twice by itself.

// server is a running server and the newest edition of the access that it is
// taken to have. What it does with a file or a token endpoint nobody sees, so
// that is the one which it was started with, until a call of its own was
// repeated.
type server struct {
	bridge.Child
	has atomic.Int64
}

func newServer(c bridge.Child, edition int64) *server {
	s := &server{Child: c}
	s.has.Store(edition)
	return s
}

// given notes that the server was sent a call again, with this edition.
func (s *server) given(edition int64) {
	for {
		has := s.has.Load()
		if has >= edition || s.has.CompareAndSwap(has, edition) {
			return
		}
	}
}

// again decides about a call that is about to be sent to the server.
func (r *run) again(c bridge.Child, h *hint) bridge.Again {
	s := c.(*server) // start made it
	began := s.has.Load()
	sent := max(began, r.withinReach())
	return func(ctx context.Context, answer []byte) bridge.Verdict {
		if !h.in(answer) {
			return bridge.Verdict{}
		}
		edition, ok := r.newer(ctx, began, sent)
		switch {
		case ok && r.claim.Recipe.OldTokenDies:
			s.given(edition)
			return bridge.Verdict{Repeat: true}
		case !ok && r.doubts.hopeless():
			return bridge.Verdict{Note: r.reconnect()}
		}
		return bridge.Verdict{}
	}
}

// reconnect tells the person what to do once only that helps.
func (r *run) reconnect() string {
	if r.claim.ReconnectURL == "" {
		return ""
	}
	return "Lanyard: the access to " + r.claim.Recipe.Server + " has ended. Connect it again at " + r.claim.ReconnectURL
}

// newer returns a newer edition than that which is within the server's reach,
// and asks for one if need be. It reports false when there is none, or none
// before ctx ends. Sent is what was within reach when the call was sent: where
// the server may have had that already, it is asked for a still newer one first.
func (r *run) newer(ctx context.Context, than, sent int64) (int64, bool) {
	edition := r.withinReach()
	if edition > sent {
		return edition, true
	}
	if q := r.doubts.ask(ctx, sent); q != nil {
		defer r.doubts.leave(q)
		select {
		case <-q.answered:
			edition = r.withinReach()
		case <-ctx.Done():
		}
	}
	return edition, edition > than
}

// withinReach is the newest edition that a server finds if it looks.
func (r *run) withinReach() int64 {
	if r.claim.Recipe.Rotation == task.RotateBroker {
		_, edition := r.cred.latest() // the endpoint hands it out at once
		return edition
	}
	return r.brought.Load()
}

// The pauses between questions: doubled by each that brought no other token,
// up to hintEvery.
const firstPause = time.Second

// question is one request to mcprun for which calls are held.
type question struct {
	answered chan struct{}
	// than is the newest edition that one of the calls began with, calls is how
	// many there are; doubts.mu guards both.
	than  int64
	calls int
}

// doubts gather the calls that are held into questions. A call waits for a
// question that begins after it failed: the answer to an earlier one may be
// older than the renewal.
type doubts struct {
	// wake has room for one signal: somebody waits.
	wake chan struct{}

	mu sync.Mutex
	// next is the question that has not begun; nil: nobody waits.
	next *question
	// after is when the next one may begin, pause how long it was put off.
	after time.Time
	pause time.Duration
	// dead: the last that mcprun said of the grant is that only the person can
	// help.
	dead bool
}

func newDoubts() *doubts { return &doubts{wake: make(chan struct{}, 1)} }

// found notes what mcprun said of the grant.
func (d *doubts) found(dead bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = dead
}

// hopeless reports whether only the person can help.
func (d *doubts) hopeless() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// ask returns the next question, to be left later; nil if it will not begin
// before ctx ends. It is to tell whether there is a newer edition than that.
func (d *doubts) ask(ctx context.Context, than int64) *question {
	d.mu.Lock()
	defer d.mu.Unlock()
	if end, ok := ctx.Deadline(); ok && !d.after.Before(end) {
		return nil
	}
	if d.next == nil {
		d.next = &question{answered: make(chan struct{})}
	}
	d.next.calls++
	d.next.than = max(d.next.than, than)
	select {
	case d.wake <- struct{}{}:
	default:
	}
	return d.next
}

// leave is called when a call waits no more. What nobody waits for is not
// asked.
func (d *doubts) leave(q *question) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.calls--; q.calls == 0 && d.next == q {
		d.next = nil
	}
}

// pending reports whether somebody waits, and how long until the question may
// begin. One that all who wait were brought a newer edition for is answered
// without being asked.
func (d *doubts) pending(brought int64) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next != nil && d.next.than < brought {
		close(d.next.answered)
		d.next = nil
	}
	return max(0, time.Until(d.after)), d.next != nil
}

// begin is called before mcprun is asked. Nil: nobody waits.
func (d *doubts) begin() *question {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.next
	d.next = nil
	return q
}

// end answers a question, once its result was brought to the servers.
func (d *doubts) end(q *question, renewed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if renewed || time.Since(d.after) >= hintEvery {
		d.pause = firstPause
	} else {
		d.pause = min(2*d.pause, hintEvery)
	}
	d.after = time.Now().Add(d.pause)
	if q != nil {
		close(q.answered)
	}
}
