package bridge

import (
	"bytes"
	"context"
	"runtime"
	"sync"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

const (
	// maxQueued is how much waits for a server that reads nothing before those who
	// send wait too, in bytes, beside the last message.
	maxQueued = 256 << 10
	// maxSpare is the largest buffer that is kept for the next messages.
	maxSpare = 64 << 10
)

// outbox is what waits for the server's standard input. Whoever brings something
// while nobody writes, writes, and whatever the others have brought meanwhile, too:
// no goroutine has to be woken for it. Where the pipe is full, one is begun, so that
// those who wait for their own answers never wait for the server to read.
type outbox struct {
	child Child
	// gone is closed when the server is no more.
	gone chan struct{}

	mu         sync.Mutex
	buf, spare bytes.Buffer
	writing    bool
	// room is closed when the buffer was taken; nil: nobody waits for that.
	room chan struct{}
}

// put queues a message, and waits while there is no room. crowded: others are likely
// to bring something at once.
func (o *outbox) put(ctx context.Context, f *mcp.Frame, crowded bool) error {
	for {
		room, err := o.offer(f, crowded)
		if err != nil || room == nil {
			return err
		}
		select {
		case <-room:
		case <-o.gone:
			return errRetired
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// offer queues a message unless there is no room; then it returns what is closed
// when there is.
func (o *outbox) offer(f *mcp.Frame, crowded bool) (room <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if closed(o.gone) {
		return nil, errRetired
	}
	if o.buf.Len() > maxQueued {
		if o.room == nil {
			o.room = make(chan struct{})
		}
		return o.room, nil
	}
	_ = f.Emit(&o.buf) // to memory
	_ = o.buf.WriteByte('\n')
	if o.writing {
		return nil, nil
	}
	o.writing = true
	if crowded {
		// Whoever is about to send something does so first: to write once for many is
		// what makes many calls cheap.
		o.mu.Unlock()
		runtime.Gosched()
		o.mu.Lock()
	}
	o.flush()
	return nil, nil
}

// flush writes what there is, as far as that needs no waiting. o.mu is held.
func (o *outbox) flush() {
	for o.buf.Len() > 0 {
		out := o.take()
		o.mu.Unlock()
		n, err := o.child.TryWrite(out)
		o.mu.Lock()
		if err != nil || n < len(out) {
			go o.drain(out[n:], err)
			return
		}
	}
	o.writing = false
}

// take exchanges the buffers. o.mu is held.
func (o *outbox) take() []byte {
	o.buf, o.spare = o.spare, o.buf
	out := o.spare.Bytes()
	if o.spare.Cap() > maxSpare {
		o.spare = bytes.Buffer{}
	}
	o.buf.Reset()
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	return out
}

// drain writes the rest, and what comes meanwhile, however long the server takes to
// read it. An error needs no handling: a server that has closed its input is one
// whose output ends soon, or one that is stopped here.
func (o *outbox) drain(out []byte, err error) {
	for err == nil {
		if _, err = o.child.Write(out); err != nil {
			break
		}
		o.mu.Lock()
		if o.buf.Len() == 0 {
			o.writing = false
			o.mu.Unlock()
			return
		}
		out = o.take()
		o.mu.Unlock()
	}
	_ = o.child.Stop() // and nobody writes any more
}
