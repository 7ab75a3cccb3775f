package refresh

import (
	"fmt"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/presets"
)

// planned is a provider that renews so.
type planned presets.Refresh

func (planned) Server(string) (presets.Server, bool) { return presets.Server{}, false }

func (h planned) Provider(id string) (presets.Provider, bool) {
	return presets.Provider{
		ID: id, DisplayName: "Acme", AuthorizationEndpoint: "https://acme.example/authorize", TokenEndpoint: "https://acme.example/token",
		Requests: presets.Requests{Exchange: &presets.TokenExchange{GrantType: "exchange_token", TokenParam: "access_token"}},
		Refresh:  presets.Refresh(h),
	}, true
}

const day = 24 * time.Hour

var issued = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// plannedRow is connected, used and issued at the same time, with a token of
// that life and a refresh token.
func plannedRow(life time.Duration) connection.Connection {
	return connection.Connection{
		Key: connection.Key{Tenant: "default", ID: "con_1"}, Provider: "acme", Status: connection.Connected,
		CreatedAt: issued, ConnectedAt: issued, LastUsedAt: issued,
		Set: connection.Set{GrantVersion: "set_1", AccessVersion: "set_1", IssuedAt: issued, AccessExpiresAt: issued.Add(life)},
	}
}

// TestPlan: of a connection that was just made, what is planned: times since
// then. A renewal is never later than before, and never more than a fifth of
// its margin earlier.
func TestPlan(t *testing.T) {
	t.Parallel()
	const never = time.Duration(0)
	refreshToken := func(end time.Duration, fixed bool) func(*connection.Connection) {
		return func(c *connection.Connection) { c.Set.RefreshExpiresAt, c.Set.RefreshFixed = issued.Add(end), fixed }
	}
	noExpiry := func(c *connection.Connection) { c.Set.AccessExpiresAt = time.Time{} }
	noGrant := func(c *connection.Connection) { c.Set.GrantVersion = "" }
	for _, test := range []struct {
		name   string
		habits presets.Refresh
		life   time.Duration
		row    func(*connection.Connection)
		// renewed no earlier than after, and no later than by.
		after, by    time.Duration
		ends, notice time.Duration
	}{
		{name: "an hour", life: time.Hour, after: 48 * time.Minute, by: 50 * time.Minute},
		{name: "ten minutes", life: 10 * time.Minute, after: 7*time.Minute + 36*time.Second, by: 8 * time.Minute},
		{name: "five minutes", life: 5 * time.Minute, after: 156 * time.Second, by: 3 * time.Minute},
		{name: "two minutes", life: 2 * time.Minute, after: 48 * time.Second, by: time.Minute},
		{name: "a day", life: day, after: day - 12*time.Minute, by: day - 10*time.Minute},
		{name: "shorter than the schedule sees", life: 59 * time.Second},
		{name: "the clock that issued it was ahead", life: -time.Minute},
		{name: "longer than anybody waits", life: 30 * day},
		{name: "a margin of its own", habits: presets.Refresh{Margin: "30m"}, life: time.Hour, after: 24 * time.Minute, by: 30 * time.Minute},
		{name: "a margin of more than there is", habits: presets.Refresh{Margin: "2h"}, life: time.Hour, after: 24 * time.Minute, by: 30 * time.Minute},
		{name: "the old one dies", habits: presets.Refresh{OnReuse: presets.OnReuse{OldAccessToken: presets.OldDies}}, life: time.Hour,
			after: 56*time.Minute + 24*time.Second, by: 57 * time.Minute},
		{name: "not before", habits: presets.Refresh{NotBefore: "30s"}, life: 10 * time.Minute, after: 9*time.Minute + 30*time.Second, by: 9*time.Minute + 30*time.Second},
		{name: "not before long ago", habits: presets.Refresh{NotBefore: "1h"}, life: time.Hour, after: 48 * time.Minute, by: 50 * time.Minute},

		{name: "no expiry", life: time.Hour, row: noExpiry},
		{name: "no expiry, and idle", habits: presets.Refresh{IdleTTL: "30d"}, row: noExpiry, after: 15*day - 36*time.Hour, by: 15 * day},
		{name: "idle before the token ends", habits: presets.Refresh{IdleTTL: "30d"}, life: 60 * day, after: 15*day - 36*time.Hour, by: 15 * day},
		{name: "the refresh token's end", life: 30 * day, row: refreshToken(10*day, false), after: 4*day + 12*time.Hour, by: 5 * day},
		{name: "idle sooner than its end", habits: presets.Refresh{IdleTTL: "4d"}, life: 30 * day, row: refreshToken(10*day, false),
			after: 2*day - 5*time.Hour, by: 2 * day},
		{name: "its end is fixed", life: 30 * day, row: refreshToken(10*day, true), ends: 10 * day, notice: 7*day + 12*time.Hour},
		{name: "its end is fixed, and it is used", life: time.Hour, row: refreshToken(60*day, true), after: 48 * time.Minute, by: 50 * time.Minute,
			ends: 60 * day, notice: 53 * day},
		{name: "an end too soon to tell", life: time.Hour, row: refreshToken(8*time.Hour, true), after: 48 * time.Minute, by: 50 * time.Minute, ends: 8 * time.Hour},
		{name: "a refresh token of a minute", life: 30 * day, row: refreshToken(time.Minute, false)},
		{name: "ends whatever happens", habits: presets.Refresh{AbsoluteTTL: "90d"}, life: time.Hour, after: 48 * time.Minute, by: 50 * time.Minute,
			ends: 90 * day, notice: 83 * day},
		{name: "the sooner of two ends", habits: presets.Refresh{AbsoluteTTL: "90d"}, life: 100 * day, row: refreshToken(40*day, true), ends: 40 * day, notice: 33 * day},
		{name: "nothing to renew with", life: 60 * day, row: noGrant, ends: 60 * day, notice: 53 * day},
		{name: "a grant that cannot be renewed", habits: presets.Refresh{Grant: presets.GrantNone}, life: 60 * day, ends: 60 * day, notice: 53 * day},

		{name: "exchanged while it lives", habits: presets.Refresh{Grant: presets.GrantExchange}, life: 60 * day, row: noGrant, after: 42 * day, by: 45 * day},
		{name: "exchanged although nobody comes", habits: presets.Refresh{Grant: presets.GrantExchange}, life: 60 * day,
			row: func(c *connection.Connection) {
				noGrant(c)
				c.LastUsedAt, c.ConnectedAt = time.Time{}, issued.Add(-300*day)
			}, after: 42 * day, by: 45 * day},

		{name: "pending", life: time.Hour, row: func(c *connection.Connection) { c.Status = connection.Pending }},
		{name: "reconnect needed", habits: presets.Refresh{IdleTTL: "1d"}, life: time.Hour,
			row: func(c *connection.Connection) { c.Status = connection.ReconnectNeeded }},
		{name: "a pasted key", life: time.Hour, row: func(c *connection.Connection) { c.Provider = "" }},
		{name: "not used for a week", life: time.Hour, row: func(c *connection.Connection) { c.LastUsedAt, c.ConnectedAt = issued.Add(-7*day), issued.Add(-30*day) }},
		{name: "used almost a week ago", life: time.Hour, after: 48 * time.Minute, by: 50 * time.Minute,
			row: func(c *connection.Connection) {
				c.LastUsedAt, c.ConnectedAt = issued.Add(-7*day+time.Hour), issued.Add(-30*day)
			}},
		{name: "never used, connected almost a week ago", life: time.Hour, after: 48 * time.Minute, by: 50 * time.Minute,
			row: func(c *connection.Connection) {
				c.LastUsedAt, c.ConnectedAt = time.Time{}, issued.Add(-7*day+time.Hour)
			}},

		{name: "failed", life: time.Hour, after: 55 * time.Minute, by: 56 * time.Minute, row: func(c *connection.Connection) {
			c.Failure, c.RetryAt = &connection.Failure{At: issued.Add(50 * time.Minute)}, issued.Add(55*time.Minute)
		}},
		{name: "failed before", life: time.Hour, after: 48 * time.Minute, by: 50 * time.Minute, row: func(c *connection.Connection) {
			c.Failure, c.RetryAt = &connection.Failure{At: issued}, issued.Add(5*time.Second)
		}},
		{name: "failed for a week", life: time.Hour, row: func(c *connection.Connection) {
			c.Failure, c.RetryAt = &connection.Failure{At: issued.Add(7 * day)}, issued.Add(7*day+time.Hour)
		}},
		{name: "failed, and about to die", habits: presets.Refresh{IdleTTL: "20d"}, life: time.Hour, after: 12 * day, by: 12*day + 12*time.Minute,
			row: func(c *connection.Connection) {
				c.Failure, c.RetryAt = &connection.Failure{At: issued.Add(12*day - time.Hour)}, issued.Add(12*day)
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &Service{Catalogue: planned(test.habits)}
			for i := range 200 {
				c := plannedRow(test.life)
				c.ID = fmt.Sprint("con_", i)
				if test.row != nil {
					test.row(&c)
				}
				s.plan(&c)
				if c.RenewAt.IsZero() != (test.by == never) ||
					test.by != never && (c.RenewAt.Before(issued.Add(test.after)) || c.RenewAt.After(issued.Add(test.by))) {
					t.Fatalf("renewed after %v, want from %v to %v", c.RenewAt.Sub(issued), test.after, test.by)
				}
				if want := issued.Add(test.ends); c.EndsAt.IsZero() != (test.ends == 0) || test.ends != 0 && !c.EndsAt.Equal(want) {
					t.Fatalf("ends at %v, want after %v", c.EndsAt, test.ends)
				}
				if want := issued.Add(test.notice); c.NoticeAt.IsZero() != (test.notice == 0) || test.notice != 0 && !c.NoticeAt.Equal(want) {
					t.Fatalf("announced at %v, want after %v", c.NoticeAt, test.notice)
				}
			}
		})
	}
}

