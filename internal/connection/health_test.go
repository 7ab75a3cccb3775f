package connection_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/lanyardhq/lanyard/internal/connection"
)

// TestHealth: each change of health is told once, in the order that it came;
// what nobody can notice yet is none.
func TestHealth(t *testing.T) {
	t.Parallel()
	c := connected()
	c.Set.AccessExpiresAt = now.Add(time.Hour)
	at := now
	fail := func(verdict Health, dead bool) {
		t.Helper()
		claim := acquire(t, c, "worker", at)
		must(t, c.Failed(claim, Failure{Verdict: string(verdict), Code: "code", Detail: "why", At: at}, dead, false, at.Add(time.Minute)))
	}
	renewed := func() {
		t.Helper()
		claim := acquire(t, c, "worker", at)
		next := set("next")
		next.AccessExpiresAt = at.Add(time.Hour)
		must(t, c.Renewed(claim, next, nil, at))
	}
	fail(ProviderDown, false) // its token lives yet
	if c.Health != Healthy || len(c.Events) != 0 {
		t.Fatalf("told of an outage that nobody noticed: %s %+v", c.Health, c.Events)
	}
	at = now.Add(2 * time.Hour)
	fail(ProviderDown, false)
	fail(ProviderDown, false)
	fail(Transient, false)
	fail(ClientMisconfigured, false)
	renewed()
	renewed()
	fail(ScopeLost, true)
	want := []Health{ProviderDown, Transient, ClientMisconfigured, Healthy, ScopeLost}
	was := Healthy
	for i, e := range c.Events {
		if i >= len(want) || e.Type != HealthChanged || e.Health != want[i] || e.Was != was || e.ID == "" || !e.NextAt.Equal(e.At) || (e.Reason == "why") != (e.Health != Healthy) {
			t.Errorf("event %d: %+v", i, e)
		}
		was = e.Health
	}
	if len(c.Events) != len(want) {
		t.Errorf("%d events, want %d", len(c.Events), len(want))
	}
	if !c.AttentionAt().Equal(c.Events[0].NextAt) {
		t.Errorf("attention at %v", c.AttentionAt())
	}
	rest := c.Events[1]
	rest.Tries = 1
	c.Delivered(c.Events[0].ID, nil)
	c.Delivered(rest.ID, &rest)
	if len(c.Events) != len(want)-1 || c.Events[0].Tries != 1 {
		t.Errorf("left: %+v", c.Events)
	}
	for range 20 { // an endpoint that never answers does not fill the row
		renewed()
		fail(NeedsReconnect, true)
		c.Status = Connected
	}
	if len(c.Events) > 8 || c.Events[len(c.Events)-1].Health != NeedsReconnect {
		t.Errorf("%d events wait", len(c.Events))
	}
}

// TestScopesLost: a scope that a renewal came without is missed until it is
// granted again; one that was never granted is not.
func TestScopesLost(t *testing.T) {
	t.Parallel()
	c := connected() // has a and b
	renewed := func(scopes ...string) {
		t.Helper()
		claim := acquire(t, c, "worker", now)
		must(t, c.Renewed(claim, set("next"), scopes, now))
	}
	renewed("b", "a")
	if c.Health != Healthy {
		t.Errorf("another order: %s", c.Health)
	}
	renewed("a")
	renewed("a")
	renewed() // the provider did not say
	if c.Health != ScopeLost || len(c.Events) != 1 || !strings.Contains(c.Events[0].Reason, "no longer grants b:") || c.Status != Connected {
		t.Errorf("%s, %s, %+v", c.Status, c.Health, c.Events)
	}
	renewed("a", "b")
	if c.Health != Healthy || len(c.Events) != 2 {
		t.Errorf("granted again: %s, %+v", c.Health, c.Events)
	}
}

// TestWait: that a provider is not asked for now is told of a connection once
// its token has ended, and once.
func TestWait(t *testing.T) {
	t.Parallel()
	c := connected()
	c.Set.AccessExpiresAt = now.Add(time.Hour)
	paused := Failure{Verdict: string(ClientMisconfigured), Code: "paused", Detail: "not asked", At: now}
	c.Wait(paused, now.Add(time.Hour-1))
	if c.Failure != nil || c.Health != Healthy || len(c.Events) != 0 {
		t.Errorf("while the token lives: %s, %+v", c.Health, c.Failure)
	}
	c.Wait(paused, now.Add(time.Hour))
	c.Wait(Failure{Verdict: string(ProviderDown)}, now.Add(2*time.Hour))
	if c.Failure == nil || c.Failure.Code != "paused" || c.Health != ClientMisconfigured || len(c.Events) != 1 || c.Events[0].Reason != "not asked" {
		t.Errorf("when it has ended: %s, %+v, %+v", c.Health, c.Failure, c.Events)
	}
	claim := acquire(t, c, "worker", now)
	must(t, c.Renewed(claim, set("next"), nil, now))
	if c.Failure != nil || c.Health != Healthy || len(c.Events) != 2 {
		t.Errorf("renewed: %s, %+v", c.Health, c.Events)
	}
	for _, status := range []Status{Pending, ReconnectNeeded, Deleting} {
		c := connected()
		c.Status, c.Set.AccessExpiresAt = status, now
		c.Wait(paused, now)
		if c.Failure != nil || len(c.Events) != 0 {
			t.Errorf("%s: %+v", status, c.Failure)
		}
	}
}

// TestAnnounceEnd: an end is told once, and another end again.
func TestAnnounceEnd(t *testing.T) {
	t.Parallel()
	c := connected()
	c.AnnounceEnd(now)
	c.EndsAt = now.Add(time.Hour)
	c.AnnounceEnd(now)
	c.AnnounceEnd(now)
	c.EndsAt = now.Add(2 * time.Hour)
	c.AnnounceEnd(now)
	if len(c.Events) != 2 || c.Events[0].Type != Expiring || !c.Events[1].EndsAt.Equal(c.EndsAt) {
		t.Errorf("events %+v", c.Events)
	}
}
