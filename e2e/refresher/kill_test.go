package refresher

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/refresh"
)

// point is where in a renewal a process is killed: at a step of its own, which
// it kills itself at, or while the provider has its request, which holds it as
// that fault says.
type point struct {
	name  string
	step  refresh.Step
	fault string
}

// points are all there are, in their order.
var points = []point{
	{name: "begun", step: refresh.StepBegun},
	{name: "opened", step: refresh.StepOpened},
	{name: "asked", fault: "hang"},
	{name: "exchanging", fault: "hold_reply"},
	{name: "exchanged", step: refresh.StepExchanged},
	{name: "stored", step: refresh.StepStored},
	{name: "swapped", step: refresh.StepSwapped},
	{name: "dropped", step: refresh.StepDropped},
}

// left is what a process leaves that is killed.
type left struct {
	// spent: the provider has renewed.
	spent bool
	// lease and intent are in the row; the grant after the one that the row
	// names is stored, or the one before.
	lease, intent, next, before bool
}

// outcome is what comes of a kill.
type outcome struct {
	// reached is false where a renewal has no such step.
	reached bool
	left    left
	// code is the reason for which the person has to reconnect; empty: the
	// connection goes on.
	code string
	// requests is how often the provider was asked, by both processes.
	requests int
}

// TestKilledAtEachStep: of two processes on one data directory, one is killed
// in a renewal, and the other takes over. The table in docs/refresh.md is what
// came of it.
func TestKilledAtEachStep(t *testing.T) {
	times := setting("PROOF_KILLS", 10)
	table := outcomes{all: map[string]outcome{}}
	t.Run("SQLite", func(t *testing.T) {
		for _, h := range []habit{strict, grace, shared, steady} {
			p := oneMachine(t)
			for _, at := range points {
				t.Run(h.name+"/"+at.name, func(t *testing.T) {
					t.Parallel()
					table.add(h, at, killed(t, p, h, at, times))
				})
			}
		}
	})
	if !t.Failed() && len(table.all) == 4*len(points) {
		table.compare(t)
	}
}

// TestKilledOnDynamoDB: the same on a deployment's table.
func TestKilledOnDynamoDB(t *testing.T) {
	p := deployment(t, dynamoDBLocal, config.StoreDynamoDB)
	for _, at := range points {
		t.Run(at.name, func(t *testing.T) { killed(t, p, strict, at, max(setting("PROOF_KILLS", 10)/5, 1)) })
	}
}

// killed kills processes at that point, and returns what came of it, the same
// each time.
func killed(t *testing.T, p place, h habit, at point, times int) outcome {
	a := newAccount(t, p, h)
	survivor := startProcess(t, p)
	var first outcome
	for n := range times {
		got := a.killOnce(survivor, at, n%2 == 1)
		if n == 0 {
			first = got
		} else if got != first {
			t.Errorf("kill %d came to %+v, the first to %+v", n, got, first)
		}
		if t.Failed() {
			return first
		}
	}
	// Whatever was left behind, the chain of renewals goes on.
	a.ahead += nextHour
	a.takeOver(survivor.do(a.order()), true)
	return first
}

// killOnce kills a process in a renewal that an hour has made due, and lets the
// survivor take over. Where that is possible it waits already if it is told to.
func (a *account) killOnce(survivor *process, at point, waits bool) (out outcome) {
	t := a.t
	t.Helper()
	a.ahead += nextHour
	version, before := a.row().Set.GrantVersion, a.auth.seen(t)
	victim := startProcess(t, a.place)
	o := a.order()
	o.KillStep = at.step
	if at.fault != "" {
		a.auth.fail(t, at.fault)
	}
	victim.tell(o)
	waits = waits && at.fault != ""
	if at.fault != "" {
		a.auth.held(t)
		if waits {
			survivor.tell(a.order())
			if _, ok := survivor.until("waiting"); !ok {
				t.Fatal("the survivor ended by itself")
			}
		}
		victim.kill()
		a.auth.heal(t)
	} else if r, killed := victim.killed(); !killed {
		a.takeOver(r, true) // there is no such step
		return outcome{requests: a.auth.seen(t).Refreshes - before.Refreshes}
	}
	out = outcome{reached: true, left: a.left(version, before)}
	alive := a.recoverable()
	// Somebody may know less than the provider: that asking again could end
	// other connections.
	if a.auth.Family == "all" && out.left.intent && !out.left.next {
		alive = false
	}
	a.ahead += leaseOut
	var r report
	if waits {
		survivor.tell(order{Do: "clock", Clock: a.ahead})
		var ok bool
		if r, ok = survivor.until("done"); !ok {
			t.Fatal("the survivor ended by itself")
		}
	} else {
		r = survivor.do(a.order())
	}
	out.code = a.takeOver(r, alive)
	if out.requests = a.auth.seen(t).Refreshes - before.Refreshes; out.requests > 2 {
		t.Errorf("the provider was asked %d times", out.requests)
	}
	if !alive {
		a.reconnect()
	}
	return out
}

