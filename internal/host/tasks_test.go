package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
)

func TestOneTaskForManyRequests(t *testing.T) {
	t.Parallel()
	w, l := newRunners(t)
	m := w.mint(w.connect("ada", "notes"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			resp, body, err := w.tryPost(m, initialize)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%v %s", err, body)
			}
		})
	}
	wg.Wait()
	if starts, alive := l.launched(); starts != 1 || alive != 1 {
		t.Errorf("%d starts, %d alive, want one", starts, alive)
	}
}

// TestKilledRunner: its machine is gone and it told nobody. The next request
// starts a task anew, and arrives there whole.
func TestKilledRunner(t *testing.T) {
	t.Parallel()
	w, l := newRunners(t)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	w.call(m, "before")
	first, err := w.store.TaskOf(t.Context(), c.Key)
	if err != nil {
		t.Fatal(err)
	}
	l.kill(first.ID)
	if again, err := w.store.TaskOf(t.Context(), c.Key); err != nil || again.ID != first.ID || again.State != host.TaskReady {
		t.Fatalf("the record should not know yet: %+v %v", again.State, err)
	}
	text := strings.Repeat("0123456789", 20_000)
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":%q}}}`, text)
	if resp, answer := w.post(m, body); resp.StatusCode != http.StatusOK || !strings.Contains(answer, `"id":7`) {
		t.Errorf("%s %s", resp.Status, answer)
	}
	if answer := w.call(m, "after"); !strings.Contains(answer, "after") {
		t.Error(answer)
	}
	second, err := w.store.TaskOf(t.Context(), c.Key)
	if err != nil || second.ID == first.ID || second.Generation <= first.Generation {
		t.Errorf("the task was not replaced: %v, generations %d and %d", err, first.Generation, second.Generation)
	}
}

// TestFailedStart: the server's own words reach the person, without its token;
// after a pause it is started again, and nothing of the first start is left.
func TestFailedStart(t *testing.T) {
	t.Parallel()
	gate := filepath.Join(t.TempDir(), "closed")
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w, l := newRunners(t, stdioServer("notes", "GATE", gate))
	c := w.connect("ada", "notes")
	_, err := w.service.Tools(t.Context(), page("ada"), c.Key)
	wantErr(t, "a server that dies", err, host.ErrServerFailed)
	if text := fmt.Sprint(err); !strings.Contains(text, "the notes API refused") || strings.Contains(text, "canary") {
		t.Errorf("want the server's words without its token: %s", text)
	}
	starts, _ := l.launched()
	_, err = w.service.Tools(t.Context(), page("ada"), c.Key)
	wantErr(t, "at once again", err, host.ErrServerFailed)
	if again, _ := l.launched(); again != starts {
		t.Error("a failed server was started again at once")
	}
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(10 * time.Second)
	if answer := w.call(w.mint(c), "now"); !strings.Contains(answer, "now") {
		t.Error(answer)
	}
	eventually(t, "one runner is left", func() bool { _, alive := l.launched(); return alive == 1 })
}

func TestNotStarted(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	_, err := w.service.Tools(t.Context(), page("ada"), w.connect("ada", "unknown").Key)
	wantErr(t, "a server without a preset", err, host.ErrNotHosted)
	w.service.Installer = installer{errors.New("the registry is out of order")}
	_, err = w.service.Tools(t.Context(), page("ada"), w.connect("ada", "notes").Key)
	wantErr(t, "a server that cannot be installed", err, host.ErrServerFailed)
	if !strings.Contains(fmt.Sprint(err), "the registry is out of order") {
		t.Errorf("it does not say why: %v", err)
	}
	if len(o.started) != 0 {
		t.Error("a task was launched")
	}
}