// TestPlansDiffer: what was connected together is not renewed together, neither
// the first time nor ever after.
func TestPlansDiffer(t *testing.T) {
	t.Parallel()
	s := &Service{Catalogue: planned{}}
	at := func(id, version string) time.Duration {
		c := plannedRow(time.Hour)
		c.ID, c.Set.AccessVersion = id, version
		s.plan(&c)
		return c.RenewAt.Sub(issued)
	}
	byConnection, bySet := map[time.Duration]int{}, map[time.Duration]bool{}
	for i := range 1000 {
		byConnection[at(fmt.Sprint("con_", i), "set_1").Truncate(12*time.Second)]++ // a tenth of the spread
		bySet[at("con_1", fmt.Sprint("set_", i))] = true
	}
	for slot, n := range byConnection {
		if n < 50 || n > 200 {
			t.Errorf("%d of 1000 are renewed in the twelve seconds from %v", n, slot)
		}
	}
	if len(bySet) < 900 {
		t.Errorf("1000 sets of one connection have %d times", len(bySet))
	}
	if first, again := at("con_1", "set_1"), at("con_1", "set_1"); first != again {
		t.Errorf("the same row is planned for %v, then for %v", first, again)
	}
}

// TestMarginIsPartOfALife: no margin is longer than half of it, or negative.
func TestMarginIsPartOfALife(t *testing.T) {
	t.Parallel()
	for _, h := range []presets.Refresh{{}, {Margin: "1h"}, {Grant: presets.GrantExchange}, {OnReuse: presets.OnReuse{OldAccessToken: presets.OldDies}}} {
		for _, life := range []time.Duration{-time.Hour, 0, time.Second, time.Minute, time.Hour, 100 * day} {
			if m := Margin(h, life); m < 0 || m > max(life, 0)/2 {
				t.Errorf("%+v: of %v, %v", h, life, m)
			}
		}
	}
}

