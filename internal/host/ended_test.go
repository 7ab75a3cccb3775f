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

func silentServer(http.ResponseWriter, *http.Request) {}

func (w *world) ended(id, why string) {
	w.t.Helper()
	if err := w.service.Ended(w.t.Context(), host.Ended{TaskID: id, Why: why, Said: "arn:aws:iam::123456789012:role/x " + why}); err != nil {
		w.t.Fatal(err)
	}
}

// listTools asks for the connection's tools, and returns why there are none.
func (w *world) listTools(c connection.Connection) error {
	_, err := w.service.Tools(w.t.Context(), page(c.UserID), c.Key)
	return err
}

// TestEndedWhileStarting: who waits for a task that ends is told why at once, in
// words that are for a person.
func TestEndedWhileStarting(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	waiting := make(chan error, 1)
	go func() { waiting <- w.listTools(c) }()
	s := o.next(t)
	w.ended(s.TaskID, "the image of its task could not be fetched")
	select {
	case err := <-waiting:
		wantErr(t, "who waits", err, host.ErrServerFailed)
		if text := fmt.Sprint(err); !strings.Contains(text, "could not be fetched") || strings.Contains(text, "arn:") {
			t.Errorf("told %q", text)
		}
	case <-time.After(time.Minute):
		t.Fatal("whoever waits is never told")
	}
	if !strings.Contains(w.log.String(), "arn:aws:iam") {
		t.Error("the log does not have the platform's own words")
	}
	_, err := w.service.Claim(t.Context(), s.Identity, claimRequest(s))
	wantErr(t, "a claim after the end", err, task.ErrRefused)
}

// TestEndedWhileReady: the record of a task that was killed claims no more that
// there is one, and the next call starts another, at once.
func TestEndedWhileReady(t *testing.T) {
	t.Parallel()
	for name, age := range map[string]time.Duration{"soon": 0, "after hours": 3 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, o := newOrders(t)
			c := w.connect("ada", "notes")
			s := w.begin(o, c)
			newPuppet(t, silentServer).play(w, s)
			w.clock.advance(age)
			w.ended(s.TaskID, "its task ended with exit code 137")
			if got, err := w.store.TaskOf(t.Context(), c.Key); err == nil && got.State == host.TaskReady || err == nil && age > 0 {
				t.Errorf("the record is still there: %+v", got)
			}
			second := w.begin(o, c)
			if second.TaskID == s.TaskID {
				t.Error("the same task was started again")
			}
			newPuppet(t, silentServer).play(w, second)
			// Told again, and late: of a task that is not the connection's any more.
			w.ended(s.TaskID, "its task ended with exit code 137")
			if got, err := w.store.TaskOf(t.Context(), c.Key); err != nil || got.ID != second.TaskID || got.State != host.TaskReady {
				t.Errorf("a stale event did harm: %+v %v", got, err)
			}
			if len(o.started) != 0 {
				t.Error("another task was started")
			}
		})
	}
}

// TestEndedUnknown: events of tasks that we ended, or that were never ours.
func TestEndedUnknown(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	s := w.begin(o, c)
	w.ended("tsk_unknown", "x")
	if got, err := w.store.TaskOf(t.Context(), c.Key); err != nil || got.ID != s.TaskID || got.State != host.TaskStarting {
		t.Errorf("%+v %v", got, err)
	}
	w.service.Disconnected(t.Context(), c.Key)
	w.ended(s.TaskID, "x")
	if _, err := w.store.TaskOf(t.Context(), c.Key); !errors.Is(err, host.ErrNoTask) {
		t.Errorf("an event brought a record back: %v", err)
	}
}

// TestEndedWarm: what waited and ended is given to nobody; what never came up is
// not replaced every minute.
func TestEndedWarm(t *testing.T) {
	t.Parallel()
	w, o := warmWorld(t, map[string]int{"notes": 2})
	started := startedWarm(w, o, 2)
	up, never := started[0].TaskID, started[1].TaskID
	register(w, started[0], 0)
	w.ended(up, "its task ended")
	w.ended(up, "its task ended")
	w.ended(never, "the image of its task could not be fetched")
	if pool := w.pool(); len(pool) != 1 || pool[never].ID != never {
		t.Errorf("%+v", pool)
	}
	startedWarm(w, o, 1)
	if s := w.begin(o, w.connect("ada", "notes")); s.Warm || s.Ticket == "" {
		t.Errorf("a connection was given %+v", s)
	}
}