// TestSlowStart: a client is told to come back, and finds the same task; one
// that never comes up is replaced.
func TestSlowStart(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	first := make(chan error, 1)
	go func() {
		_, err := w.service.Tools(t.Context(), page("ada"), c.Key)
		first <- err
	}()
	s := o.next(t)
	w.clock.advance(time.Minute)
	wantErr(t, "the first", <-first, host.ErrStarting)
	ready := func(wait time.Duration) error { return w.service.Ready(t.Context(), page("ada"), c.Key, wait) }
	wantErr(t, "the second", ready(time.Millisecond), host.ErrStarting)
	wantErr(t, "another user", w.service.Ready(t.Context(), page("grace"), c.Key, time.Minute), connection.ErrNotFound)
	if len(o.started) != 0 {
		t.Fatal("a second task was started beside the first")
	}
	w.clock.advance(10 * time.Minute)
	wantErr(t, "the third", ready(time.Millisecond), host.ErrStarting)
	again := o.next(t)
	if again.TaskID == s.TaskID {
		t.Error("the same task was started again")
	}
	select {
	case id := <-o.stopped:
		if id != s.TaskID {
			t.Errorf("%s was stopped, want %s", id, s.TaskID)
		}
	case <-time.After(time.Minute):
		t.Error("the task that never came up was not stopped")
	}
	newPuppet(t, func(http.ResponseWriter, *http.Request) {}).play(w, again)
	if err := ready(time.Minute); err != nil {
		t.Errorf("a server that answers: %v", err)
	}
}

// sweeping runs the service's work in the background.
func (w *world) sweeping() {
	ctx, stop := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.service.Run(ctx, 5*time.Millisecond)
	}()
	w.t.Cleanup(func() { stop(); <-done })
}

