package host_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/host"
)

// TestPin: somebody else answers at a task's address. They see neither the
// request nor the task's bearer, and the task is replaced.
func TestPin(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	thief := newPuppet(t, func(http.ResponseWriter, *http.Request) { t.Error("somebody else got the request") })
	good := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) { _, _ = io.Copy(rw, r.Body) })
	s := w.begin(o, c)
	impostor := *good
	impostor.Server = thief.Server // the address is the thief's, the key is not
	impostor.play(w, s)
	go func() { good.play(w, o.next(t)) }()
	if resp, body := w.post(m, call); resp.StatusCode != http.StatusOK || body != call {
		t.Errorf("%s %s", resp.Status, body)
	}
	if id := <-o.stopped; id != s.TaskID {
		t.Errorf("%s was stopped", id)
	}
}

// TestPinOfEveryTask: when every task's address is answered by somebody else,
// the client is told so after two tries.
func TestPinOfEveryTask(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	thief := newPuppet(t, func(http.ResponseWriter, *http.Request) { t.Error("somebody else got the request") })
	impostor := *thief
	impostor.fingerprint = strings.Repeat("0", 64)
	impostor.play(w, w.begin(o, c))
	go func() { impostor.play(w, o.next(t)) }()
	resp, body := w.post(m, call)
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `"id":7,"error"`) || !strings.Contains(body, host.ErrLost.Error()) {
		t.Errorf("%s %s", resp.Status, body)
	}
}

// TestRefusedBearer: who holds the key but not the bearer's other half is not
// the task. It had the request, so the request is not repeated.
func TestRefusedBearer(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	var asked atomic.Int32
	task := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		rw.WriteHeader(http.StatusUnauthorized)
	})
	s := w.begin(o, c)
	task.play(w, s)
	resp, body := w.post(m, call)
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `"id":7,"error"`) || !strings.Contains(body, host.ErrLost.Error()) || asked.Load() != 1 {
		t.Errorf("%s %s, asked %d times", resp.Status, body, asked.Load())
	}
	if id := <-o.stopped; id != s.TaskID {
		t.Errorf("%s was stopped", id)
	}
}

// TestLostDuringTheCall: nobody knows whether the server did what it was asked,
// so it is not asked again.
func TestLostDuringTheCall(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	var asked atomic.Int32
	task := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err == nil {
			conn.Close()
		}
	})
	task.play(w, w.begin(o, c))
	resp, body := w.post(m, call)
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `"id":7,"error"`) || !strings.Contains(body, host.ErrLost.Error()) || asked.Load() != 1 {
		t.Errorf("%s %s, asked %d times", resp.Status, body, asked.Load())
	}
	if len(o.stopped) != 0 {
		t.Error("a task that answers its address was stopped")
	}
}

// TestBearersDiffer: a bearer names connection, task and generation.
func TestBearersDiffer(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c, other := w.connect("ada", "notes"), w.connect("ada", "notes")
	seen := map[string]bool{}
	for range 3 {
		s := w.begin(o, c)
		p := newPuppet(t, func(http.ResponseWriter, *http.Request) {})
		p.play(w, s)
		seen[p.claim.Bearer.Reveal()] = true
		w.service.Restart(t.Context(), c.Key)
	}
	p := newPuppet(t, func(http.ResponseWriter, *http.Request) {})
	p.play(w, w.begin(o, other))
	seen[p.claim.Bearer.Reveal()] = true
	if len(seen) != 4 {
		t.Errorf("%d bearers for 4 tasks", len(seen))
	}
}

// TestBusyTaskIsNotIdle: a stream that is open for hours keeps its server.
func TestBusyTaskIsNotIdle(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	release, arrived := make(chan bool), make(chan bool)
	task := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(rw, "one ")
		_ = http.NewResponseController(rw).Flush()
		arrived <- true
		<-release
		_, _ = io.WriteString(rw, "two")
	})
	task.play(w, w.begin(o, c))
	answer := make(chan string, 1)
	go func() {
		_, body, err := w.tryPost(m, call)
		if err != nil {
			body = err.Error()
		}
		answer <- body
	}()
	<-arrived
	w.clock.advance(3 * time.Hour)
	w.sweeping()
	w.swept()
	if len(o.stopped) != 0 {
		t.Error("a task with an open stream was stopped")
	}
	close(release)
	if body := <-answer; body != "one two" {
		t.Errorf("the stream brought %q", body)
	}
}

// TestAnswersAreWhole: a task that begins to answer at once, maybe before the
// last of the request was passed on, is heard to its end.
func TestAnswersAreWhole(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	begun := make(chan bool)
	task := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "one ")
		_ = http.NewResponseController(rw).Flush()
		<-begun
		_, _ = io.WriteString(rw, "two")
	})
	task.play(w, w.begin(o, c))
	for i := range 200 {
		resp, err := w.send(t.Context(), http.MethodPost, m, call)
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 4)
		_, err = io.ReadFull(resp.Body, first)
		begun <- true
		rest, rerr := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err = errors.Join(err, rerr); err != nil || string(first)+string(rest) != "one two" {
			t.Fatalf("answer %d is %q, %v", i, string(first)+string(rest), err)
		}
	}
}
