package refresh_test

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

func TestFreshTokenIsNotRenewed(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		first := w.living(w.service, k)
		time.Sleep(58 * time.Minute)
		if w.living(w.service, k) != first {
			t.Error("another token")
		}
		w.sent(0)
	})
}

func TestDueTokenIsRenewed(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		before := w.row(k)
		time.Sleep(59*time.Minute + time.Second)
		w.living(w.service, k)
		w.sent(1)
		c := w.row(k)
		if c.Set.GrantVersion == before.Set.GrantVersion || c.Lease != nil || c.Intent != nil || c.LastRefreshAt.IsZero() || c.LastUsedAt.IsZero() {
			t.Errorf("row %+v", c)
		}
		if _, err := w.store.Grants().Get(t.Context(), k, before.Set.GrantVersion); !errors.Is(err, vault.ErrNoGrant) {
			t.Errorf("the spent grant is still stored: %v", err)
		}
		time.Sleep(2 * time.Hour)
		w.living(w.service, k)
		w.sent(2)
	})
}

// A caller gets the lifetime that it asks for, if a fresh token has it; else
// half of what there is, rather than a renewal for each call.
func TestMinTTL(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		ask := func(minTTL time.Duration) {
			t.Helper()
			if _, _, err := w.service.Token(t.Context(), user, k, minTTL, "token"); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			ask(24 * time.Hour)
			time.Sleep(2 * time.Minute)
		}
		w.sent(0)
		time.Sleep(10 * time.Minute)
		ask(24 * time.Hour)
		ask(24 * time.Hour)
		w.sent(1)
		time.Sleep(15 * time.Minute)
		ask(40 * time.Minute)
		w.sent(1)
		ask(50 * time.Minute) // 45 are left
		w.sent(2)
	})
}

// TestOneExchange: 200 callers in three processes, one refresh token.
func TestOneExchange(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		w.acme.on = func(string, url.Values) (reply, bool) { time.Sleep(2 * time.Second); return reply{}, false }
		time.Sleep(time.Hour)
		processes := []*refresh.Service{w.service, w.process(nil), w.process(nil)}
		tokens := make([]string, 200)
		var all sync.WaitGroup
		for i := range tokens {
			all.Go(func() {
				var err error
				if tokens[i], err = w.token(processes[i%3], k); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		w.sent(1)
		for _, got := range tokens {
			if got != tokens[0] || !w.acme.accepts(got) {
				t.Fatal("a caller has another token")
			}
		}
	})
}

// Who asked first may leave; the renewal goes on.
func TestRenewalOutlivesItsCaller(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		w.acme.on = func(string, url.Values) (reply, bool) { time.Sleep(5 * time.Second); return reply{}, false }
		time.Sleep(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := w.service.Token(ctx, user, k, 0, "token"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		w.living(w.service, k)
		w.sent(1)
	})
}

func TestInvalidGrant(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		w.acme.answers(reply{status: 400, body: `{"error":"invalid_grant"}`})
		time.Sleep(time.Hour)
		other := w.process(nil)
		var all sync.WaitGroup
		for i := range 60 {
			s := []*refresh.Service{w.service, other}[i%2]
			all.Go(func() {
				if a, err := w.token(s, k); !errors.Is(err, refresh.ErrReconnect) || a != "" {
					t.Errorf("error %v", err)
				}
			})
		}
		all.Wait()
		for range 10 {
			time.Sleep(time.Hour)
			w.refused(k, refresh.ErrReconnect)
		}
		w.sent(1)
		if c := w.row(k); c.Status != connection.ReconnectNeeded || c.Failure.Code != "invalid_grant" || c.Lease != nil {
			t.Errorf("row %s, %+v", c.Status, c.Failure)
		}
	})
}

// A process that was held up while another one learned that the grant is dead
// does not ask again.
func TestDeadGrantIsNotAskedAgain(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		held := w.process(func(op string, done bool) error {
			if op == "update" && !done {
				time.Sleep(30 * time.Second) // between reading the row and taking the lease
			}
			return nil
		})
		w.acme.answers(reply{status: 400, body: `{"error":"invalid_grant"}`})
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := w.token(held, k); err == nil {
				t.Error("a token of a dead grant")
			}
		})
		synctest.Wait() // it has read the row
		w.refused(k, refresh.ErrReconnect)
		all.Wait()
		w.sent(1)
	})
}

// Nor does one that was held up while another one renewed.
func TestStillDueIsAskedUnderTheLease(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		held := w.process(func(op string, done bool) error {
			if op == "update" && !done {
				time.Sleep(30 * time.Second)
			}
			return nil
		})
		var all sync.WaitGroup
		all.Go(func() { w.living(held, k) })
		synctest.Wait()
		w.living(w.service, k)
		all.Wait()
		w.sent(1)
	})
}

