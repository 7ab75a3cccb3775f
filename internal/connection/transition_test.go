package connection_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	. "github.com/lanyardhq/lanyard/internal/connection"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

const ttl = time.Minute

func set(version string) Set {
	return Set{GrantVersion: version, GrantStore: "local", AccessVersion: version, Access: []byte(version)}
}

func proposal(flowID, version string) Proposal {
	return Proposal{
		FlowID: flowID, ConfirmBy: now.Add(10 * time.Minute), Set: set(version),
		Granted: Granted{Account: Account{Subject: version}, Scopes: []string{version}},
	}
}

// connected has the set "old" and nothing going on.
func connected() *Connection {
	return &Connection{
		Key: Key{Tenant: "default", ID: "con_1"}, Status: Connected, Health: Healthy, Set: set("old"), CreatedAt: now,
		Granted: Granted{Account: Account{Subject: "old"}, Scopes: []string{"a", "b"}},
	}
}

func pending() *Connection {
	p := proposal("flo_1", "new")
	return &Connection{Key: connected().Key, Status: Pending, Proposal: &p, CreatedAt: now}
}

func deleting(t *testing.T) *Connection {
	c := connected()
	if _, err := c.BeginDelete("deleter", now, ttl); err != nil {
		t.Fatal(err)
	}
	return c
}

func acquire(t *testing.T, c *Connection, holder string, at time.Time) Claim {
	t.Helper()
	claim, err := c.Acquire(holder, at, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

func TestAcquire(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		holder string
		at     time.Time
		want   error
	}{
		"somebody else's lease":               {"other", now.Add(ttl - 1), ErrLeased},
		"somebody else's lease that ran out":  {"other", now.Add(ttl), nil},
		"one's own lease":                     {"worker", now, nil},
		"one's own lease, after it had ended": {"worker", now.Add(2 * ttl), nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := connected()
			first := acquire(t, c, "worker", now)
			before := *c
			second, err := c.Acquire(test.holder, test.at, ttl)
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if err != nil {
				wantSame(t, *c, before)
				return
			}
			if second.Fence <= first.Fence || c.Fence != second.Fence || !c.Lease.Until.Equal(test.at.Add(ttl)) {
				t.Errorf("claims %+v and %+v, lease %+v", first, second, c.Lease)
			}
			if err := c.Release(first); !errors.Is(err, ErrFenced) {
				t.Errorf("the earlier claim still holds: %v", err)
			}
		})
	}
}

func wantSame(t *testing.T, got, want Connection) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if string(g) != string(w) {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}

// steps are everything that a holder of a lease can do with it.
var steps = map[string]func(*Connection, Claim) error{
	"Record": func(c *Connection, l Claim) error {
		return c.Record(l, Intent{ID: "next"}, now.Add(time.Hour))
	},
	"Adopt":   func(c *Connection, l Claim) error { return c.Adopt(l, "next", "hash") },
	"Release": func(c *Connection, l Claim) error { return c.Release(l) },
	"Renewed": func(c *Connection, l Claim) error { return c.Renewed(l, set("next"), nil, now) },
	"Failed": func(c *Connection, l Claim) error {
		return c.Failed(l, Failure{Verdict: "dead"}, true, false, now)
	},
}

