package scale

import (
	"context"
	"maps"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// The phases of the simulation, and in the middle of the outage some workers
// are lost.
const (
	warmUp = 2 * time.Minute
	steady = 8 * time.Minute
	outage = 10 * time.Minute
	after  = 10 * time.Minute
	// margin is how long before its end a token is due at the latest: what a
	// renewal may be late.
	margin = 10 * time.Minute
)

// TestSimulation keeps many connections fresh for some time, which is fake, with
// an outage of a provider and a loss of workers. BENCH_HOURS adds calm hours.
func TestSimulation(t *testing.T) {
	n := number(t, "BENCH_CONNECTIONS", 1000)
	workers := number(t, "BENCH_WORKERS", concurrency)
	calm := steady + time.Duration(number(t, "BENCH_HOURS", 0))*time.Hour
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(10 << 30))
	start, cpu := time.Now(), cpuTime()
	synctest.Test(t, func(t *testing.T) { simulate(t, n, workers, calm) })
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v by the clock, %v of %d processors, %.1f GB of memory", time.Since(start).Round(time.Second), (cpuTime() - cpu).Round(time.Second),
		runtime.GOMAXPROCS(0), float64(u.Maxrss)/(1<<20))
}

func simulate(t *testing.T, n, workers int, steady time.Duration) {
	w := newWorld(n, 1)
	before := processorTime()
	if err := w.connectAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d connections, %d workers; connected in %v", n, workers, (processorTime() - before).Round(time.Second))
	w.dynamodb.Units.Take()
	ctx, cancel := context.WithCancel(t.Context())
	var running []*worker
	for i := range workers {
		running = append(running, w.launch(ctx, uint64(i+1)))
	}
	w.workers.Go(func() { w.dispatch(ctx) })

	time.Sleep(warmUp)
	w.next()
	w.dynamodb.Units.Take()
	kms, ran := w.kms.calls.Load(), w.ran.Load()
	time.Sleep(steady)
	calm, used := w.next(), w.dynamodb.Units.Take()
	kms, ran = w.kms.calls.Load()-kms, w.ran.Load()-ran
	calm.report(t, "steady", steady)
	reckoned(t, calm, used)
	renewals := float64(calm.renewals())
	t.Logf("a renewal, besides: %.4f read units of sweeps, %.4f calls of KMS, %.3f seconds of the function", used[dueIndex].Reads/renewals, float64(kms)/renewals, time.Duration(ran).Seconds()/renewals)

	f := w.fleetOf(failing)
	f.down.Store(true)
	// While they attend what the minute's sweep has found.
	time.Sleep(outage/2 + time.Second/2)
	var killed []*worker
	for i, p := range running {
		if p.busy.Load() && len(killed) < max(2, workers/3) {
			p.kill()
			killed = append(killed, p)
			w.launch(ctx, uint64(workers+i+1)) // as Lambda would
		}
	}
	time.Sleep(outage/2 - time.Second/2)
	f.down.Store(false)
	back := time.Since(w.start)
	time.Sleep(after)
	troubled := w.next()
	troubled.report(t, "outage, loss of workers and after", outage+after)
	cancel()
	w.queue.close()
	w.workers.Wait()

	died := map[int]string{}
	for _, p := range killed {
		for n := range p.answers {
			died[n] = nameOf(n)
		}
	}
	t.Logf("the provider that was down for %v was asked %d times meanwhile, of %d connections; its last token that had ended was renewed %v after it was back",
		outage, f.refused.Load(), n/5, max(0, troubled.lastLate-back).Round(time.Second))
	t.Logf("%d of %d workers were killed at their work; %d answers of rotating providers died with them; %d connections were lost", len(killed), workers, len(died), len(w.lost))
	for n, provider := range w.lost {
		if died[n] == "" {
			t.Errorf("connection %d at the provider %s was lost, although no answer to it was", n, provider)
		}
	}
	q := w.queue
	t.Logf("queue: %d messages in %d requests, %.3f a renewal; %d received, %d deleted, %d redelivered, %d dead, %d too old, %d waiting at most",
		q.sent, q.sends+q.receives+q.deletes, float64(q.sends+q.receives+q.deletes)/float64(w.renewals), q.received, q.deleted, q.redelivered, q.dead, q.expired, q.most)
	for _, line := range w.failures {
		t.Error(line)
	}
	for _, name := range []string{keeping, rotating} {
		if p99 := quantile(troubled.late[name], 0.99); p99 >= margin {
			t.Errorf("renewals at the provider %s came %v late (p99), their margin is %v", name, p99, margin)
		}
		if troubled.expired[name]+calm.expired[name] > 0 {
			t.Errorf("%d tokens of the provider %s ended before they were renewed", troubled.expired[name]+calm.expired[name], name)
		}
	}
	for n, end := range w.ends {
		if w.lost[n] == "" && end < time.Since(w.start) {
			w.renewedUnseen(t, n)
		}
	}
	if n <= fewEnough {
		w.reread(t)
	}
}

