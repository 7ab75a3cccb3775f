package host_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/task"
)

// TestBackoff: however often somebody asks for a server that cannot start, it is
// started ever more seldom, and the answer says when next and why.
func TestBackoff(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	starts := 0
	crash := func() {
		for len(o.started) > 0 {
			starts++
			w.ended((<-o.started).TaskID, "its task ended with exit code 1")
		}
	}
	ask := func() error {
		err := w.service.Ready(t.Context(), page("ada"), c.Key, time.Millisecond)
		if errors.Is(err, host.ErrStarting) { // its task is on its way
			eventually(t, "a start", func() bool { return len(o.started) > 0 })
		}
		crash()
		return err
	}
	var at []time.Duration
	began := w.clock.now()
	for w.clock.now().Sub(began) < 2*time.Hour {
		before := starts
		err := ask()
		if starts > before {
			at = append(at, w.clock.now().Sub(began).Round(5*time.Second))
		} else if !errors.Is(err, host.ErrServerFailed) {
			t.Fatalf("after %v: %v", w.clock.now().Sub(began), err)
		}
		if starts == 3 && before == 3 && len(at) == 3 && w.clock.now().Sub(began) < 35*time.Second {
			if text := err.Error(); !strings.Contains(text, "failed to start 3 times, the next try is in 40s: its task ended with exit code 1") {
				t.Errorf("told %q", text)
			}
		}
		w.service.Sweep(t.Context())
		w.clock.advance(5 * time.Second)
	}
	// 10 s, 20 s, 40 s … between them, and from then on 10 min.
	want := []time.Duration{0, 10 * time.Second, 30 * time.Second, 70 * time.Second, 150 * time.Second, 310 * time.Second, 630 * time.Second, 1230 * time.Second}
	for i, d := range want {
		if at[i] < d || at[i] > d+time.Duration(i+1)*5*time.Second {
			t.Errorf("start %d after %v, want %v", i+1, at[i], d)
		}
	}
	if starts > 20 {
		t.Errorf("%d starts in two hours", starts)
	}
	t.Logf("%d requests, %d starts, at %v", int(2*time.Hour/(5*time.Second)), starts, at)
}

// fails makes n tasks of the connection fail one after the other.
func (w *world) fails(o *orders, c connection.Connection, n int) {
	w.t.Helper()
	for range n {
		w.clock.advance(11 * time.Minute)
		s := w.begin(o, c)
		w.ended(s.TaskID, "why")
	}
}

func (w *world) failures(c connection.Connection) int {
	w.t.Helper()
	got, err := w.store.TaskOf(w.t.Context(), c.Key)
	if err != nil && !errors.Is(err, host.ErrNoTask) {
		w.t.Fatal(err)
	}
	return got.Failures
}

// TestBackoffEnds: with a new grant, with a server that stays up, and with time.
func TestBackoffEnds(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	granted, up, forgotten := w.connect("ada", "notes"), w.connect("grace", "notes"), w.connect("emmy", "notes")
	for _, c := range []connection.Connection{granted, up, forgotten} {
		w.fails(o, c, 4)
		if n := w.failures(c); n != 4 {
			t.Fatalf("%d failures are known, want 4", n)
		}
		w.clock.advance(time.Second)
		wantErr(t, "at once again", w.service.Ready(t.Context(), page(c.UserID), c.Key, time.Millisecond), host.ErrServerFailed)
	}
	_, err := w.store.Update(t.Context(), granted.Key, func(c *connection.Connection) error { c.ConnectedAt = w.clock.now(); return nil })
	if err != nil {
		t.Fatal(err)
	}
	w.begin(o, granted)
	if n := w.failures(granted); n != 0 {
		t.Errorf("%d failures with a new grant", n)
	}

	w.clock.advance(11 * time.Minute)
	s := w.begin(o, up)
	newPuppet(t, silentServer).play(w, s)
	if n := w.failures(up); n != 4 {
		t.Errorf("%d failures once it is up, want the 4 until it has stayed up", n)
	}
	w.clock.advance(6 * time.Minute)
	w.ended(s.TaskID, "its task was stopped")
	w.begin(o, up)
	if n := w.failures(up); n != 0 {
		t.Errorf("%d failures after it was up for minutes", n)
	}

	w.clock.advance(3 * time.Hour)
	w.service.Sweep(t.Context())
	if _, err := w.store.TaskOf(t.Context(), forgotten.Key); !errors.Is(err, host.ErrNoTask) {
		t.Errorf("a failure that nobody asked about for hours is kept: %v", err)
	}
}

// TestFlapping: a server that comes up and crashes at its first call is restarted
// at once the first time, and then as seldom as one that does not start.
func TestFlapping(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	for i := range 3 {
		s := w.begin(o, c)
		newPuppet(t, silentServer).play(w, s)
		w.ended(s.TaskID, "it took more memory than its task has")
		if i == 0 {
			continue
		}
		err := w.service.Ready(t.Context(), page("ada"), c.Key, time.Millisecond)
		var failed *host.Failure
		if !errors.As(err, &failed) || failed.Times != i+1 || failed.RetryAfter > 20*time.Second || !strings.Contains(err.Error(), "memory") {
			t.Errorf("after crash %d: %v", i+1, err)
		}
		w.clock.advance(time.Minute)
	}
}

