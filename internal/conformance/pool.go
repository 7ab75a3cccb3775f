package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lanyardhq/lanyard/internal/host"
)

// Pool is the suite of host.Pool.
func Pool(t *testing.T, newPool func(*testing.T) host.Pool) {
	for name, check := range map[string]func(*testing.T, host.Pool){
		"AddWarmTwice":            addWarmTwice,
		"WarmKeepsEveryField":     warmKeepsEveryField,
		"ReadyWarmOnce":           readyWarmOnce,
		"ReadyWarmUnknown":        readyWarmUnknown,
		"TakeWarmOfTheServer":     takeWarmOfTheServer,
		"TakeWarmRaced":           takeWarmRaced,
		"TakenWarmIsGone":         takenWarmIsGone,
		"TakenWarmMayBeGivenBack": takenWarmMayBeGivenBack,
		"DropWarm":                dropWarm,
		"DropWarmRacesTake":       dropWarmRacesTake,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newPool(t))
		})
	}
}

// sampleWarm is a task that has not registered.
func sampleWarm(n int) host.Warm {
	return host.Warm{ID: fmt.Sprintf("tsk_%02d", n), Server: "drive", StartedAt: epoch}
}

// registration is what the task of that record registers.
func registration(w host.Warm) host.Warm {
	return host.Warm{ID: w.ID, IdentityHash: "identity", Address: "[fd00::1]:8443", KeyFingerprint: "sha256:1"}
}

// addReady adds a registered record, and returns it as it is kept.
func addReady(t *testing.T, p host.Pool, w host.Warm) host.Warm {
	t.Helper()
	ok(t, p.AddWarm(t.Context(), w))
	r := registration(w)
	ok(t, p.ReadyWarm(t.Context(), r))
	r.Server, r.StartedAt, r.Registered = w.Server, w.StartedAt, true
	return r
}

func warmTasks(t *testing.T, p host.Pool, want ...host.Warm) {
	t.Helper()
	got, err := p.WarmTasks(t.Context())
	ok(t, err)
	slices.SortFunc(got, func(a, b host.Warm) int { return strings.Compare(a.ID, b.ID) })
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		same(t, got[i], want[i])
	}
}

func addWarmTwice(t *testing.T, p host.Pool) {
	w := addReady(t, p, sampleWarm(1))
	other := sampleWarm(1)
	other.Server = "mail"
	wantErr(t, p.AddWarm(t.Context(), other), host.ErrExists)
	warmTasks(t, p, w)
}

func warmKeepsEveryField(t *testing.T, p host.Pool) {
	warmTasks(t, p)
	ok(t, p.AddWarm(t.Context(), sampleWarm(1)))
	warmTasks(t, p, sampleWarm(1))
	second := addReady(t, p, sampleWarm(2))
	warmTasks(t, p, sampleWarm(1), second)
	got, err := p.TakeWarm(t.Context(), "drive")
	ok(t, err)
	same(t, got, second)
}

// readyWarmOnce: whoever comes second changes nothing, and what is not the
// registration's to say is kept.
func readyWarmOnce(t *testing.T, p host.Pool) {
	ok(t, p.AddWarm(t.Context(), sampleWarm(1)))
	var mu sync.Mutex
	var first host.Warm
	oneWins(t, 16, host.ErrExists, func(i int) error {
		r := registration(sampleWarm(1))
		r.Address, r.Server = fmt.Sprint("host-", i, ":1"), "mail"
		err := p.ReadyWarm(t.Context(), r)
		if err == nil {
			mu.Lock()
			first = r
			mu.Unlock()
		}
		return err
	})
	first.Server, first.StartedAt, first.Registered = "drive", epoch, true
	warmTasks(t, p, first)
}

func readyWarmUnknown(t *testing.T, p host.Pool) {
	ok(t, p.AddWarm(t.Context(), sampleWarm(1)))
	wantErr(t, p.ReadyWarm(t.Context(), registration(sampleWarm(2))), host.ErrNoTask)
	warmTasks(t, p, sampleWarm(1))
}

func takeWarmOfTheServer(t *testing.T, p host.Pool) {
	_, err := p.TakeWarm(t.Context(), "drive")
	wantErr(t, err, host.ErrNoTask)
	ok(t, p.AddWarm(t.Context(), sampleWarm(1))) // which has not registered
	mail := sampleWarm(2)
	mail.Server = "mail"
	mail = addReady(t, p, mail)
	_, err = p.TakeWarm(t.Context(), "drive")
	wantErr(t, err, host.ErrNoTask)
	got, err := p.TakeWarm(t.Context(), "mail")
	ok(t, err)
	same(t, got, mail)
	warmTasks(t, p, sampleWarm(1))
}

// takeWarmRaced: each task has one taker, and those who come too late have none.
func takeWarmRaced(t *testing.T, p host.Pool) {
	const tasks, takers = 4, 16
	for n := range tasks {
		addReady(t, p, sampleWarm(n))
	}
	var mu sync.Mutex
	taken := map[string]int{}
	race(takers, func(int) {
		w, err := p.TakeWarm(t.Context(), "drive")
		if err != nil {
			if !errors.Is(err, host.ErrNoTask) {
				t.Error(err)
			}
			return
		}
		mu.Lock()
		defer mu.Unlock()
		taken[w.ID]++
	})
	for id, n := range taken {
		if n != 1 {
			t.Errorf("%s was taken %d times", id, n)
		}
	}
	if len(taken) != tasks {
		t.Errorf("%d of %d tasks were taken", len(taken), tasks)
	}
	warmTasks(t, p)
}

func takenWarmIsGone(t *testing.T, p host.Pool) {
	w := addReady(t, p, sampleWarm(1))
	_, err := p.TakeWarm(t.Context(), w.Server)
	ok(t, err)
	warmTasks(t, p)
	_, err = p.TakeWarm(t.Context(), w.Server)
	wantErr(t, err, host.ErrNoTask)
	wantErr(t, p.ReadyWarm(t.Context(), registration(w)), host.ErrNoTask)
	wantErr(t, p.DropWarm(t.Context(), w.ID), host.ErrNoTask)
}

func takenWarmMayBeGivenBack(t *testing.T, p host.Pool) {
	want := addReady(t, p, sampleWarm(1))
	for range 2 {
		w, err := p.TakeWarm(t.Context(), want.Server)
		ok(t, err)
		ok(t, p.AddWarm(t.Context(), w))
		warmTasks(t, p, want)
		wantErr(t, p.ReadyWarm(t.Context(), registration(w)), host.ErrExists)
	}
}

func dropWarm(t *testing.T, p host.Pool) {
	first, second := addReady(t, p, sampleWarm(1)), sampleWarm(2)
	ok(t, p.AddWarm(t.Context(), second))
	ok(t, p.DropWarm(t.Context(), second.ID))
	wantErr(t, p.DropWarm(t.Context(), second.ID), host.ErrNoTask)
	wantErr(t, p.DropWarm(t.Context(), "tsk_unknown"), host.ErrNoTask)
	warmTasks(t, p, first)
}

// dropWarmRacesTake: who drops a record may stop its task, so that it must not
// be another's by then.
func dropWarmRacesTake(t *testing.T, p host.Pool) {
	for n := range 8 {
		w := addReady(t, p, sampleWarm(n))
		oneWins(t, 2, host.ErrNoTask, func(i int) error {
			if i == 0 {
				return p.DropWarm(t.Context(), w.ID)
			}
			_, err := p.TakeWarm(t.Context(), w.Server)
			return err
		})
	}
}