func TestTransientFailure(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(59*time.Minute + 30*time.Second)
		w.acme.answers(reply{status: 503})
		for range 20 {
			w.living(w.service, k) // the old one lives for half a minute yet
		}
		w.sent(1)
		time.Sleep(time.Minute)
		_, err := w.token(w.service, k)
		var down *refresh.Unavailable
		if !errors.As(err, &down) || down.RetryAfter <= 0 || down.Failure.Count != 2 {
			t.Fatalf("error %v", err)
		}
		w.sent(2)
		for range 24 * 60 {
			time.Sleep(time.Minute)
			_, _ = w.token(w.service, k)
		}
		if n := w.acme.sent(); n < 20 || n > 40 {
			t.Errorf("%d requests in a day", n)
		}
		w.acme.on = nil
		time.Sleep(time.Hour)
		w.living(w.service, k)
		if c := w.row(k); c.Failure != nil || !c.RetryAt.IsZero() {
			t.Errorf("the failure stays: %+v", c.Failure)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		w.acme.answers(reply{status: 429, retryAfter: "600"})
		_, err := w.token(w.service, k)
		var down *refresh.Unavailable
		if !errors.As(err, &down) || down.RetryAfter != 10*time.Minute {
			t.Fatalf("error %v", err)
		}
		w.acme.on = nil
		time.Sleep(9 * time.Minute)
		if _, err = w.token(w.process(nil), k); !errors.As(err, &down) || down.RetryAfter != time.Minute {
			t.Fatalf("error %v", err)
		}
		w.sent(1)
		time.Sleep(time.Minute)
		w.living(w.service, k)
	})
}

func TestNoRotationWritesNoGrant(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.acme.keeps = true
		k := w.connect("acme", "ada1")
		before := w.row(k)
		time.Sleep(time.Hour)
		w.living(w.process(func(op string, _ bool) error {
			if op == "put" || op == "remove" {
				t.Errorf("%s: the grant was touched", op)
			}
			return nil
		}), k)
		if c := w.row(k); c.Set.GrantVersion != before.Set.GrantVersion || c.Set.AccessVersion == before.Set.AccessVersion {
			t.Errorf("grant %s, access %s", c.Set.GrantVersion, c.Set.AccessVersion)
		}
		time.Sleep(time.Hour)
		w.living(w.service, k)
		w.sent(2)
	})
}

// Of two tokens, the one that was renewed is stored although the other one's
// renewal failed: its old refresh token is spent.
func TestPartialResultIsStored(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("two-tokens", "ada1")
		time.Sleep(time.Hour)
		n := 0
		w.acme.on = func(path string, _ url.Values) (reply, bool) {
			if path == "/token" {
				n++
			}
			return reply{status: 503}, path == "/token" && n == 2 // the user's
		}
		ask := func() token.Access {
			t.Helper()
			a, _, err := w.service.Token(t.Context(), user, k, time.Minute, "token")
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		ask()
		if w.row(k).Intent != nil {
			t.Error("the intent stays although its result is stored")
		}
		a := ask()
		if !w.acme.accepts(a.Tokens[""].AccessToken.Reveal()) || !w.acme.accepts(a.Tokens["user"].AccessToken.Reveal()) {
			t.Error("a token is dead")
		}
		w.sent(3)
	})
}

// A grant that has to be traded for a newer one needs no refresh token.
func TestExchangedTokenIsRenewed(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("exchanging", "ada1")
		first := w.living(w.service, k)
		time.Sleep(59*time.Minute + time.Second)
		if w.living(w.service, k) == first {
			t.Error("the same token")
		}
		w.sent(1)
	})
}

// A token that cannot be renewed is handed out as long as it lives.
func TestUnrenewableTokenIsUsedToItsEnd(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("no-refresh", "ada1")
		time.Sleep(time.Hour - time.Second)
		w.living(w.service, k)
		time.Sleep(time.Second)
		w.refused(k, refresh.ErrReconnect)
		w.sent(0)
	})
}

// Whoever reconnects while the old set is being renewed wins.
func TestPromotionFencesARenewalOut(t *testing.T) {
	for name, answer := range map[string]reply{"renewed": {}, "refused": {status: 400, body: `{"error":"invalid_grant"}`}} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				k := w.connect("acme", "ada1")
				time.Sleep(time.Hour)
				w.acme.on = func(string, url.Values) (reply, bool) {
					w.propose(k, "flo_again", "ada1")
					w.promote(k, "flo_again")
					return answer, answer.status != 0
				}
				w.living(w.service, k)
				c := w.row(k)
				if c.Status != connection.Connected || c.ConnectedAt.Before(time.Now()) || c.Failure != nil || len(c.Retired) != 1 {
					t.Errorf("row %s %+v", c.Status, c.Failure)
				}
			})
		})
	}
}
