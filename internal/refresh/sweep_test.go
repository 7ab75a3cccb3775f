package refresh_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/presets"
)

const day = 24 * time.Hour

// TestUnusedConnection costs an exchange for each of its tokens for a week,
// then nothing, until somebody comes back.
func TestUnusedConnection(t *testing.T) {
	runFleet(t, presets.Refresh{}, func(t *testing.T, f *fleet) {
		begun := time.Now()
		k := f.connect("acme", "ada1")
		f.pass(8*day, 2*time.Minute, nil)
		between(t, "exchanges in its week", len(f.net.renewals("acme", begun)), 200, 211)
		quiet := time.Now()
		before := f.row(k).Revision
		f.pass(30*day, time.Hour, nil)
		between(t, "exchanges in the month after", len(f.net.renewals("acme", quiet)), 0, 0)
		between(t, "writes in the month after", int(f.row(k).Revision-before), 0, 0)
		back := time.Now()
		f.living(f.processes[0], k)
		between(t, "exchanges for whoever comes back", len(f.net.renewals("acme", back)), 1, 1)
		f.pass(day, time.Minute, func() {
			if late := f.late([]connection.Key{k}); len(late) > 0 {
				t.Fatalf("its token ended %v ago", time.Since(late[0].Set.AccessExpiresAt))
			}
		})
		between(t, "exchanges in the day after", len(f.net.renewals("acme", back)), 29, 31)
	})
}

// TestIdleRefreshToken is kept alive for whoever comes back, at the half of its
// idle life.
func TestIdleRefreshToken(t *testing.T) {
	runFleet(t, presets.Refresh{IdleTTL: "10d"}, func(t *testing.T, f *fleet) {
		f.connect("acme", "ada1")
		f.pass(8*day, 5*time.Minute, nil)
		quiet := time.Now()
		f.pass(100*day, time.Hour, nil)
		all := f.net.renewals("acme", quiet)
		between(t, "exchanges in a hundred days", len(all), 20, 23)
		for i := range all[1:] {
			if gap := all[i+1].Sub(all[i]); gap > 5*day+time.Hour {
				t.Errorf("idle for %v", gap)
			}
		}
	})
}

// TestRefreshTokenThatEnds: one whose end moves with each renewal is kept alive
// at half of its life; one whose end does not move is not renewed for it, and
// its end is told once, ahead of time.
func TestRefreshTokenThatEnds(t *testing.T) {
	for name, test := range map[string]struct {
		slides        bool
		of, low, high int // exchanges in so many days
		expiring      int
	}{
		"slides": {slides: true, of: 300, low: 20, high: 22},
		"stays":  {of: 30, low: 1, high: 1, expiring: 1},
	} {
		t.Run(name, func(t *testing.T) {
			runFleet(t, presets.Refresh{TTLIfAbsent: "never"}, func(t *testing.T, f *fleet) {
				k := f.connect("acme", "ada1")
				first := time.Now().Add(30 * day)
				f.net.edit = func(answer map[string]any) {
					delete(answer, "expires_in") // the access token lives on
					answer["refresh_token_expires_in"] = int(time.Until(first).Seconds())
					if test.slides {
						answer["refresh_token_expires_in"] = int((30 * day).Seconds())
					}
				}
				f.update(k, func(c *connection.Connection) error {
					c.Set.AccessExpiresAt, c.Set.RefreshExpiresAt = time.Time{}, first
					return nil
				})
				var toldAt time.Time
				f.pass(time.Duration(test.of)*day, time.Hour, func() {
					if toldAt.IsZero() && len(f.told(connection.Expiring, k)) > 0 {
						toldAt = time.Now()
					}
				})
				between(t, "exchanges", len(f.net.renewals("acme", time.Time{})), test.low, test.high)
				told := f.told(connection.Expiring, k)
				between(t, "announcements", len(told), test.expiring, test.expiring)
				if len(told) > 0 && (told[0].EndsAt.Sub(first).Abs() > time.Minute || first.Sub(toldAt) < 6*day || first.Sub(toldAt) > 8*day) {
					t.Errorf("told %v ahead that it ends at %v, want %v", first.Sub(toldAt), told[0].EndsAt, first)
				}
			})
		})
	}
}

