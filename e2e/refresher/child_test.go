package refresher

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// A child is one process of ours: it opens the place that the first line on its
// stdin names, and then follows orders, a line each, several at once.

// order is what a child is told to do.
type order struct {
	ID int
	// Do is "token", "go", or "clock", which nothing is said to.
	Do string
	// Clock, if not zero, is by how much the child's clock is ahead from now on;
	// At, if not zero, is where it stands still.
	Clock time.Duration
	At    time.Time

	// A token is asked for by Askers at once, each a refresher of its own. They
	// begin when the order "go" comes, if Ready is set.
	Auth   *authServer
	Key    connection.Key
	Askers int
	Ready  bool
	// KillStep and KillMoment, if set, are where the process is killed by
	// itself: at a step of the renewal, or at that moment of its work on the
	// stores, counted from 1 over all orders.
	KillStep   refresh.Step
	KillMoment int64
}

// report is what a child says.
type report struct {
	ID int
	// Event is "ready"; "waiting", when somebody who asks waits for another
	// process; "dying", with the moment Where; or "done".
	Event string
	Where string `json:",omitempty"`
	// Tokens and Errors count what the askers got.
	Tokens map[string]int `json:",omitempty"`
	Errors map[string]int `json:",omitempty"`
	// Moments is how many moments of work on the stores there were, Requests how
	// many requests to an emulator.
	Moments  int64 `json:",omitempty"`
	Requests int64 `json:",omitempty"`
}

// worker is what a child is made of.
type worker struct {
	stores stores
	ahead  atomic.Int64
	still  atomic.Pointer[time.Time]
	start  chan struct{}

	mu  sync.Mutex
	out *json.Encoder
}

func (w *worker) now() time.Time {
	if at := w.still.Load(); at != nil {
		return *at
	}
	return time.Now().Add(time.Duration(w.ahead.Load()))
}

func (w *worker) say(r report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.out.Encode(r)
}

// child is the whole program of a child; it returns its exit code.
func child() int {
	w := &worker{start: make(chan struct{}), out: json.NewEncoder(os.Stdout)}
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	var p place
	err := in.Decode(&p)
	if err == nil {
		w.stores, err = p.open(context.Background(), w.now)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "a child could not begin:", err)
		return 1
	}
	var work sync.WaitGroup
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			work.Wait()
			return 0
		}
		if o.Clock != 0 {
			w.ahead.Store(int64(o.Clock))
		}
		if !o.At.IsZero() {
			w.still.Store(&o.At)
		}
		switch o.Do {
		case "go":
			close(w.start)
			w.start = make(chan struct{})
		case "token":
			start := w.start
			work.Go(func() { w.token(o, start) })
		}
	}
}

// token asks for a token, many times at once.
func (w *worker) token(o order, start <-chan struct{}) {
	m := &mortal{at: o.KillMoment, last: func(where string) { w.say(report{ID: o.ID, Event: "dying", Where: where}) }}
	on := w.stores
	if o.KillMoment > 0 || o.Askers == 0 {
		on = m.wrap(on, func() { w.say(report{ID: o.ID, Event: "waiting"}) })
	}
	askers := max(o.Askers, 1)
	r := report{ID: o.ID, Event: "done", Tokens: map[string]int{}, Errors: map[string]int{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range askers {
		s := on.service(o.Auth, w.now)
		if o.KillStep != "" {
			s.AtStep = func(at refresh.Step) {
				if at == o.KillStep {
					die()
				}
			}
		}
		all.Go(func() {
			if o.Ready {
				<-start
			}
			got, err := ask(s, o.Key)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				r.Errors[err.Error()]++
			} else {
				r.Tokens[got]++
			}
		})
	}
	if o.Ready {
		w.say(report{ID: o.ID, Event: "ready"})
		<-start
	}
	before := requests.Load()
	all.Wait()
	r.Moments, r.Requests = m.count.Load(), requests.Load()-before
	w.say(r)
}

// ask wants a token that lives for a minute, as a caller with a key does.
func ask(s *refresh.Service, k connection.Key) (string, error) {
	caller := vault.Caller{Tenant: k.Tenant, Actor: "api_key"}
	a, _, err := s.Token(context.Background(), caller, k, time.Minute, "token")
	return a.Tokens[""].AccessToken.Reveal(), err
}

// die ends this process as kill -9 does, wherever it is.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// process is a child, as its parent knows it.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	orders int

	reports chan report // closed when the child has ended
}

// startProcess starts a child on the place.
func startProcess(t *testing.T, p place) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &process{t: t, cmd: cmd, stdin: stdin, reports: make(chan report, 16)}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range c.reports {
		}
		_ = cmd.Wait()
	})
	go func() {
		defer close(c.reports)
		for in := json.NewDecoder(stdout); ; {
			var r report
			if in.Decode(&r) != nil {
				return
			}
			c.reports <- r
		}
	}()
	c.write(p)
	return c
}

func (c *process) write(v any) {
	c.t.Helper()
	line, err := json.Marshal(v)
	if err == nil {
		_, err = c.stdin.Write(append(line, '\n'))
	}
	if err != nil {
		c.t.Fatalf("a child takes no orders: %v", err)
	}
}

// tell gives the child an order.
func (c *process) tell(o order) {
	c.t.Helper()
	c.orders++
	o.ID = c.orders
	c.write(o)
}

// until returns the child's next report of that event, passing over others;
// false if the child ended before it.
func (c *process) until(event string) (report, bool) {
	for r := range c.reports {
		if r.Event == event {
			return r, true
		}
	}
	return report{}, false
}

// do gives the order and returns what came of it.
func (c *process) do(o order) report {
	c.t.Helper()
	c.tell(o)
	r, ok := c.until("done")
	if !ok {
		c.t.Fatalf("a child ended by itself: %v", c.cmd.Wait())
	}
	return r
}

// killed waits for a child that is killed, and returns what it said last. It
// reports false if the child came to its end instead.
func (c *process) killed() (last report, was bool) {
	c.t.Helper()
	for r := range c.reports {
		if last = r; r.Event == "done" {
			return r, false
		}
	}
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if status, ok := exitStatus(err, &exit); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		c.t.Fatalf("a child was not killed, but ended with %v", err)
	}
	return last, true
}

func exitStatus(err error, exit **exec.ExitError) (syscall.WaitStatus, bool) {
	if !errors.As(err, exit) {
		return 0, false
	}
	status, ok := (*exit).Sys().(syscall.WaitStatus)
	return status, ok
}

// kill kills the child from outside.
func (c *process) kill() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
	if _, killed := c.killed(); !killed {
		c.t.Fatal("a child came to its end although it was killed")
	}
}

// killedBy gives the order and waits for the kill that it brings; see killed.
func (c *process) killedBy(o order) (last report, was bool) {
	c.t.Helper()
	c.tell(o)
	return c.killed()
}
