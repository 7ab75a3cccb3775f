package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/presets"
)

// TestWhatCloses: which failures are about a provider as a whole, and for how
// long it is left alone then.
func TestWhatCloses(t *testing.T) {
	for _, test := range []struct {
		name     string
		failures []*provider.Error
		want     time.Duration
	}{
		{"nothing", nil, 0},
		{"down four times", []*provider.Error{down, down, down, down}, 0},
		{"down five times", []*provider.Error{down, down, down, down, down}, 30 * time.Second},
		{"down, and not in a row", []*provider.Error{down, down, down, down, nil, down, down, down, down}, 0},
		{"a dead grant is an answer", []*provider.Error{down, down, down, down, dead, down, down, down, down}, 0},
		{"a lost scope is an answer", []*provider.Error{down, down, down, down, narrowed, down, down, down, down}, 0},
		{"something passing is not", []*provider.Error{down, down, down, down, passing, down}, 30 * time.Second},
		{"something passing alone", slices.Repeat([]*provider.Error{passing}, 20), 0},
		{"dead grants", slices.Repeat([]*provider.Error{dead}, 20), 0},
		{"the client is refused twice", []*provider.Error{misconfigured, misconfigured}, 0},
		{"the client is refused", []*provider.Error{misconfigured, misconfigured, misconfigured}, time.Minute},
		{"429", []*provider.Error{limited(0)}, 30 * time.Second},
		{"429 for a while", []*provider.Error{limited(10 * time.Minute)}, 10 * time.Minute},
		{"429 for no time", []*provider.Error{limited(time.Millisecond)}, time.Second},
		{"429 for ever", []*provider.Error{limited(365 * 24 * time.Hour)}, time.Hour},
		{"403, and when to come back", []*provider.Error{{Verdict: provider.Transient, Status: 403, RetryAfter: 7 * time.Second}}, 7 * time.Second},
		{"503, and when to come back", []*provider.Error{{Verdict: provider.ProviderDown, Status: 503, RetryAfter: 7 * time.Second}}, 7 * time.Second},
		{"503 five times, and when to come back",
			[]*provider.Error{down, down, down, down, {Verdict: provider.ProviderDown, Status: 503, RetryAfter: 7 * time.Second}}, 30 * time.Second},
		{"503 five times, and to come back late",
			[]*provider.Error{down, down, down, down, {Verdict: provider.ProviderDown, Status: 503, RetryAfter: 7 * time.Minute}}, 7 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			paced(t, 1, func(t *testing.T, _ *gates, p []*refresh.Paced) {
				if got := closes(t, p[0], test.failures...); got != test.want {
					t.Errorf("closed for %v, want %v", got, test.want)
				}
			})
		})
	}
}

// growing are n spans, each longer than the one before, and one more of the
// most.
func growing(first time.Duration, by float64, n int, most time.Duration) (out []time.Duration) {
	for span := first; len(out) < n; span = min(most, time.Duration(float64(span)*by)) {
		out = append(out, span)
	}
	return append(out, most)
}

// TestOneAsksForAll: of a thousand in three processes, one is let through when
// the time has come, and what becomes of that one is what all go by. Each
// failure adds to the time.
func TestOneAsksForAll(t *testing.T) {
	for name, test := range map[string]struct {
		failure *provider.Error
		closing int
		spans   []time.Duration
	}{
		"down":          {down, 5, growing(30*time.Second, 1.25, 16, 10*time.Minute)},
		"misconfigured": {misconfigured, 3, growing(time.Minute, 2, 7, time.Hour)},
		"429":           {limited(0), 1, growing(30*time.Second, 2, 6, 10*time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			paced(t, 3, func(t *testing.T, g *gates, p []*refresh.Paced) {
				// throng lets a thousand come at once, and counts who got through.
				throng := func(e *provider.Error) int {
					var through atomic.Int64
					var all sync.WaitGroup
					for i := range 1000 {
						all.Go(func() {
							c := of("acme", fmt.Sprint("con_", i))
							if p[i%3].Closed(t.Context(), c) != nil || p[i%3].Admit(t.Context(), c, nil) != nil {
								return
							}
							through.Add(1)
							time.Sleep(10 * time.Second) // until the provider has answered
							p[i%3].Report(t.Context(), c, e)
						})
					}
					all.Wait()
					return int(through.Load())
				}
				if closes(t, p[0], slices.Repeat([]*provider.Error{test.failure}, test.closing)...) != test.spans[0] {
					t.Fatal("not closed")
				}
				time.Sleep(5 * time.Second) // the others look
				for i, span := range test.spans {
					held := p[i%3].Closed(t.Context(), of("acme", "con_x"))
					if held == nil {
						t.Fatalf("open before it was tried %d times", i)
					}
					if left := time.Until(held.Until); left > span || left <= span-20*time.Second {
						t.Fatalf("closed for %v, want %v", left, span)
					}
					time.Sleep(time.Until(held.Until) - time.Nanosecond)
					if n := throng(test.failure); n != 0 {
						t.Fatalf("%d got through too early", n)
					}
					time.Sleep(time.Nanosecond)
					var outcome *provider.Error
					if i < len(test.spans)-1 {
						outcome = test.failure
					}
					if n := throng(outcome); n != 1 {
						t.Fatalf("try %d: %d got through, want one", i+1, n)
					}
					time.Sleep(5 * time.Second)
				}
				if n := throng(nil); n != 1000 {
					t.Errorf("%d got through an open gate", n)
				}
				// One closing, and for each try its beginning and its end.
				if n, want := g.writes.Load(), int64(1+2*len(test.spans)); n != want {
					t.Errorf("%d writes, want %d", n, want)
				}
			})
		})
	}
}

