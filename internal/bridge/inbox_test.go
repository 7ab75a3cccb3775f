package bridge

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// speaker is a server's standard output: what the test writes to a pipe.
type speaker struct {
	running
	w *os.File
}

func newSpeaker(t *testing.T) *speaker {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	s := &speaker{running: running{out: r}, w: w}
	if s.fromServer, err = r.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *speaker) say(t *testing.T, text string) {
	t.Helper()
	if _, err := s.w.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// lines is an inbox whose lines are collected.
func lines(s *speaker, most int) (*inbox, func() []string) {
	var got []string
	i := &inbox{child: s, max: most, handle: func(line []byte) { got = append(got, string(line)) }}
	return i, func() []string {
		i.mu.Lock()
		defer i.mu.Unlock()
		return slices.Clone(got)
	}
}

// ended is what read returned.
func ended(t *testing.T, i *inbox) <-chan error {
	t.Helper()
	c := make(chan error, 1)
	go func() { c <- i.read() }()
	return c
}

func wait(t *testing.T, c <-chan error) error {
	t.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the reader did not end")
		return nil
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", readAtOnce)
	tests := map[string]struct {
		in   []string
		want []string
	}{
		"one":                {[]string{"a\n"}, []string{"a"}},
		"several at once":    {[]string{"a\nb\n\nc\n"}, []string{"a", "b", "c"}},
		"in pieces":          {[]string{"a", "b", "\nc", "\n"}, []string{"ab", "c"}},
		"spaces, empty ones": {[]string{" a \r\n \n\r\n"}, []string{"a"}},
		"without an end":     {[]string{"a\nb"}, []string{"a", "b"}},
		"as long as a read":  {[]string{long + "\n" + long[1:] + "\nb\n"}, []string{long, long[1:], "b"}},
		"nothing":            {nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSpeaker(t)
			i, got := lines(s, 1<<20)
			over := ended(t, i)
			for _, text := range tt.in {
				s.say(t, text)
			}
			s.w.Close()
			if err := wait(t, over); !errors.Is(err, io.EOF) {
				t.Errorf("it ended with %v", err)
			}
			if !slices.Equal(got(), tt.want) {
				t.Errorf("got %d lines, want %d", len(got()), len(tt.want))
			}
		})
	}
}

func TestLineOverTheLimit(t *testing.T) {
	for length, want := range map[int]error{100: io.EOF, 101: errTooLong, 1000: errTooLong} {
		s := newSpeaker(t)
		i, got := lines(s, 100)
		over := ended(t, i)
		s.say(t, "first\n"+strings.Repeat("x", length)+"\n")
		s.w.Close()
		if err := wait(t, over); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v, want %v", length, err, want)
		}
		if len(got()) == 0 || got()[0] != "first" {
			t.Errorf("%d bytes: the line before it is lost", length)
		}
	}
}

// Whoever looks for his answer and the reader beside him hand on each line once, in
// order, and neither is left waiting for what the other has read.
func TestLookBesideTheReader(t *testing.T) {
	const n = 20_000
	s := newSpeaker(t)
	var last atomic.Int64
	i := &inbox{child: s, max: 1 << 20}
	i.handle = func(line []byte) {
		if string(line) != fmt.Sprint("line ", last.Load()+1) {
			t.Errorf("after line %d came %q", last.Load(), line)
		}
		last.Add(1)
	}
	over := ended(t, i)
	done := make(chan struct{})
	for range 3 {
		go func() {
			for {
				select {
				case <-done:
					return
				default:
					next := last.Load() + 1
					i.look(func() bool { return last.Load() >= next })
				}
			}
		}()
	}
	var text strings.Builder
	for k := 1; k <= n; k++ {
		fmt.Fprintf(&text, "line %d\n", k)
	}
	for rest := text.String(); rest != ""; {
		piece := min(1+rand.IntN(200), len(rest)) //nolint:gosec // sizes of pieces
		s.say(t, rest[:piece])
		rest = rest[piece:]
	}
	for until := time.Now().Add(10 * time.Second); last.Load() < n && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	if last.Load() != n {
		t.Errorf("%d lines of %d came while the server lived", last.Load(), n)
	}
	s.w.Close()
	if err := wait(t, over); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	close(done)
}

// Nobody looks for long: the reader has the output again.
func TestLookIsShort(t *testing.T) {
	s := newSpeaker(t)
	i, got := lines(s, 100)
	over := ended(t, i)
	for range 100 {
		i.look(func() bool { return false })
	}
	s.say(t, "late\n")
	for until := time.Now().Add(10 * time.Second); len(got()) == 0 && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	if !slices.Equal(got(), []string{"late"}) {
		t.Errorf("got %q", got())
	}
	s.w.Close()
	_ = wait(t, over)
}

// The end that somebody sees who looks ends the reader, too.
func TestLookAtTheEnd(t *testing.T) {
	s := newSpeaker(t)
	i, got := lines(s, 100)
	s.say(t, "last")
	s.w.Close()
	i.look(func() bool { return false })
	if err := wait(t, ended(t, i)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if !slices.Equal(got(), []string{"last"}) {
		t.Errorf("got %q", got())
	}
}

// What a server left behind may write for ever, faster than it is read: the end of
// its time is seen all the same.
func TestEndlessOutputEnds(t *testing.T) {
	t.Parallel()
	s := newSpeaker(t)
	stop := make(chan struct{})
	var wrote sync.WaitGroup
	wrote.Go(func() {
		for more := []byte(strings.Repeat(strings.Repeat("x", readAtOnce/16-1)+"\n", 16)); !closed(stop); {
			_, _ = s.w.Write(more)
		}
	})
	i := &inbox{child: s, max: 1 << 20, handle: func([]byte) { time.Sleep(time.Millisecond) }}
	end := ended(t, i)
	if err := s.out.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	err := wait(t, end)
	close(stop)
	s.out.Close() // whoever writes is woken
	wrote.Wait()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