// TestEndIsToldThoughHeld: an end that comes near is told although the provider
// is not asked for now, and that is no reason to write at each sweep.
func TestEndIsToldThoughHeld(t *testing.T) {
	runFleet(t, presets.Refresh{AbsoluteTTL: "4d"}, func(t *testing.T, f *fleet) {
		k := f.connect("acme", "ada1")
		f.pass(3*day-2*time.Hour, time.Minute, nil)
		for _, s := range f.processes {
			s.Pace.Report(t.Context(), f.row(k), &provider.Error{Verdict: provider.Transient, Status: 429, RetryAfter: time.Hour})
		}
		for range 3 { // until the day before the end has begun
			f.pass(time.Hour, 5*time.Second, nil)
			f.processes[0].Pace.Report(t.Context(), f.row(k), &provider.Error{Verdict: provider.Transient, Status: 429, RetryAfter: time.Hour})
		}
		before := f.row(k).Revision
		f.pass(50*time.Minute, 5*time.Second, nil)
		between(t, "announcements", len(f.told(connection.Expiring, k)), 1, 1)
		between(t, "writes of 600 sweeps", int(f.row(k).Revision-before), 0, 2)
	})
}

// TestOutage: a provider is down for ten minutes. It is asked by a few, nobody's
// connection is lost, all of them are told and are fresh again within minutes,
// and another provider's never notice.
func TestOutage(t *testing.T) {
	runFleet(t, presets.Refresh{}, func(t *testing.T, f *fleet) {
		acme, other := f.connected("acme", 120, 48*time.Minute), f.connected("other", 30, 10*time.Minute)
		all := slices.Concat(acme, other)
		f.pass(time.Hour, time.Minute, func() {
			if late := f.late(all); len(late) > 0 {
				t.Fatalf("%d tokens ended with nothing wrong", len(late))
			}
		})
		healthyOther := func() {
			if late := f.late(other); len(late) > 0 {
				t.Fatalf("the other provider: %d tokens ended", len(late))
			}
		}
		f.net.fails("acme", reply{status: 503})
		began := time.Now()
		f.pass(10*time.Minute, time.Minute, func() {
			healthyOther()
			for _, k := range acme[:20] { // whoever has a living token has it
				if c := f.row(k); time.Now().Before(c.Set.AccessExpiresAt) {
					f.living(f.processes[1], k)
				}
			}
		})
		f.net.works()
		ended := time.Now()
		between(t, "requests in ten minutes of outage", len(f.net.renewals("acme", began)), 8, 25)
		recovered := time.Duration(0)
		f.pass(20*time.Minute, time.Minute, func() {
			healthyOther()
			if late := f.late(acme); len(late) > 0 {
				recovered = 0
			} else if recovered == 0 {
				recovered = time.Since(ended)
			}
		})
		between(t, "minutes until all are fresh again", int(recovered/time.Minute), 0, 5)
		returned := f.net.renewals("acme", ended)
		between(t, "requests in the busiest minute after it", most(returned, time.Minute), 1, 60)
		for _, k := range all {
			c := f.row(k)
			if c.Status != connection.Connected || c.Failure != nil || c.Health != connection.Healthy {
				t.Fatalf("a connection is %s and %s: %+v", c.Status, c.Health, c.Failure)
			}
		}
		var downs, ups int
		for _, e := range f.told(connection.HealthChanged, acme...) {
			switch {
			case e.Health == connection.ProviderDown:
				downs++
			case e.Was == connection.ProviderDown:
				ups++
			}
		}
		between(t, "connections that were without a token, and whose owners were told", downs, 0, 12)
		if downs != ups {
			t.Errorf("%d were told that it is down, %d that it is up again", downs, ups)
		}
		for _, e := range f.told(connection.HealthChanged, other...) {
			if e.Was != "" {
				t.Errorf("the other provider's: %+v", e)
			}
		}
	})
}