// left looks at what a dead process has left, in the stores and at the provider.
func (a *account) left(version string, before seen) left {
	a.t.Helper()
	c := a.row()
	l := left{lease: c.LeasedAt(a.now()), intent: c.Intent != nil}
	if c.Intent != nil {
		_, l.next = a.stored(c.Intent.ID)
	}
	if c.Set.GrantVersion != version {
		_, l.before = a.stored(version)
	}
	l.spent = a.auth.seen(a.t).Renewed > before.Renewed
	return l
}

// takeOver judges what came of asking after a kill: a living token, if the
// connection is alive; else that the person has to reconnect, of which it
// returns the reason.
func (a *account) takeOver(r report, alive bool) (code string) {
	t := a.t
	t.Helper()
	c, s := a.row(), a.auth.seen(t)
	if c.Lease != nil || c.Intent != nil {
		t.Errorf("left behind: lease %+v, intent %+v", c.Lease, c.Intent)
	}
	switch {
	case alive:
		if len(r.Errors) > 0 || len(r.Tokens) != 1 || r.Tokens[s.Newest] == 0 || !a.auth.accepts(t, s.Newest) {
			t.Errorf("the provider would honour what is stored, but the answer is %d tokens, errors %q", len(r.Tokens), keys(r.Errors))
		}
	case len(r.Tokens) > 0 || len(r.Errors) != 1 || !strings.Contains(keys(r.Errors)[0], refresh.ErrReconnect.Error()):
		t.Errorf("the grant is lost, but the answer is %d tokens, errors %q", len(r.Tokens), keys(r.Errors))
	case c.Status != connection.ReconnectNeeded || c.Failure == nil || !strings.Contains(keys(r.Errors)[0], c.Failure.Detail):
		t.Errorf("status %s, failure %+v; the caller was told %q", c.Status, c.Failure, keys(r.Errors))
	default:
		return c.Failure.Code
	}
	return ""
}

func keys(m map[string]int) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

var update = flag.Bool("update", false, "write the table of docs/refresh.md anew")

// outcomes are of all habits and points.
type outcomes struct {
	mu  sync.Mutex
	all map[string]outcome
}

func (o *outcomes) add(h habit, at point, got outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all[h.name+"/"+at.name] = got
}

func (o *outcomes) of(h habit, at point) outcome { return o.all[h.name+"/"+at.name] }

// String is the table of docs/refresh.md.
func (o *outcomes) String() string {
	var b strings.Builder
	b.WriteString("| killed when | the provider | left in the store | rotates, a reuse ends the grant | rotates, with a grace window | a reuse ends other grants, too | does not rotate |\n|---|---|---|---|---|---|---|\n")
	for _, at := range points {
		l := o.of(strict, at).left
		fmt.Fprintf(&b, "| %s: %s | %s | %s |", at.name, meanings[at.name], l.provider(), l.store())
		for _, h := range []habit{strict, grace, shared, steady} {
			fmt.Fprintf(&b, " %s |", o.of(h, at))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// compare holds the table against the one in the docs, or writes it there.
func (o *outcomes) compare(t *testing.T) {
	t.Helper()
	const file, begin, end = "../../docs/refresh.md", "<!-- steps -->\n", "<!-- /steps -->"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(data), begin)
	said, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", file)
	}
	if *update {
		if err := os.WriteFile(file, []byte(head+begin+o.String()+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if said != o.String() {
		t.Errorf("the table in %s is not what came of the kills; go test -update writes it:\n%s", file, o)
	}
}

// meanings say what is done at each point.
var meanings = map[string]string{
	"begun":      "lease and intent are written",
	"opened":     "the grant lies open in memory",
	"asked":      "the request is sent",
	"exchanging": "the provider has worked, its answer is under way",
	"exchanged":  "the answer is there",
	"stored":     "the next grant is stored",
	"swapped":    "the row names it",
	"dropped":    "the spent grant is removed",
}

func (l left) provider() string {
	if l.spent {
		return "has renewed"
	}
	return "has not"
}

func (l left) store() string {
	var parts []string
	for _, p := range []struct {
		there bool
		name  string
	}{{l.lease, "lease"}, {l.intent, "intent"}, {l.next, "next grant"}, {l.before, "spent grant"}} {
		if p.there {
			parts = append(parts, p.name)
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

func (o outcome) String() string {
	times := []string{"not asked", "asked once", "asked twice"}[o.requests]
	switch {
	case !o.reached:
		return "no such step"
	case o.code != "":
		return fmt.Sprintf("**reconnect**, `%s`; %s", o.code, times)
	}
	return "goes on; " + times
}