// TestFixed: whether a refresh token's end moves with its renewals is told from
// two of them.
func TestFixed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name            string
		passed, moved   time.Duration
		was, want, none bool
	}{
		{name: "moves along", passed: time.Hour, moved: time.Hour},
		{name: "moves along, told late", passed: 2 * time.Minute, moved: 2*time.Minute - 10*time.Second},
		{name: "stays", passed: time.Hour, want: true},
		{name: "stays, told late", passed: time.Hour, moved: 20 * time.Second, want: true},
		{name: "stays, with tokens of five minutes", passed: 3 * time.Minute, moved: -time.Second, want: true},
		{name: "stays as it did", passed: time.Hour, was: true, want: true},
		{name: "moves at last", passed: time.Hour, moved: time.Hour, was: true},
		{name: "too soon to say", passed: 30 * time.Second},
		{name: "too soon to say otherwise", passed: 30 * time.Second, was: true, want: true},
		{name: "no end", passed: time.Hour, none: true},
	} {
		old := connection.Set{IssuedAt: issued, RefreshExpiresAt: issued.Add(30 * day), RefreshFixed: test.was}
		renewed := connection.Set{IssuedAt: issued.Add(test.passed), RefreshExpiresAt: issued.Add(30*day + test.moved)}
		if test.none {
			renewed.RefreshExpiresAt = time.Time{}
		}
		if got := fixed(old, renewed); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// TestAnnouncedOnce: an end that is told anew with each renewal, a few seconds
// off, is one end.
func TestAnnouncedOnce(t *testing.T) {
	t.Parallel()
	s := &Service{Catalogue: planned{}}
	c := plannedRow(time.Hour)
	c.Set.RefreshFixed = true
	told := 0
	for i := range 100 {
		c.Set.RefreshExpiresAt = issued.Add(60*day + time.Duration(i%7)*time.Second)
		if s.plan(&c); !c.NoticeAt.IsZero() {
			told++
			c.AnnounceEnd(c.NoticeAt)
		}
	}
	if told != 1 || len(c.Events) != 1 {
		t.Errorf("announced %d times, %d events", told, len(c.Events))
	}
	c.Set.RefreshExpiresAt = c.Set.RefreshExpiresAt.Add(30 * day) // the person granted more
	if s.plan(&c); c.NoticeAt.IsZero() {
		t.Error("another end is not announced")
	}
}