// TestMaxLife: an old task is ended when nobody uses it, and somewhat later
// whoever does.
func TestMaxLife(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	w.service.MaxLife = 2 * time.Hour
	m := map[string]host.Minted{}
	tasks := map[string]string{}
	for _, user := range []string{"idle", "busy"} {
		c := w.connect(user, "notes")
		m[user] = w.mint(c)
		s := w.begin(o, c)
		newPuppet(t, silentServer).play(w, s)
		tasks[user] = s.TaskID
	}
	ended := map[string]time.Duration{}
	began := w.clock.now()
	for w.clock.now().Sub(began) < 4*time.Hour && len(ended) < 2 {
		age := w.clock.now().Sub(began)
		if _, over := ended["busy"]; !over {
			w.post(m["busy"], call)
		}
		if age%(9*time.Minute) < time.Minute && age < 2*time.Hour {
			w.post(m["idle"], call)
		}
		w.service.Sweep(t.Context())
		for user, id := range tasks {
			if _, err := w.store.GetTask(t.Context(), id); err != nil && ended[user] == 0 {
				ended[user] = w.clock.now().Sub(began).Truncate(time.Minute)
			}
		}
		w.clock.advance(time.Minute)
	}
	if d := ended["idle"]; d < 2*time.Hour || d > 2*time.Hour+10*time.Minute {
		t.Errorf("the quiet one ended after %v", d)
	}
	if d := ended["busy"]; d < 3*time.Hour || d > 3*time.Hour+2*time.Minute {
		t.Errorf("the busy one ended after %v", d)
	}
}

// TestStuck: a task that was claimed and never became ready is given up by the
// sweep, stopped, and told as a failure.
func TestStuck(t *testing.T) {
	t.Parallel()
	for _, claimed := range []bool{false, true} {
		w, o := newOrders(t)
		c := w.connect("ada", "notes")
		s := w.begin(o, c)
		if claimed {
			if _, err := w.service.Claim(t.Context(), s.Identity, claimRequest(s)); err != nil {
				t.Fatal(err)
			}
		}
		w.service.Sweep(t.Context())
		if len(o.stopped) != 0 {
			t.Fatal("a task that starts was stopped")
		}
		w.clock.advance(6 * time.Minute)
		w.service.Sweep(t.Context())
		select {
		case id := <-o.stopped:
			if id != s.TaskID {
				t.Errorf("%s was stopped", id)
			}
		case <-time.After(time.Minute):
			t.Fatal("a stuck task was not stopped")
		}
		eventually(t, "its end is noted", func() bool {
			got, err := w.store.TaskOf(t.Context(), c.Key)
			return err == nil && got.State == host.TaskFailed && got.Gone && got.Failures == 1
		})
		w.service.Sweep(t.Context())
		if len(o.stopped) != 0 {
			t.Error("it was stopped again")
		}
		wantErr(t, "its runner, late", w.service.Report(t.Context(), s.Identity, task.Report{TaskID: s.TaskID, State: task.Ready}), task.ErrRefused)
	}
}

// TestFailedStillRuns: a failed task of which the platform says that it runs
// although it was told to end is stopped as one without a record is.
func TestFailedStillRuns(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	l := &rolled{orders: o}
	w.service.Launcher, w.service.Inline = l, true
	c := w.connect("ada", "notes")
	s := w.begin(o, c)
	w.ended(s.TaskID, "why")
	l.running = []string{s.TaskID}
	w.service.Sweep(t.Context())
	if len(o.stopped) != 1 || <-o.stopped != s.TaskID {
		t.Error("it was not stopped")
	}
}

// TestSilentRunner: one that took the request and stands still is given up while
// it is waited for, and the next request goes to another.
func TestSilentRunner(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	w.service.SetPatience(20 * time.Millisecond)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	hold := make(chan struct{})
	still := newPuppet(t, func(http.ResponseWriter, *http.Request) { <-hold })
	t.Cleanup(func() { close(hold) })
	s := w.begin(o, c)
	still.play(w, s)
	if resp, body := w.post(m, call); !strings.Contains(body, host.ErrLost.Error()) {
		t.Errorf("%s %s", resp.Status, body)
	}
	if id := <-o.stopped; id != s.TaskID {
		t.Errorf("%s was stopped", id)
	}
	newPuppet(t, silentServer).play(w, w.begin(o, c))
	if resp, body := w.post(m, call); resp.StatusCode != http.StatusOK {
		t.Errorf("the next: %s %s", resp.Status, body)
	}
}

// TestSlowAnswer: a runner that speaks may take its time.
func TestSlowAnswer(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	w.service.SetPatience(20 * time.Millisecond)
	c := w.connect("ada", "notes")
	looked := make(chan struct{}, 1000)
	slow := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			looked <- struct{}{}
			return
		}
		for range 5 {
			select {
			case <-looked:
			case <-r.Context().Done():
				return
			}
		}
		fmt.Fprint(rw, "late")
	})
	slow.play(w, w.begin(o, c))
	if resp, body := w.post(w.mint(c), call); resp.StatusCode != http.StatusOK || body != "late" {
		t.Errorf("%s %s", resp.Status, body)
	}
}
