package http1

import (
	"context"
	"sync"
	"time"
)

// watchAfter is how long a request lasts before anybody looks whether its client is
// still there. Most are answered by then.
const watchAfter = 20 * time.Millisecond

// watch ends the context of a request whose client goes. It reads ahead from the
// connection, and so only while nobody else does: after the request's body, and
// before the next request.
type watch struct {
	conn  *conn
	timer *time.Timer

	mu sync.Mutex
	// cancel ends the request that is under way; nil: there is none.
	cancel context.CancelFunc
	// free: the request's body has been read.
	free bool
	// reading is closed when the reading ahead is over; nil: it was not begun.
	reading chan struct{}
}

func newWatch(c *conn) *watch {
	w := &watch{conn: c}
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
	return w
}

func (w *watch) begin(cancel context.CancelFunc, free bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel, w.free = cancel, free
	w.timer.Reset(watchAfter)
}

func (w *watch) bodyRead() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = true
}

// look is called by the timer; also once too often, of the request before.
func (w *watch) look() {
	w.mu.Lock()
	cancel := w.cancel
	if cancel == nil || w.reading != nil {
		w.mu.Unlock()
		return
	}
	if !w.free {
		w.timer.Reset(watchAfter)
		w.mu.Unlock()
		return
	}
	reading := make(chan struct{})
	w.reading = reading
	w.mu.Unlock()
	defer close(reading)
	if _, err := w.conn.r.Peek(1); err != nil {
		cancel()
	}
}

// end returns when nothing is read ahead any more.
func (w *watch) end() {
	w.timer.Stop()
	w.mu.Lock()
	reading := w.reading
	w.cancel, w.reading = nil, nil
	w.mu.Unlock()
	if reading == nil {
		return
	}
	_ = w.conn.SetReadDeadline(time.Unix(1, 0)) // long ago: reading ends at once
	<-reading
	_ = w.conn.SetReadDeadline(time.Time{})
}