// TestFencedOut: who has lost the lease, however that came about, can change
// nothing.
func TestFencedOut(t *testing.T) {
	t.Parallel()
	losses := map[string]func(*testing.T, *Connection, Claim){
		"another took it over": func(t *testing.T, c *Connection, _ Claim) { acquire(t, c, "other", now.Add(ttl)) },
		"released":             func(t *testing.T, c *Connection, l Claim) { must(t, c.Release(l)) },
		"renewed":              func(t *testing.T, c *Connection, l Claim) { must(t, c.Renewed(l, set("mine"), nil, now)) },
		"failed": func(t *testing.T, c *Connection, l Claim) {
			must(t, c.Failed(l, Failure{}, false, true, now))
		},
		"promoted": func(t *testing.T, c *Connection, _ Claim) {
			must(t, c.Propose(proposal("flo_1", "new")))
			must(t, c.Promote("flo_1", now))
		},
		"promoted and leased again by the same": func(t *testing.T, c *Connection, _ Claim) {
			must(t, c.Propose(proposal("flo_1", "new")))
			must(t, c.Promote("flo_1", now))
			acquire(t, c, "worker", now)
		},
		"deleted": func(t *testing.T, c *Connection, _ Claim) {
			if _, err := c.BeginDelete("deleter", now.Add(ttl), ttl); err != nil {
				t.Fatal(err)
			}
		},
	}
	for loss, lose := range losses {
		for step, do := range steps {
			t.Run(loss+"/"+step, func(t *testing.T) {
				c := connected()
				claim := acquire(t, c, "worker", now)
				lose(t, c, claim)
				before := *c
				if err := do(c, claim); !errors.Is(err, ErrFenced) {
					t.Errorf("error %v, want %v", err, ErrFenced)
				}
				wantSame(t, *c, before)
			})
		}
	}
	for step, do := range steps { // and a claim that never was one
		c := connected()
		if err := do(c, Claim{Key: c.Key}); !errors.Is(err, ErrFenced) {
			t.Errorf("%s without a lease: %v", step, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	c := connected()
	c.Failure, c.RetryAt, c.Status = &Failure{Count: 3}, now, ReconnectNeeded
	claim := acquire(t, c, "worker", now)
	must(t, c.Record(claim, Intent{ID: "next", Attempt: 1}, now.Add(time.Hour)))
	if c.Intent.ID != "next" || !c.Lease.Until.Equal(now.Add(time.Hour)) {
		t.Errorf("intent %+v, lease %+v", c.Intent, c.Lease)
	}
	must(t, c.Renewed(claim, set("next"), nil, now))
	want := connected()
	want.Set, want.LastRefreshAt, want.Fence = set("next"), now, 1
	wantSame(t, *c, *want) // scopes that the provider did not repeat are kept

	claim = acquire(t, c, "worker", now)
	must(t, c.Renewed(claim, set("later"), []string{"a"}, now))
	if len(c.Scopes) != 1 {
		t.Errorf("scopes %v", c.Scopes)
	}
}

func TestFailed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		dead, ambiguous bool
		status          Status
		intent          bool
	}{
		"to be tried again":      {false, false, Connected, false},
		"may have been spent":    {false, true, Connected, true},
		"dead":                   {true, false, ReconnectNeeded, false},
		"dead, and may be spent": {true, true, ReconnectNeeded, true},
	} {
		c := connected()
		for count := 1; count <= 2; count++ {
			claim := acquire(t, c, "worker", now)
			must(t, c.Record(claim, Intent{ID: "next"}, now))
			must(t, c.Failed(claim, Failure{Code: "503"}, test.dead, test.ambiguous, now.Add(ttl)))
			if c.Failure.Count != count || c.Status != test.status || (c.Intent != nil) != test.intent {
				t.Errorf("%s: failure %+v, status %s, intent %v", name, c.Failure, c.Status, c.Intent)
			}
			if c.Lease != nil || !c.RetryAt.Equal(now.Add(ttl)) || c.Set.GrantVersion != "old" {
				t.Errorf("%s: lease %v, retry at %v, set %v", name, c.Lease, c.RetryAt, c.Set.GrantVersion)
			}
		}
	}
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	c := connected()
	claim := acquire(t, c, "worker", now)
	must(t, c.Record(claim, Intent{ID: "next"}, now.Add(ttl)))
	must(t, c.Adopt(claim, "next", "hash"))
	if c.Set.GrantVersion != "next" || c.Set.AccessVersion != "old" || c.Intent != nil || c.Lease == nil {
		t.Errorf("set %+v, intent %v, lease %v", c.Set, c.Intent, c.Lease)
	}
}

// A provider that names other scopes each time does not let the row grow.
func TestLostScopesAreBounded(t *testing.T) {
	t.Parallel()
	c := Connection{Status: Connected, Granted: Granted{Scopes: []string{"granted by the person"}}}
	for n := range 300 {
		l, err := c.Acquire("worker", now, ttl)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Renewed(l, set("set_1"), []string{fmt.Sprint("scope-", n)}, now); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.ScopesLost); n > 100 || !slices.Contains(c.ScopesLost, "granted by the person") {
		t.Errorf("%d scopes are lost: %v", n, c.ScopesLost)
	}
}
