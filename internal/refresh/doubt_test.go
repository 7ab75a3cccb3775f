package refresh_test

import (
	"fmt"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
)

// endingOld makes the provider end the account's older access tokens when it renews,
// and counts how often it is asked whether it accepts one.
func endingOld(w *world) (asked func() int) {
	var mu sync.Mutex
	n := 0
	w.acme.on = func(path string, _ url.Values) (reply, bool) {
		w.acme.mu.Lock()
		defer w.acme.mu.Unlock()
		switch path {
		case "/token":
			clear(w.acme.access)
		case "/me":
			mu.Lock()
			defer mu.Unlock()
			n++
		}
		return reply{}, false
	}
	return func() int { mu.Lock(); defer mu.Unlock(); return n }
}

func (w *world) handedOut(k connection.Key) token.Access {
	w.t.Helper()
	a, _, err := w.service.Token(w.t.Context(), user, k, 0, "task")
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) doubt(s *refresh.Service, k connection.Key, d refresh.Doubt) token.Access {
	w.t.Helper()
	a, _, err := s.Check(w.t.Context(), user, k, d, "check")
	w.noSecret(err)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// TestDoubtAfterARenewal: whoever was refused with a token from before a renewal
// gets the one that it brought, and nobody asks the provider anything.
func TestDoubtAfterARenewal(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		asked := endingOld(w)
		k := w.connect("acme", "ada1")
		old := w.handedOut(k)
		if _, _, err := w.process(nil).Renew(t.Context(), user, k, w.row(k).Set.AccessVersion, "schedule"); err != nil {
			t.Fatal(err)
		}
		if w.acme.accepts(old.Tokens[""].AccessToken.Reveal()) {
			t.Fatal("the old token lives")
		}
		row := w.row(k)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				a := w.doubt(w.service, k, refresh.Doubt{Refused: old.Hash(), Quiet: i%2 == 0})
				if !w.acme.accepts(a.Tokens[""].AccessToken.Reveal()) {
					t.Error("a dead token")
				}
			})
		}
		wg.Wait()
		w.sent(1)
		if n := asked(); n != 0 {
			t.Errorf("the provider was asked %d times about a token that nobody doubts", n)
		}
		if got := w.row(k).Set.AccessVersion; got != row.Set.AccessVersion {
			t.Error("renewed again")
		}
		t.Logf("20 doubts, %d questions to the provider, %d renewals", asked(), w.acme.sent())
	})
}

// TestDoubtDuringARenewal: the provider has ended the old token and its successor
// is not stored yet. Whoever is refused now waits for it, and does not ask.
func TestDoubtDuringARenewal(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		t.Run(fmt.Sprintf("quiet=%v", quiet), func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				asked := endingOld(w)
				k := w.connect("acme", "ada1")
				old := w.handedOut(k)
				worker := w.process(nil)
				worker.AtStep = func(s refresh.Step) {
					if s == refresh.StepExchanged {
						time.Sleep(5 * time.Second)
					}
				}
				var wg sync.WaitGroup
				wg.Go(func() {
					if _, _, err := worker.Renew(t.Context(), user, k, w.row(k).Set.AccessVersion, "schedule"); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
				begun := time.Now()
				a := w.doubt(w.service, k, refresh.Doubt{Refused: old.Hash(), Quiet: quiet})
				if !w.acme.accepts(a.Tokens[""].AccessToken.Reveal()) {
					t.Error("a dead token")
				}
				if took := time.Since(begun); took > 8*time.Second {
					t.Errorf("it took %s", took)
				}
				wg.Wait()
				w.sent(1)
				if n := asked(); n != 0 {
					t.Errorf("the provider was asked %d times", n)
				}
			})
		})
	}
}

// TestDoubtOfTheCurrentToken: the provider decides, unless it was asked a moment
// ago. One that it refuses is renewed.
func TestDoubtOfTheCurrentToken(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		asked := endingOld(w)
		k := w.connect("acme", "ada1")
		a := w.handedOut(k)
		for _, step := range []struct {
			quiet bool
			asked int
			same  bool
			sent  int
		}{{true, 0, true, 0}, {false, 1, true, 0}} {
			got := w.doubt(w.service, k, refresh.Doubt{Refused: a.Hash(), Quiet: step.quiet})
			if asked() != step.asked || (got.Hash() == a.Hash()) != step.same {
				t.Errorf("%+v: asked %d times", step, asked())
			}
			w.sent(step.sent)
		}
		w.acme.mu.Lock()
		clear(w.acme.access)
		w.acme.mu.Unlock()
		got := w.doubt(w.service, k, refresh.Doubt{Refused: a.Hash()})
		if !w.acme.accepts(got.Tokens[""].AccessToken.Reveal()) || asked() != 2 {
			t.Errorf("asked %d times", asked())
		}
		w.sent(1)
	})
}

// TestDoubtWhoseRenewerIsGone: a lease that nobody gives back holds a doubt up
// for a while and not for ever.
func TestDoubtWhoseRenewerIsGone(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		asked := endingOld(w)
		k := w.connect("acme", "ada1")
		a := w.handedOut(k)
		w.update(k, func(c *connection.Connection) error {
			_, err := c.Acquire("gone", time.Now(), time.Hour)
			return err
		})
		begun := time.Now()
		if got := w.doubt(w.service, k, refresh.Doubt{Refused: a.Hash(), Quiet: true}); got.Hash() != a.Hash() {
			t.Error("another token")
		}
		if took := time.Since(begun); took < 10*time.Second || took > 30*time.Second || asked() != 0 {
			t.Errorf("it took %s, asked %d times", took, asked())
		}
	})
}
