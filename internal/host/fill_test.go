package host_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/task"
)

// brokenPool cannot be read.
type brokenPool struct{ *fake.Store }

var errPool = errors.New("the pool is down")

func (brokenPool) TakeWarm(context.Context, string) (host.Warm, error) {
	return host.Warm{}, errPool
}
func (brokenPool) WarmTasks(context.Context) ([]host.Warm, error) { return nil, errPool }

// TestPoolDown: without the pool there are ordinary starts, and nothing that
// runs is taken for an orphan.
func TestPoolDown(t *testing.T) {
	t.Parallel()
	w, o := warmWorld(t, map[string]int{"notes": 1})
	w.service.Pool, w.service.Launcher = brokenPool{w.store}, &rolled{orders: o, running: []string{"tsk_unknown"}}
	w.service.Sweep(t.Context())
	if s := w.begin(o, w.connect("ada", "notes")); s.Warm || s.Ticket == "" || len(o.stopped) != 0 {
		t.Errorf("%+v, %d stopped", s, len(o.stopped))
	}
}

// stopping lists no task any more that was stopped.
type stopping struct{ *rolled }

func (s stopping) Stop(ctx context.Context, id string) error {
	s.running = slices.DeleteFunc(s.running, func(r string) bool { return r == id })
	return s.rolled.Stop(ctx, id)
}

// TestFill: what waits is what the settings say, not older than half a day, and
// alive.
func TestFill(t *testing.T) {
	t.Parallel()
	w, o := warmWorld(t, map[string]int{"notes": 2, "mail": 1, "remote": 1, "unheard-of": 1})
	l := &rolled{orders: o}
	w.service.Launcher = stopping{l}
	sweep := func(what string, starts int, stops ...string) (started []string) {
		t.Helper()
		w.service.Sweep(t.Context())
		var stopped []string
		for len(o.stopped) > 0 {
			stopped = append(stopped, <-o.stopped)
		}
		slices.Sort(stopped)
		slices.Sort(stops)
		if len(o.started) != starts || !slices.Equal(stopped, stops) {
			t.Errorf("%s: %d started, want %d; stopped %v, want %v", what, len(o.started), starts, stopped, stops)
		}
		for len(o.started) > 0 {
			s := <-o.started
			started = append(started, s.Server.Name+" "+s.TaskID)
			l.running = append(l.running, s.TaskID)
		}
		slices.Sort(started) // mail before notes
		return started
	}
	id := func(started string) string { return started[strings.IndexByte(started, ' ')+1:] }
	up := func(id string) {
		t.Helper()
		_, err := w.service.Register(t.Context(), identityOf(id), task.WarmRequest{TaskID: id, Address: "127.0.0.1:1", KeyFingerprint: "f"})
		if err != nil {
			t.Fatal(err)
		}
	}
	first := sweep("empty", 3)
	sweep("full", 0)
	mail, note1, note2 := id(first[0]), id(first[1]), id(first[2])
	up(mail)
	up(note1)

	w.clock.advance(6 * time.Minute)
	third := id(sweep("one never registered", 1, note2)[0])
	up(third)

	w.service.Warm = map[string]int{"notes": 1}
	sweep("fewer, and a server less", 0, mail, note1) // the older one

	l.running = slices.DeleteFunc(l.running, func(id string) bool { return id == third })
	sweep("young, and the list lags behind", 0)
	w.clock.advance(3 * time.Minute)
	fourth := id(sweep("dead", 1, third)[0])
	up(fourth)

	w.clock.advance(11 * time.Hour)
	sweep("old", 0)
	w.clock.advance(2 * time.Hour)
	sweep("too old", 1, fourth)

	w.service.Warm = nil
	sweep("switched off", 0, slices.Collect(func(yield func(string) bool) {
		for id := range w.pool() {
			yield(id)
		}
	})...)
	l.running = nil
	w.service.Warm = map[string]int{"notes": 1}
	l.fail = errors.New("no capacity")
	w.service.Sweep(t.Context())
	if n := len(w.pool()); n != 0 {
		t.Errorf("%d records of tasks that were not started", n)
	}
	if !strings.Contains(fmt.Sprint(w.log), "no capacity") {
		t.Error("the log does not say why")
	}
}