// TestRetryAfterIsKept: not even a success that was under way opens what the
// provider wants closed until then; and then all may come.
func TestRetryAfterIsKept(t *testing.T) {
	paced(t, 2, func(t *testing.T, _ *gates, p []*refresh.Paced) {
		slow := of("acme", "con_slow")
		if p[1].Admit(t.Context(), slow, nil) != nil {
			t.Fatal("closed")
		}
		closes(t, p[0], limited(90*time.Second))
		until := time.Now().Add(90 * time.Second)
		p[1].Report(t.Context(), slow, nil)
		p[0].Report(t.Context(), slow, nil)
		time.Sleep(5 * time.Second)
		for time.Now().Before(until) {
			for i := range 2 {
				if held := p[i].Closed(t.Context(), slow); held == nil || !held.Until.Equal(until) {
					t.Fatalf("%v before its time: %v", time.Until(until), held)
				}
			}
			time.Sleep(500 * time.Millisecond)
		}
		for i := range 100 {
			if held := renewal(t, p[i%2], of("acme", fmt.Sprint("con_", i)), nil, nil); held != nil {
				t.Fatalf("number %d is held: %v", i, held)
			}
		}
	})
}

// TestRetryAfterEndsTheGuessing: when whoever asks for all is told when to come
// back, that is when all may, and nothing else opens the gate.
func TestRetryAfterEndsTheGuessing(t *testing.T) {
	paced(t, 1, func(t *testing.T, _ *gates, p []*refresh.Paced) {
		slow := of("acme", "con_slow")
		if p[0].Admit(t.Context(), slow, nil) != nil {
			t.Fatal("closed")
		}
		closes(t, p[0], down, down, down, down, down)
		time.Sleep(30 * time.Second)
		if held := renewal(t, p[0], of("acme", "con_1"), nil, limited(10*time.Second)); held != nil {
			t.Fatal(held)
		}
		p[0].Report(t.Context(), slow, nil)
		held := p[0].Closed(t.Context(), slow)
		if held == nil || time.Until(held.Until) != 10*time.Second {
			t.Fatalf("%+v", held)
		}
		time.Sleep(10 * time.Second)
		for i := range 100 {
			c := of("acme", fmt.Sprint("con_", i))
			if p[0].Closed(t.Context(), c) != nil || p[0].Admit(t.Context(), c, nil) != nil {
				t.Fatalf("number %d is held", i)
			}
		}
	})
}

// TestOthersLookFirst: who has last looked at a gate before it could be tried
// looks again, and so gets no further than the gate.
func TestOthersLookFirst(t *testing.T) {
	paced(t, 2, func(t *testing.T, _ *gates, p []*refresh.Paced) {
		closes(t, p[0], down, down, down, down, down)
		time.Sleep(30*time.Second - time.Millisecond)
		if p[1].Closed(t.Context(), of("acme", "con_2")) == nil {
			t.Fatal("open")
		}
		time.Sleep(time.Millisecond)
		if p[0].Closed(t.Context(), of("acme", "con_1")) != nil || p[0].Admit(t.Context(), of("acme", "con_1"), nil) != nil {
			t.Fatal("nobody may ask")
		}
		if p[1].Closed(t.Context(), of("acme", "con_2")) == nil {
			t.Error("another process lets one through at the same time")
		}
	})
}

