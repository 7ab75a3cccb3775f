package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// fake is a [Child] in this process.
type fake struct {
	fixture *fixture
	in      *io.PipeWriter
	out     io.ReadCloser
	outW    *io.PipeWriter
	tail    Tail
	done    chan struct{}
	once    sync.Once

	mu    sync.Mutex
	read  []byte
	ended error
}

func newFake(label string) *fake {
	outR, outW := io.Pipe()
	f := &fake{fixture: newFixture(outW, label), out: outR, outW: outW}
	f.run(f.fixture.serve)
	return f
}

// heard is a message that a played server got.
type heard struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// play is a server in this process that does with each message what the test
// says; tell sends a line.
func play(handle func(m heard, tell func(format string, args ...any))) *fake {
	outR, outW := io.Pipe()
	f := &fake{out: outR, outW: outW}
	var mu sync.Mutex
	tell := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintf(outW, format+"\n", args...)
	}
	f.run(func(in io.Reader) {
		for d := json.NewDecoder(in); ; {
			var m heard
			if d.Decode(&m) != nil {
				return
			}
			handle(m, tell)
		}
	})
	return f
}

// slowly is output that begins only after a while.
func slowly(from io.ReadCloser, after time.Duration) io.ReadCloser {
	return &late{ReadCloser: from, after: after}
}

type late struct {
	io.ReadCloser
	once  sync.Once
	after time.Duration
}

func (l *late) Read(p []byte) (int, error) {
	l.once.Do(func() { time.Sleep(l.after) })
	return l.ReadCloser.Read(p)
}

func (f *fake) run(serve func(io.Reader)) {
	inR, inW := io.Pipe()
	f.in, f.done = inW, make(chan struct{})
	go func() {
		serve(inR)
		inR.Close()
		f.outW.Close()
		close(f.done)
	}()
}

func (f *fake) Write(p []byte) (int, error) { return f.in.Write(p) }

// TryWrite takes nothing: a pipe in memory has no room.
func (f *fake) TryWrite([]byte) (int, error) { return 0, nil }

// Await reads, and keeps what was read for TryRead.
func (f *fake) Await(try func() bool) error {
	for p := make([]byte, 4096); ; {
		if try() {
			return nil
		}
		n, err := f.out.Read(p)
		f.mu.Lock()
		f.read, f.ended = append(f.read, p[:n]...), err
		f.mu.Unlock()
	}
}

func (f *fake) TryRead(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := copy(p, f.read)
	if f.read = f.read[n:]; len(f.read) > 0 {
		return n, nil
	}
	return n, f.ended
}

func (f *fake) CloseOutput()      { f.out.Close() }
func (f *fake) Noise(line []byte) { f.tail.Noise(line) }
func (f *fake) Tail() string      { return f.tail.String() }
func (f *fake) Stop() error {
	f.once.Do(func() {
		f.outW.Close()
		f.in.Close()
		f.out.Close()
	})
	<-f.done
	return errors.New("stopped")
}

// starts counts the fakes that it starts and labels them 1, 2, …
type starts struct {
	n    atomic.Int32
	mu   sync.Mutex
	last *fake
}

func (s *starts) start(context.Context) (Child, error) {
	f := newFake(fmt.Sprint(s.n.Add(1)))
	s.mu.Lock()
	s.last = f
	s.mu.Unlock()
	return f, nil
}

func (s *starts) newest() *fake {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}
