package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// fake is a [Child] in this process.
type fake struct {
	fixture *fixture
	in      *io.PipeWriter
	out     *io.PipeReader
	outW    *io.PipeWriter
	tail    Tail
	done    chan struct{}
	once    sync.Once
}

func newFake(label string) *fake {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	f := &fake{fixture: newFixture(outW, label), in: inW, out: outR, outW: outW, done: make(chan struct{})}
	go func() {
		f.fixture.serve(inR)
		inR.Close()
		outW.Close()
		close(f.done)
	}()
	return f
}

func (f *fake) Write(p []byte) (int, error) { return f.in.Write(p) }
func (f *fake) Stdout() io.ReadCloser       { return f.out }
func (f *fake) Noise(line []byte)           { f.tail.Noise(line) }
func (f *fake) Tail() string                { return f.tail.String() }
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