func TestIdleStop(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	task := newPuppet(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	s := w.begin(o, c)
	task.play(w, s)
	w.sweeping()
	// Used again and again, it lives longer than the time that idle ones get.
	for range 6 {
		w.clock.advance(4 * time.Minute)
		w.post(m, call)
		w.swept()
	}
	if len(o.stopped) != 0 {
		t.Fatal("a task in use was stopped")
	}
	w.clock.advance(11 * time.Minute)
	select {
	case id := <-o.stopped:
		if id != s.TaskID {
			t.Errorf("%s was stopped", id)
		}
	case <-time.After(time.Minute):
		t.Fatal("an idle task was not stopped")
	}
	eventually(t, "its record goes", func() bool { _, err := w.store.TaskOf(t.Context(), c.Key); return errors.Is(err, host.ErrNoTask) })
}

// TestShortIdleStop: however short a server may idle, one that still starts is
// not idle, and one that is used is not either.
func TestShortIdleStop(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	w.service.IdleStop = 2 * time.Second
	c := w.connect("ada", "notes")
	m := w.mint(c)
	s := w.begin(o, c)
	w.sweeping()
	w.clock.advance(20 * time.Second)
	w.swept()
	task := newPuppet(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	if _, err := w.store.GetTask(t.Context(), s.TaskID); err != nil {
		t.Fatalf("a task that was starting has ended: %v", err)
	}
	task.play(w, s)
	w.post(m, call)
	for range 5 {
		w.clock.advance(1500 * time.Millisecond)
		w.post(m, call)
		w.swept()
	}
	if len(o.stopped) != 0 || len(o.started) != 0 {
		t.Error("a task in use was stopped")
	}
}

// ghost is the task of a connection that never was: the next sweep ends it.
const ghost = "tsk_ghost"

// swept waits until a whole sweep has happened. Two ghosts one after the other
// prove it: a sweep that ends the second began after the first was gone.
func (w *world) swept() {
	w.t.Helper()
	for range 2 {
		k := connection.Key{Tenant: "default", ID: "con_ghost"}
		if _, err := w.store.BeginTask(w.t.Context(), host.Task{ID: ghost, Connection: k, State: host.TaskReady, LastUsedAt: w.clock.now()}); err != nil {
			w.t.Fatal(err)
		}
		eventually(w.t, "a sweep", func() bool { _, err := w.store.GetTask(w.t.Context(), ghost); return err != nil })
	}
}

func TestDisconnected(t *testing.T) {
	t.Parallel()
	w, l := newRunners(t)
	c, other := w.connect("ada", "notes"), w.connect("ada", "notes")
	m, kept := w.mint(c), w.mint(other)
	w.call(m, "x")
	w.call(kept, "x")
	if _, err := w.service.Tools(t.Context(), page("ada"), c.Key); err != nil {
		t.Fatal(err)
	}
	w.service.Disconnected(t.Context(), c.Key)
	eventually(t, "only the other task is left", func() bool { _, alive := l.launched(); return alive == 1 })
	if _, ok := w.service.KnownTools(t.Context(), c); ok {
		t.Error("its tools are still known")
	}
	_, _, err := w.service.Bearer(t.Context(), m.Token, "default", "notes")
	wantErr(t, "its MCP token", err, host.ErrNoToken)
	if answer := w.call(kept, "still here"); !strings.Contains(answer, "still here") {
		t.Error(answer)
	}
}

// TestGoneConnection: what a disconnect in another process left is swept up.
func TestGoneConnection(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	s := w.begin(o, c)
	newPuppet(t, func(http.ResponseWriter, *http.Request) {}).play(w, s)
	if err := w.store.Delete(t.Context(), c.Key, func(connection.Connection) error { return nil }); err != nil {
		t.Fatal(err)
	}
	w.sweeping()
	select {
	case id := <-o.stopped:
		if id != s.TaskID {
			t.Errorf("%s was stopped", id)
		}
	case <-time.After(time.Minute):
		t.Fatal("the task lives on")
	}
	eventually(t, "its MCP tokens go", func() bool { _, err := w.store.MCPTokenByHash(t.Context(), m.Hash); return err != nil })
}

func TestRestart(t *testing.T) {
	t.Parallel()
	w, l := newRunners(t)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	w.call(m, "x")
	w.service.Restart(t.Context(), c.Key)
	eventually(t, "the task with the old tokens ends", func() bool { _, alive := l.launched(); return alive == 0 })
	if answer := w.call(m, "again"); !strings.Contains(answer, "again") {
		t.Error(answer)
	}
}

// rolled is a launcher whose tasks live elsewhere and can be listed.
type rolled struct {
	*orders
	running []string
	fail    error
}

func (r *rolled) Launch(ctx context.Context, s host.Start) error {
	if r.fail != nil {
		return r.fail
	}
	return r.orders.Launch(ctx, s)
}

func (r *rolled) Started(context.Context, time.Time) ([]string, error) { return r.running, nil }

// TestOrphans: a task whose end did not arrive is found and stopped; those that
// have a record are left alone.
func TestOrphans(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	l := &rolled{orders: o}
	w.service.Launcher = l
	s := w.begin(o, w.connect("ada", "notes"))
	l.running = []string{s.TaskID, "tsk_orphan"}
	w.service.Sweep(t.Context())
	if id := <-o.stopped; id != "tsk_orphan" || len(o.stopped) != 0 {
		t.Errorf("stopped %s, and %d more", id, len(o.stopped))
	}
	if _, err := w.store.GetTask(t.Context(), s.TaskID); err != nil {
		t.Errorf("the task that has a record: %v", err)
	}
}

// TestNotLaunched: what the platform says is for the log, not for the person.
func TestNotLaunched(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	w.service.Launcher = &rolled{orders: o, fail: errors.New("User: arn:aws:sts::123456789012:assumed-role/x is not authorized")}
	_, err := w.service.Tools(t.Context(), page("ada"), w.connect("ada", "notes").Key)
	wantErr(t, "a task that is not launched", err, host.ErrServerFailed)
	if strings.Contains(fmt.Sprint(err), "arn:") || !strings.Contains(w.log.String(), "not authorized") {
		t.Errorf("the person is told %v; the log says %s", err, w.log)
	}
}
