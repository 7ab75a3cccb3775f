package refresh_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/presets"
)

// most is how many of the times fall into one span.
func most(times []time.Time, span time.Duration) int {
	slices.SortFunc(times, time.Time.Compare)
	n := 0
	for i, from := 0, 0; i < len(times); i++ {
		for times[i].Sub(times[from]) >= span {
			from++
		}
		n = max(n, i-from+1)
	}
	return n
}

// TestRationOfAClient: however many ask, and in however many processes, no span
// of the window sees more than the limit, and most of it is used.
func TestRationOfAClient(t *testing.T) {
	for _, ration := range []presets.RateLimit{
		{Limit: 1, Window: "60s"}, {Limit: 8, Window: "1m"}, {Limit: 100, Window: "1m"}, {Limit: 600, Window: "10s"}, {Limit: 1, Window: "1s"},
	} {
		ration.Per = presets.PerClient
		t.Run(fmt.Sprint(ration.Limit, " in ", ration.Window), func(t *testing.T) {
			paced(t, 3, func(t *testing.T, g *gates, p []*refresh.Paced) {
				window := ration.Window.Value()
				const windows, people = 20, 30
				end := time.Now().Add(windows * window)
				var mu sync.Mutex
				var admitted []time.Time
				var all sync.WaitGroup
				for i := range people {
					all.Go(func() { // comes back the moment that it is told to
						for time.Now().Before(end) {
							c := of("acme", fmt.Sprint("con_", i))
							held := renewal(t, p[i%3], c, &ration, nil)
							if held == nil {
								mu.Lock()
								admitted = append(admitted, time.Now())
								mu.Unlock()
								time.Sleep(rand.N(time.Millisecond))
								continue
							}
							if !held.Until.After(time.Now()) || time.Until(held.Until) > window+time.Second {
								t.Errorf("held for %v", time.Until(held.Until))
								return
							}
							time.Sleep(time.Until(held.Until))
						}
					})
				}
				all.Wait()
				if n := most(admitted, window); n > ration.Limit {
					t.Errorf("%d in one window, of %d permitted", n, ration.Limit)
				}
				if permitted := windows * ration.Limit; len(admitted) < permitted*2/3 {
					t.Errorf("%d in %d windows, of %d permitted", len(admitted), windows, permitted)
				}
				if writes := int(g.writes.Load()); ration.Limit >= 600 && writes > len(admitted)/20 {
					t.Errorf("%d writes for %d renewals", writes, len(admitted))
				}
			})
		})
	}
}

// TestRationSpentLate: what a process keeps of a ration for a while is counted
// into the window in which it is spent.
func TestRationSpentLate(t *testing.T) {
	for _, kept := range []time.Duration{time.Second - time.Millisecond, 5 * time.Second} {
		t.Run(fmt.Sprint(kept), func(t *testing.T) { rationSpentLate(t, kept) })
	}
}

func rationSpentLate(t *testing.T, kept time.Duration) {
	paced(t, 2, func(t *testing.T, g *gates, p []*refresh.Paced) {
		ration := &presets.RateLimit{Per: presets.PerClient, Limit: 600, Window: "10s"}
		n := 0
		ask := func(p *refresh.Paced) *refresh.Held {
			held := renewal(t, p, of("acme", "con_1"), ration, nil)
			if held == nil {
				n++
			}
			return held
		}
		ask(p[0])
		time.Sleep(kept)
		n = 0
		before := g.writes.Load()
		for range 59 {
			ask(p[0])
		}
		if anew := g.writes.Load() > before; anew != (kept > time.Second) {
			t.Errorf("taken anew: %v", anew)
		}
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			if held := ask(p[1]); held != nil {
				time.Sleep(min(time.Until(held.Until), time.Until(end)))
			}
		}
		if n > 600 || n < 500 {
			t.Errorf("%d in a window of 600", n)
		}
	})
}

// TestRationedComeBackApart: those who wait for a ration are told to come back
// over as long as it takes to let them all through.
func TestRationedComeBackApart(t *testing.T) {
	paced(t, 1, func(t *testing.T, _ *gates, p []*refresh.Paced) {
		ration := &presets.RateLimit{Per: presets.PerClient, Limit: 60, Window: "1m"}
		var last *refresh.Held
		for i := range 300 {
			for range 3 { // one that asks again is still one
				if held := renewal(t, p[0], of("acme", fmt.Sprint("con_", i)), ration, nil); held != nil {
					last = held
				}
			}
		}
		if last == nil || last.Spread < 4*time.Minute || last.Spread > 8*time.Minute {
			t.Fatalf("%+v, want about five minutes", last)
		}
		for i := range 240 { // as many as there are tokens for
			time.Sleep(time.Second)
			if held := renewal(t, p[0], of("acme", fmt.Sprint("con_", 50+i)), ration, nil); held != nil {
				last = held
			}
		}
		if last.Spread > 3*time.Minute {
			t.Errorf("when most are through: %+v", last)
		}
		if last.Verdict != provider.Transient || !strings.Contains(last.Error(), "permits only so many renewals") {
			t.Errorf("told: %v (%s)", last, last.Verdict)
		}
		time.Sleep(time.Hour) // whoever still waited has gone
		p[0].Closed(t.Context(), of("acme", "con_1"))
		for i := range 20 {
			last = renewal(t, p[0], of("acme", fmt.Sprint("con_", i)), ration, nil)
		}
		if last == nil || last.Spread > 20*time.Second {
			t.Errorf("an hour later: %+v", last)
		}
	})
}

// TestRationOfAUser: each account has its own, whichever of its connections
// asks, and 429 is about that one.
func TestRationOfAUser(t *testing.T) {
	paced(t, 2, func(t *testing.T, g *gates, p []*refresh.Paced) {
		ration := &presets.RateLimit{Per: presets.PerUser, Limit: 1, Window: "1m"}
		account := func(subject, id string) connection.Connection {
			c := of("acme", id)
			c.Account.Subject = subject
			return c
		}
		through := func(c connection.Connection, process int, want bool) {
			t.Helper()
			if held := renewal(t, p[process], c, ration, nil); (held == nil) != want {
				t.Errorf("%s of %q: %v", c.ID, c.Account.Subject, held)
			}
		}
		through(account("ada", "con_1"), 0, true)
		through(account("ada", "con_2"), 0, false)
		through(account("ada", "con_3"), 1, false)
		through(account("eve", "con_4"), 0, true)
		through(account("", "con_5"), 0, true)
		through(account("", "con_6"), 0, true) // who knows whether it is the same
		through(account("", "con_5"), 1, false)
		time.Sleep(time.Minute + time.Microsecond)
		through(account("ada", "con_2"), 1, true)

		time.Sleep(time.Hour)
		if held := renewal(t, p[0], account("ada", "con_1"), ration, limited(10*time.Minute)); held != nil {
			t.Fatal(held)
		}
		time.Sleep(2 * time.Minute)
		through(account("ada", "con_2"), 0, false)
		through(account("ada", "con_2"), 1, false)
		through(account("eve", "con_4"), 0, true)
		time.Sleep(9 * time.Minute)
		through(account("ada", "con_2"), 1, true)
	})
}