// TestLateReading: what was read before a gate was closed does not open it when
// it arrives.
func TestLateReading(t *testing.T) {
	paced(t, 1, func(t *testing.T, g *gates, p []*refresh.Paced) {
		g.late = time.Second
		var all sync.WaitGroup
		all.Go(func() { p[0].Closed(t.Context(), of("acme", "con_1")) })
		time.Sleep(500 * time.Millisecond)
		p[0].Report(t.Context(), of("acme", "con_2"), limited(time.Minute))
		all.Wait()
		if p[0].Closed(t.Context(), of("acme", "con_1")) == nil {
			t.Error("open")
		}
	})
}

// TestClosedMeanwhile: who passed a gate just before it was closed is stopped
// before the provider is asked.
func TestClosedMeanwhile(t *testing.T) {
	paced(t, 1, func(t *testing.T, g *gates, p []*refresh.Paced) {
		c := of("acme", "con_1")
		if p[0].Closed(t.Context(), c) != nil {
			t.Fatal("closed")
		}
		p[0].Report(t.Context(), of("acme", "con_2"), limited(time.Minute))
		var held *refresh.Held
		if err := p[0].Admit(t.Context(), c, nil); !errors.As(err, &held) || time.Until(held.Until) != time.Minute {
			t.Errorf("admitted: %v", err)
		}
	})
}

// TestOpenedByAnother: what a process counted before another one found the
// provider working does not count any more.
func TestOpenedByAnother(t *testing.T) {
	paced(t, 2, func(t *testing.T, _ *gates, p []*refresh.Paced) {
		closes(t, p[0], down, down, down, down, down)
		time.Sleep(30 * time.Second)
		if held := renewal(t, p[1], of("acme", "con_1"), nil, nil); held != nil {
			t.Fatal(held)
		}
		time.Sleep(5 * time.Second)
		if d := closes(t, p[0], down, down, down, down); d != 0 {
			t.Errorf("closed for %v after four failures", d)
		}
	})
}

// TestWhoAsksForAllDies: then another one does.
func TestWhoAsksForAllDies(t *testing.T) {
	paced(t, 2, func(t *testing.T, _ *gates, p []*refresh.Paced) {
		closes(t, p[0], down, down, down, down, down)
		time.Sleep(30 * time.Second)
		lost := of("acme", "con_lost")
		if p[0].Closed(t.Context(), lost) != nil || p[0].Admit(t.Context(), lost, nil) != nil {
			t.Fatal("nobody may ask")
		}
		time.Sleep(29 * time.Second)
		if renewal(t, p[1], of("acme", "con_1"), nil, nil) == nil {
			t.Error("a second one asks at the same time")
		}
		time.Sleep(time.Second)
		if held := renewal(t, p[1], of("acme", "con_1"), nil, nil); held != nil {
			t.Errorf("nobody may ask any more: %v", held)
		}
	})
}

// TestWhoIsOnTheWayDies: one that was let through and never asked, because the
// connection needed nothing any more, holds the others up for seconds only.
func TestWhoIsOnTheWayDies(t *testing.T) {
	paced(t, 1, func(t *testing.T, _ *gates, p []*refresh.Paced) {
		closes(t, p[0], down, down, down, down, down)
		time.Sleep(30 * time.Second)
		for range 3 {
			if p[0].Closed(t.Context(), of("acme", "con_lost")) != nil {
				t.Fatal("the first one is held")
			}
		}
		held := p[0].Closed(t.Context(), of("acme", "con_1"))
		if held == nil || time.Until(held.Until) > 5*time.Second || held.Spread == 0 {
			t.Fatalf("the next one: %+v", held)
		}
		time.Sleep(5 * time.Second)
		if held := renewal(t, p[0], of("acme", "con_1"), nil, nil); held != nil {
			t.Errorf("still held: %v", held)
		}
	})
}

// TestOneGateAlone: what closes one provider leaves the others alone, and so
// does one client, and one shop of many.
func TestOneGateAlone(t *testing.T) {
	paced(t, 1, func(t *testing.T, _ *gates, p []*refresh.Paced) {
		closes(t, p[0], limited(time.Hour))
		otherClient, shop := of("acme", "con_1"), of("acme", "con_1")
		otherClient.ClientID = "another"
		shop.Parameters = map[string]string{"shop": "a"}
		for name, c := range map[string]connection.Connection{"provider": of("other", "con_1"), "client": otherClient, "shop": shop} {
			if held := renewal(t, p[0], c, nil, nil); held != nil {
				t.Errorf("another %s: %v", name, held)
			}
		}
		elsewhere := of("acme", "con_1")
		elsewhere.Tenant, elsewhere.UserID, elsewhere.Variant, elsewhere.Parameters = "b", "eve", "x", map[string]string{}
		if p[0].Closed(t.Context(), elsewhere) == nil {
			t.Error("another tenant's connection of the same client passes")
		}
	})
}

