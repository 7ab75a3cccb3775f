package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// pipe is a server's standard input that takes some bytes and then no more until it
// is read.
type pipe struct {
	Child
	mu      sync.Mutex
	room    int
	got     bytes.Buffer
	more    chan struct{} // a write that waits goes on
	stopped chan struct{}
	stop    sync.Once
}

func (p *pipe) TryWrite(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(p.room, len(b))
	p.room -= n
	p.got.Write(b[:n])
	return n, nil
}

func (p *pipe) Write(b []byte) (int, error) {
	select {
	case <-p.more:
	case <-p.stopped:
		return 0, errors.New("stopped")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got.Write(b)
}

func (p *pipe) Stop() error {
	p.stop.Do(func() { close(p.stopped) })
	return nil
}

func (p *pipe) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got.String()
}

// until waits until the last that was said is that.
func (p *pipe) until(end string) {
	for begun := time.Now(); !strings.HasSuffix(p.said(), end) && time.Since(begun) < 10*time.Second; {
		time.Sleep(time.Millisecond)
	}
}

func newPipe(room int) (*pipe, *outbox) {
	p := &pipe{room: room, more: make(chan struct{}), stopped: make(chan struct{})}
	return p, &outbox{child: p, gone: make(chan struct{})}
}

func frame(text string) *mcp.Frame { return &mcp.Frame{Raw: []byte(text)} }

// TestOutboxKeepsOrder: a full pipe takes what it takes, the rest follows, and no
// byte is there twice, lost or before its time.
func TestOutboxKeepsOrder(t *testing.T) {
	t.Parallel()
	for room := range 12 {
		p, o := newPipe(room)
		for _, text := range []string{"one", "two", "three"} {
			if err := o.put(t.Context(), frame(text), false); err != nil {
				t.Fatal(err)
			}
		}
		want := "one\ntwo\nthree\n"
		if got := p.said(); got != want[:room] {
			t.Errorf("room for %d: %q", room, got)
		}
		close(p.more) // it is read
		p.until(want)
		p.mu.Lock()
		p.room = 100
		p.mu.Unlock()
		if err := o.put(t.Context(), frame("four"), false); err != nil {
			t.Fatal(err)
		}
		p.until(want + "four\n")
		if got := p.said(); got != want+"four\n" {
			t.Errorf("room for %d: %q", room, got)
		}
	}
}

// TestOutboxFull: who sends waits for a server that reads nothing, at most as long as
// they want; a notification of our own is dropped; and the end of the server ends it.
func TestOutboxFull(t *testing.T) {
	t.Parallel()
	p, o := newPipe(0)
	large := strings.Repeat("x", maxQueued+1)
	for range 2 { // the first is being written, the second waits
		if err := o.put(t.Context(), frame(large), false); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := o.put(ctx, frame("late"), false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if room, err := o.offer(frame("news"), false); room == nil || err != nil {
		t.Errorf("there was room: %v", err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- o.put(t.Context(), frame("patient"), false) }()
	p.more <- struct{}{}
	p.more <- struct{}{}
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	p.more <- struct{}{}
	p.until("patient\n")
	if got := p.said(); !strings.HasSuffix(got, "patient\n") || strings.Contains(got, "late") || strings.Contains(got, "news") {
		t.Errorf("%d bytes, at their end %q", len(got), got[max(0, len(got)-20):])
	}
	p2, o2 := newPipe(0)
	for range 2 {
		_ = o2.put(t.Context(), frame(large), false)
	}
	go func() { waiting <- o2.put(t.Context(), frame("x"), false) }()
	close(o2.gone)
	if err := <-waiting; !errors.Is(err, errRetired) {
		t.Errorf("%v", err)
	}
	_ = p2.Stop()
}

// TestOutboxOfMany: what many bring at once is written whole, line by line.
func TestOutboxOfMany(t *testing.T) {
	t.Parallel()
	p, o := newPipe(1 << 30)
	var wg sync.WaitGroup
	const all = 500
	for i := range all {
		wg.Go(func() {
			if err := o.put(t.Context(), frame(fmt.Sprintf("%04d", i)), true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	lines := strings.Fields(p.said())
	seen := map[string]bool{}
	for _, l := range lines {
		seen[l] = true
	}
	if len(lines) != all || len(seen) != all {
		t.Errorf("%d lines, %d of them different", len(lines), len(seen))
	}
}