// TestHeldTokenEnds: who never asked, because others had learned that it is in
// vain, is told like them when the token ends.
func TestHeldTokenEnds(t *testing.T) {
	runFleet(t, presets.Refresh{}, func(t *testing.T, f *fleet) {
		k := f.connect("acme", "ada1")
		for range 4 { // somebody else's attempts
			f.processes[0].Pace.Report(t.Context(), f.row(k), &provider.Error{Verdict: provider.ClientMisconfigured, Status: 401, RetryAfter: time.Hour})
			f.pass(20*time.Minute, time.Minute, nil)
		}
		c, told := f.row(k), f.told(connection.HealthChanged, k)
		if c.Health != connection.ClientMisconfigured || c.Failure == nil || c.Status != connection.Connected {
			t.Fatalf("%s, %s, %+v", c.Status, c.Health, c.Failure)
		}
		if last := told[len(told)-1]; len(told) != 2 || last.Health != connection.ClientMisconfigured || last.At.Sub(c.Set.AccessExpiresAt) > time.Minute {
			t.Errorf("told: %+v", told)
		}
		_, err := f.token(f.processes[0], k)
		var down *refresh.Unavailable
		if !errors.As(err, &down) || down.Failure.Verdict != string(provider.ClientMisconfigured) || down.RetryAfter <= 0 ||
			!strings.Contains(down.Failure.Detail, "check the client id and secret") {
			t.Errorf("asked for a token: %v", err)
		}
		between(t, "requests", len(f.net.renewals("acme", time.Time{})), 0, 0)
	})
}

// TestNothingLearned: what fails before the provider has it says nothing about
// the provider.
func TestNothingLearned(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		pacer := &listening{}
		w.service.Pace = pacer
		w.service.Engine = &provider.Engine{HTTP: &http.Client{Transport: unreachable{}}, Now: time.Now, Logger: w.service.Logger}
		time.Sleep(time.Hour)
		if _, err := w.token(w.service, k); err == nil {
			t.Fatal("a token")
		}
		if pacer.admitted != 1 || pacer.reports != 0 {
			t.Errorf("%d admitted, %d reports", pacer.admitted, pacer.reports)
		}
	})
}

type listening struct {
	refresh.Unpaced
	admitted, reports int
}

func (l *listening) Admit(context.Context, connection.Connection, *presets.RateLimit) error {
	l.admitted++
	return nil
}

func (l *listening) Report(context.Context, connection.Connection, *provider.Error) { l.reports++ }

// unreachable is a host that must not be called.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, provider.ErrForbiddenAddress
}

// TestRateLimited: what says 429 and when to come back is not asked once before
// that, by whomever; then they come apart.
func TestRateLimited(t *testing.T) {
	runFleet(t, presets.Refresh{}, func(t *testing.T, f *fleet) {
		acme, other := f.connected("acme", 100, time.Second), f.connected("other", 20, time.Second)
		f.pass(time.Minute, time.Minute, nil) // planned
		time.Sleep(48 * time.Minute)          // some are due
		f.net.fails("acme", reply{status: 429, retryAfter: "600"})
		first := f.row(acme[0])
		if _, _, err := f.processes[0].Renew(t.Context(), user, first.Key, first.Set.AccessVersion, "token"); err != nil {
			t.Fatal(err) // the old one still lives
		}
		limited := time.Now()
		if n := len(f.net.renewals("acme", limited)); n != 1 {
			t.Fatalf("%d requests", n)
		}
		f.net.works()
		time.Sleep(5 * time.Second) // the other process looks
		f.pass(595*time.Second-time.Nanosecond, 5*time.Second, func() {
			for i, k := range acme[:10] {
				if _, _, err := f.processes[i%2].Token(t.Context(), user, k, 45*time.Minute, "token"); err != nil {
					t.Fatal(err)
				}
			}
		})
		asked := f.net.renewals("acme", limited)
		for _, at := range asked[1:] {
			if at.Before(limited.Add(10 * time.Minute)) {
				t.Fatalf("asked again after %v", at.Sub(limited))
			}
		}
		if late := f.late(other); len(late) > 0 || len(f.net.renewals("other", limited)) != 20 {
			t.Errorf("the other provider: %d late, %d renewals", len(late), len(f.net.renewals("other", limited)))
		}
		f.pass(5*time.Minute, 5*time.Second, func() {
			for _, c := range f.late(acme) {
				if late := time.Since(c.Set.AccessExpiresAt); late > 5*time.Second {
					t.Fatalf("a token ended %v ago", late)
				}
			}
		})
		returned := f.net.renewals("acme", limited)[1:]
		between(t, "requests in the five minutes after it", len(returned), 100, 110)
		between(t, "in the busiest ten seconds", most(returned, 10*time.Second), 1, 50)
	})
}

