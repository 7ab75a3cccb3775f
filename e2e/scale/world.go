package scale

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
)

// failing is one more provider that rotates: the one that is down for a while.
const failing = "failing"

const providersURL = "https://providers.example"

// fleet are the connections at one provider.
type fleet struct {
	name      string
	authority *authority
	// down: it answers 503. refused counts those answers.
	down    atomic.Bool
	refused atomic.Int64
}

// world is what all processes share.
type world struct {
	seed     uint64
	n        int
	dynamodb *DynamoDB
	queue    *queue
	kms      *kms
	fleets   []*fleet
	ran      atomic.Int64 // nanoseconds that workers took for their batches

	workers sync.WaitGroup

	mu       sync.Mutex
	planned  []time.Duration // by connection: when its renewal is due, since start
	ends     []time.Duration // when its token ends
	start    time.Time
	phase    *phase
	lost     map[int]string
	renewals int
	failures []string
}

// phase is a part of the simulation that is reckoned apart.
type phase struct {
	late     map[string][]time.Duration // by provider: after the time that was planned
	expired  map[string]int             // tokens that had ended before they were renewed
	least    time.Duration              // what was left of a token's life, at least
	lastLate time.Duration              // when the last one was renewed that had ended
	sweeps   []sweep
}

// sweep is one run of the dispatcher.
type sweep struct {
	queued    int
	took      time.Duration // with what its requests take
	processor time.Duration // on this machine
}

func newPhase() *phase {
	return &phase{late: map[string][]time.Duration{}, expired: map[string]int{}, least: time.Hour}
}

func newWorld(n int, seed uint64) *world {
	w := &world{seed: seed, n: n, dynamodb: NewDynamoDB(), queue: newQueue(), kms: &kms{}, planned: make([]time.Duration, n), ends: make([]time.Duration, n),
		start: time.Now(), phase: newPhase(), lost: map[int]string{}}
	w.dynamodb.Forget = []string{"AUD#", "CONS#", "USER#", "HELD#"}
	for name, size := range map[string]int{keeping: refreshSize, rotating: longSize, failing: longSize} {
		w.fleets = append(w.fleets, &fleet{name: name, authority: newAuthority(name != keeping, size, n)})
	}
	return w
}

// nameOf is the provider of a connection: of ten, six are at the first, two at
// each of the others.
func nameOf(n int) string {
	switch n % 10 {
	case 6, 7:
		return rotating
	case 8, 9:
		return failing
	}
	return keeping
}

func (w *world) fleetOf(name string) *fleet {
	return w.fleets[slices.IndexFunc(w.fleets, func(f *fleet) bool { return f.name == name })]
}

// table is a way to the table that takes no time.
func (w *world) table() *cloud.Table {
	return &cloud.Table{API: w.dynamodb, Name: "lanyard", Now: time.Now, AuditDays: 400}
}

// connectAll makes the connections: their tokens are of all ages.
func (w *world) connectAll(ctx context.Context) error {
	table := w.table()
	s := stores{connections: table, gates: table, grants: table.Grants(), audit: table.Audit(), keys: cached(w.kms, time.Now)}
	v := process(s, &provider.Engine{}, providersURL, time.Now).Vault
	errs := make([]error, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for part := range errs {
		wg.Go(func() {
			for n := part; n < w.n; n += len(errs) {
				age := time.Duration(float64(48*time.Minute) * float64((uint64(n)*2654435761)%(1<<32)) / (1 << 32))
				c, err := connect(ctx, s, v, w.fleetOf(nameOf(n)).authority, key(nameOf(n), n), n, w.start.Add(-age).UTC())
				if err != nil {
					errs[part] = err
					return
				}
				w.planned[n], w.ends[n] = c.RenewAt.Sub(w.start), c.Set.AccessExpiresAt.Sub(w.start)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// renewed notes a renewal of a token that ends or ended at the given time.
func (w *world) renewed(c connection.Connection, end time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, now := numberOf(c.ID), time.Since(w.start)
	w.renewals++
	p := w.phase
	p.late[c.Provider] = append(p.late[c.Provider], now-w.planned[n])
	left := end.Sub(w.start) - now
	p.least = min(p.least, left)
	if left < 0 {
		p.expired[c.Provider]++
		p.lastLate = now
	}
	w.planned[n], w.ends[n] = c.RenewAt.Sub(w.start), c.Set.AccessExpiresAt.Sub(w.start)
}

// ended notes that a connection is no longer connected.
func (w *world) ended(c connection.Connection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost[numberOf(c.ID)] = c.Provider
}

// fail notes what must not be.
func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, fmt.Sprintf(format, args...))
}

// next begins another phase and returns the one that ends.
func (w *world) next() *phase {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.phase
	w.phase = newPhase()
	return p
}

// launch starts a worker.
func (w *world) launch(ctx context.Context, seed uint64) *worker {
	p := w.newWorker(seed)
	w.workers.Go(func() { p.run(ctx) })
	return p
}

// dispatch fills the queue every minute until ctx ends.
func (w *world) dispatch(ctx context.Context) {
	p := w.newWorker(0)
	table := &cloud.Table{API: &link{p, w.dynamodb}, Name: "lanyard", Now: time.Now, AuditDays: 400}
	q := &cloud.Queue{API: w.queue, URL: "queue"}
	every := time.NewTicker(time.Minute)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		w.workers.Go(func() {
			start, before := time.Now(), processorTime()
			queued, err := q.Fill(context.WithoutCancel(ctx), table, time.Now())
			if err != nil {
				w.fail("a sweep failed: %v", err)
			}
			s := sweep{queued, time.Since(start), processorTime() - before}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.phase.sweeps = append(w.phase.sweeps, s)
		})
	}
}

// processorTime is a clock that does not stand still in a bubble.
func processorTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}