// TestGateNames: whatever clients, shops and accounts are called, the names are
// short, safe and apart.
func TestGateNames(t *testing.T) {
	paced(t, 1, func(t *testing.T, g *gates, p []*refresh.Paced) {
		hostile := []string{"", "a", "a#b", "a", "b\",\"c", "GATE#acme", "\x00\xff", strings.Repeat("x", 10_000), "'; DROP TABLE gates; --", canary}
		ration := &presets.RateLimit{Per: presets.PerUser, Limit: 1000, Window: "1m"}
		want := map[string]bool{}
		for _, client := range hostile {
			for _, shop := range hostile {
				for _, account := range hostile {
					c := of("acme", "con_1")
					c.ClientID, c.Account.Subject = client, account
					if shop != "" {
						c.Parameters = map[string]string{"shop": shop}
					}
					want[fmt.Sprintf("%q %q", client, shop)] = true
					want[fmt.Sprintf("%q %q %q", client, shop, account)] = true
					renewal(t, p[0], c, ration, nil)
				}
			}
		}
		safe := regexp.MustCompile(`^acme\.[0-9a-f]{32}$`)
		for name := range g.names {
			if !safe.MatchString(name) {
				t.Fatalf("a gate's name is %q", name)
			}
		}
		if len(g.names) != len(want) {
			t.Errorf("%d names for %d gates", len(g.names), len(want))
		}
	})
}

// TestPacingCosts: while all is well, a process reads a gate every five seconds
// at most, and writes nothing.
func TestPacingCosts(t *testing.T) {
	paced(t, 1, func(t *testing.T, g *gates, p []*refresh.Paced) {
		for range 600 {
			var all sync.WaitGroup
			for i := range 20 {
				all.Go(func() { renewal(t, p[0], of("acme", fmt.Sprint("con_", i)), nil, nil) })
			}
			all.Wait()
			time.Sleep(100 * time.Millisecond)
		}
		if reads, writes := g.reads.Load(), g.writes.Load(); reads > 12 || writes != 0 {
			t.Errorf("12000 renewals in a minute took %d reads and %d writes", reads, writes)
		}
	})
}

// TestGatesUnavailable: nobody waits for our own bookkeeping, and a store that
// does not answer is not asked by each of them.
func TestGatesUnavailable(t *testing.T) {
	for name, fail := range map[string]func(context.Context) error{
		"refuses": func(context.Context) error { return connection.ErrUnavailable },
		"hangs": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			paced(t, 1, func(t *testing.T, g *gates, p []*refresh.Paced) {
				closes(t, p[0], limited(time.Hour))
				time.Sleep(5 * time.Second)
				g.fail = fail
				g.reads.Store(0)
				ration := &presets.RateLimit{Per: presets.PerClient, Limit: 1, Window: "1h"}
				begun := time.Now()
				var all sync.WaitGroup
				for i := range 200 {
					all.Go(func() {
						if held := renewal(t, p[0], of("acme", fmt.Sprint("con_", i)), ration, nil); held != nil {
							t.Errorf("held: %v", held)
						}
					})
				}
				all.Wait()
				if waited, reads := time.Since(begun), g.reads.Load(); waited > 5*time.Second || reads > 3 {
					t.Errorf("200 waited for %v and asked %d times", waited, reads)
				}
				g.fail = nil
				time.Sleep(5 * time.Second)
				if p[0].Closed(t.Context(), of("acme", "con_1")) == nil {
					t.Error("open although it can be read again")
				}
			})
		})
	}
}

// TestManyGates: a process that passes very many gates forgets the oldest.
func TestManyGates(t *testing.T) {
	paced(t, 1, func(t *testing.T, g *gates, p []*refresh.Paced) {
		ask := func(shop int) {
			c := of("acme", "con_1")
			c.Parameters = map[string]string{"shop": fmt.Sprint(shop)}
			p[0].Closed(t.Context(), c)
		}
		for i := range 10_000 {
			ask(i)
		}
		ask(0)
		if n := g.reads.Load(); n != 10_000 {
			t.Errorf("%d reads of 10000 gates", n)
		}
		for i := range 20_001 {
			ask(i)
		}
		ask(10_000)
		if n := g.reads.Load(); n != 20_001 {
			t.Errorf("%d reads, want that a gate is remembered as long as 10000 others", n)
		}
		for i := range 20_001 {
			ask(30_000 + i)
		}
		ask(0)
		if n := g.reads.Load(); n != 40_003 {
			t.Errorf("%d reads, want that the first gate was forgotten", n)
		}
	})
}