// renewedUnseen checks that a token that seems to have ended was renewed by a
// process that did not live to hear that it was.
func (w *world) renewedUnseen(t *testing.T, n int) {
	t.Helper()
	c, err := w.table().Get(t.Context(), key(nameOf(n), n))
	if err != nil {
		t.Fatal(err)
	}
	if !time.Now().Before(c.Set.AccessExpiresAt) {
		t.Errorf("the token of connection %d at %s has ended and was not renewed: failure %+v, lease %v, intent %v", n, c.Provider, c.Failure, c.Lease, c.Intent)
	}
}

// fewEnough connections are read again at the end.
const fewEnough = 10_000

// reread checks that the rows are what was seen of them.
func (w *world) reread(t *testing.T) {
	t.Helper()
	table := w.table()
	for n := range w.n {
		c, err := table.Get(t.Context(), key(nameOf(n), n))
		if err != nil {
			t.Fatal(err)
		}
		if connected := c.Status == connection.Connected; connected != (w.lost[n] == "") || connected && c.Set.AccessExpiresAt.Before(time.Now()) {
			t.Errorf("connection %d is %s, and its token ends at %v; lost: %q", n, c.Status, c.Set.AccessExpiresAt, w.lost[n])
		}
	}
}

// reckoned prints what a renewal took, and checks that the prices reckon with
// it.
func reckoned(t *testing.T, p *phase, used map[string]Used) {
	t.Helper()
	var prices struct {
		Renewal map[string]float64 `yaml:"renewal"`
	}
	data, err := os.ReadFile("../../infra/prices.yaml")
	if err == nil {
		err = yaml.Unmarshal(data, &prices)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, suffix := range map[string]string{keeping: "", rotating: "_rotating"} {
		per := float64(len(p.late[name]))
		sum := total(used, "#"+name)
		writes, reads := (sum.Writes+sum.Index)/per, sum.Reads/per
		t.Logf("%s: %.2f write units and %.2f read units a renewal:\n%s", name, writes, reads, list(only(used, name), per))
		for unit, got := range map[string]float64{"writes": writes, "reads": reads} {
			if want := prices.Renewal[unit+suffix]; math.Abs(got-want) > 0.2 {
				t.Errorf("a renewal takes %.2f %s, infra/prices.yaml says %.2f: write it there, and make costs", got, unit+suffix, want)
			}
		}
	}
}

func only(used map[string]Used, name string) map[string]Used {
	out := maps.Clone(used)
	maps.DeleteFunc(out, func(kind string, _ Used) bool { return kindTenant(kind) != name })
	return out
}

func (p *phase) renewals() (n int) {
	for _, late := range p.late {
		n += len(late)
	}
	return n
}

// quantile is of sorted times.
func quantile(late []time.Duration, q float64) time.Duration {
	return late[min(len(late)-1, int(q*float64(len(late))))].Round(time.Millisecond)
}

func (p *phase) report(t *testing.T, name string, took time.Duration) {
	t.Helper()
	t.Logf("%s, %v: %d renewals, %.0f/s", name, took, p.renewals(), float64(p.renewals())/took.Seconds())
	for _, provider := range slices.Sorted(maps.Keys(p.late)) {
		late := slices.Sorted(slices.Values(p.late[provider]))
		at := func(q float64) time.Duration {
			return late[min(len(late)-1, int(q*float64(len(late))))].Round(time.Millisecond)
		}
		t.Logf("  %-9s %8d renewals, later than planned: p50 %v, p99 %v, at most %v; %d tokens had ended", provider, len(late), at(0.5), at(0.99), at(1), p.expired[provider])
	}
	var queued, longest int
	var took1, processor time.Duration
	for _, s := range p.sweeps {
		queued, longest = queued+s.queued, max(longest, s.queued)
		took1, processor = max(took1, s.took), processor+s.processor
	}
	if len(p.sweeps) > 0 {
		t.Logf("  %d sweeps queued %d connections, at most %d; the longest took %v; %v each on this machine", len(p.sweeps), queued, longest, took1, processor/time.Duration(len(p.sweeps)))
	}
	t.Logf("  at least %v of a token's life was left", p.least.Round(time.Second))
}