// TestRationed: a provider that takes eight renewals a minute gets no more, and
// those that have to wait are renewed in turn.
func TestRationed(t *testing.T) {
	ration := &presets.RateLimit{Per: presets.PerClient, Limit: 8, Window: "1m"}
	runFleet(t, presets.Refresh{RateLimit: ration, Margin: "30m"}, func(t *testing.T, f *fleet) {
		f.processes = f.processes[:1]
		keys := f.connected("acme", 60, time.Second)
		begun := time.Now()
		f.pass(55*time.Minute, 10*time.Second, nil)
		all := f.net.renewals("acme", begun)
		between(t, "in the busiest minute", most(all, time.Minute), 5, 8)
		for _, k := range keys {
			if !f.row(k).LastRefreshAt.After(begun) {
				t.Errorf("%s was not renewed", k.ID)
			}
		}
	})
}

// TestNotBefore: a provider that refuses early renewals is not asked early,
// whoever wants a longer life, unless it refuses the token, too.
func TestNotBefore(t *testing.T) {
	runFleet(t, presets.Refresh{NotBefore: "30s"}, func(t *testing.T, f *fleet) {
		s, begun := f.processes[0], time.Now()
		k := f.connect("acme", "ada1")
		ask := func(want int) {
			t.Helper()
			if _, _, err := s.Token(t.Context(), user, k, 10*time.Minute, "token"); err != nil {
				t.Fatal(err)
			}
			if n := len(f.net.renewals("acme", begun)); n != want {
				t.Fatalf("%d renewals, want %d", n, want)
			}
		}
		time.Sleep(time.Hour - 31*time.Second)
		ask(0)
		if _, _, err := s.Check(t.Context(), user, k, refresh.Doubt{}, "token"); err != nil {
			t.Fatal(err)
		}
		ask(0)
		time.Sleep(time.Second)
		ask(1)
		if _, _, err := s.Renew(t.Context(), user, k, f.row(k).Set.AccessVersion, "token"); err != nil {
			t.Fatal(err)
		}
		ask(2)
		last := time.Now()
		f.pass(day, 10*time.Second, nil)
		all := f.net.renewals("acme", last.Add(1))
		between(t, "renewals in a day", len(all), 24, 24)
		for _, at := range all {
			if life := at.Sub(last); life < time.Hour-30*time.Second || life > time.Hour-20*time.Second {
				t.Errorf("renewed after %v", life)
			}
			last = at
		}
	})
}

// TestUnrenewableGrant: what a provider gave although it renews nothing does not
// end the token before its time.
func TestUnrenewableGrant(t *testing.T) {
	runFleet(t, presets.Refresh{Grant: presets.GrantNone}, func(t *testing.T, f *fleet) {
		k := f.connect("acme", "ada1")
		f.pass(time.Hour-time.Second, time.Minute-time.Second, nil)
		if c := f.row(k); c.Status != connection.Connected || len(f.net.renewals("acme", time.Time{})) != 0 {
			t.Fatalf("%s: %+v", c.Status, c.Failure)
		}
	})
}
