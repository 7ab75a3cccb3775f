// Package conformance says what the contracts of the stores mean, as tests.
//
// There is one suite for each interface, and one subtest for each sentence of
// its comment. Every implementation runs the suites: the in-memory fake, the
// one-machine stores and the cloud's. A new one needs a test file of twenty
// lines: see package fake.
//
// Each subtest asks for a new, empty store and races it as several functions
// would. What only several processes can show is tested by the adapters.
package conformance

import (
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const tenant = "default"

// epoch is when the suites' records begin: with a fraction of a second, which
// has to survive.
var epoch = time.Date(2026, 3, 4, 5, 6, 7, 890123456, time.UTC)

// race calls f n times at once and returns when all have.
func race(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

// oneWins races f and reports unless it succeeds once, and fails with lost
// otherwise.
func oneWins(t *testing.T, n int, lost error, f func(i int) error) {
	t.Helper()
	var won atomic.Int64
	race(n, func(i int) {
		if err := f(i); err == nil {
			won.Add(1)
		} else if !errors.Is(err, lost) {
			t.Errorf("racer %d lost with %v, want %v", i, err, lost)
		}
	})
	if won.Load() != 1 {
		t.Errorf("%d of %d racers won, want one", won.Load(), n)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// same compares two values by their documents.
func same(t *testing.T, got, want any) {
	t.Helper()
	g, err := json.Marshal(got)
	ok(t, err)
	w, err := json.Marshal(want)
	ok(t, err)
	if string(g) != string(w) {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}
