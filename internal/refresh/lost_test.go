package refresh_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
)

// The answer to the write of an intent is lost: nothing was spent, and the next
// one to try finds everything as it was.
func TestIntentWhoseWriteIsNotAnswered(t *testing.T) {
	for _, done := range []bool{false, true} {
		t.Run(fmt.Sprint(done), func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				k := w.connect("family-all", "ada1")
				time.Sleep(time.Hour)
				writes := 0
				broken := w.process(func(op string, when bool) error {
					if op == "update" && !when {
						writes++
					}
					if op == "update" && when == done && writes == 2 { // the first takes the lease
						return errBroken
					}
					return nil
				})
				var down *refresh.Unavailable
				if _, err := w.token(broken, k); !errors.As(err, &down) {
					t.Errorf("error %v", err)
				}
				w.sent(0)
				if c := w.row(k); c.Intent != nil || c.Lease != nil {
					t.Errorf("intent %+v, lease %+v", c.Intent, c.Lease)
				}
				time.Sleep(time.Minute)
				w.living(w.service, k)
			})
		})
	}
}

// A fault of ours before anything is sent says nothing of the renewal before,
// whose answer was lost.
func TestOwnFaultAfterALostAnswer(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprint(stored), func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				k := w.connect("family-all", "ada1")
				time.Sleep(time.Hour)
				intent := interrupted(t, w, k, stored)
				time.Sleep(2 * time.Minute)
				broken := w.process(func(op string, _ bool) error {
					if op == "audit renew" {
						return errBroken
					}
					return nil
				})
				var down *refresh.Unavailable
				if _, err := w.token(broken, k); !errors.As(err, &down) {
					t.Errorf("error %v", err)
				}
				if c := w.row(k); c.Intent == nil || c.Intent.ID != intent {
					t.Errorf("intent %+v, want %s", c.Intent, intent)
				}
				time.Sleep(time.Minute)
				if stored {
					w.living(w.service, k)
					w.sent(1)
					return
				}
				w.refused(k, refresh.ErrReconnect)
				w.sent(0)
			})
		})
	}
}

// asleep is a process that sleeps when the provider has answered, for longer
// than it has the lease, and what it does afterwards.
func (w *world) asleep(k connection.Key, d time.Duration) *sync.WaitGroup {
	s, busy := w.process(nil), &sync.WaitGroup{}
	s.AtStep = func(at refresh.Step) {
		if at == refresh.StepExchanged {
			time.Sleep(d)
		}
	}
	busy.Go(func() { _, _ = w.token(s, k) })
	synctest.Wait()
	return busy
}

// Who renews after a sleeper is refused for now: what the sleeper stores when it
// wakes is still found.
func TestSleeperIsNotForgotten(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		sleeper := w.asleep(k, 5*time.Minute)
		time.Sleep(2 * time.Minute)
		w.acme.answers(reply{status: 429})
		var down *refresh.Unavailable
		if _, err := w.token(w.service, k); !errors.As(err, &down) {
			t.Errorf("error %v", err)
		}
		w.acme.on = nil
		sleeper.Wait()
		time.Sleep(time.Minute)
		w.living(w.service, k)
	})
}

// A sleeper stores its result after somebody else has looked for it, and before
// that one's renewal is refused.
func TestSleeperStoresDuringAnotherRenewal(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		sleeper := w.asleep(k, 3*time.Minute)
		time.Sleep(2*time.Minute + 55*time.Second)
		w.acme.on = func(path string, _ url.Values) (reply, bool) {
			w.acme.on = nil
			time.Sleep(10 * time.Second)
			return reply{}, false
		}
		w.living(w.service, k)
		sleeper.Wait()
		w.sent(3) // the sleeper, the refused one, and the one with what the sleeper had
		if c := w.row(k); c.Status != connection.Connected || c.Intent != nil {
			t.Errorf("status %s, intent %+v", c.Status, c.Intent)
		}
		time.Sleep(time.Hour)
		w.living(w.service, k)
	})
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// An address that is not dialled was sent nothing.
func TestForbiddenAddressSpendsNothing(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("family-all", "ada1")
		time.Sleep(time.Hour)
		s := w.process(nil)
		s.Engine = &provider.Engine{Now: time.Now, HTTP: &http.Client{Transport: tripper(func(*http.Request) (*http.Response, error) {
			return nil, provider.ErrForbiddenAddress
		})}}
		if _, err := w.token(s, k); err == nil {
			t.Error("no error")
		}
		if c := w.row(k); c.Intent != nil {
			t.Errorf("intent %+v", c.Intent)
		}
		time.Sleep(time.Minute)
		w.living(w.service, k)
	})
}

// Of two tokens, the answer for one is lost: that the other was refused with an
// answer says nothing of it.
func TestOneOfTwoAnswersIsLost(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("two-tokens-family-all", "ada1")
		time.Sleep(time.Hour)
		answers := []reply{{status: 429}, {status: 503}}
		w.acme.on = func(string, url.Values) (reply, bool) {
			r := answers[0]
			answers = answers[1:]
			return r, true
		}
		var down *refresh.Unavailable
		if _, err := w.token(w.service, k); !errors.As(err, &down) {
			t.Errorf("error %v", err)
		}
		w.acme.on = nil
		time.Sleep(time.Minute)
		w.refused(k, refresh.ErrReconnect)
		w.sent(2)
	})
}

// The provider has its whole time to answer, however long it took to get the
// lease: what is cut off is spent.
func TestExchangeHasItsTime(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		w.update(k, func(c *connection.Connection) error {
			_, err := c.Acquire("ghost", time.Now(), 42*time.Second)
			return err
		})
		slow := w.process(func(op string, _ bool) error {
			if op == "audit renew" {
				time.Sleep(10 * time.Second)
			}
			return nil
		})
		w.acme.on = func(string, url.Values) (reply, bool) {
			time.Sleep(18 * time.Second)
			return reply{}, false
		}
		w.living(slow, k)
	})
}

// The lease outlives the exchange and the time that storing may take, however
// long it took to get there.
func TestLeaseOutlivesASlowStart(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		slow := w.process(func(op string, _ bool) error {
			if op == "audit renew" {
				time.Sleep(40 * time.Second)
			}
			return nil
		})
		w.acme.on = func(string, url.Values) (reply, bool) {
			c := w.row(k)
			if left := time.Until(c.Lease.Until); left < 20*time.Second+45*time.Second {
				t.Errorf("%v of the lease are left", left)
			}
			if c.Intent == nil || c.Intent.Attempt != 1 {
				t.Errorf("intent %+v", c.Intent)
			}
			return reply{}, false
		}
		w.living(slow, k)
	})
}

// What cannot be removed keeps neither the tokens from being renewed nor the
// owner from being told.
func TestAttendThoughTidyingFails(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		w.propose(k, "flo_again", "ada2")
		w.promote(k, "flo_again") // the first set is retired
		broken := w.process(func(op string, _ bool) error {
			if op == "remove" {
				return errBroken
			}
			return nil
		})
		w.update(k, func(c *connection.Connection) error { c.LastUsedAt = time.Now(); return nil })
		for range 70 {
			time.Sleep(time.Minute)
			if err := broken.Attend(t.Context(), k); err == nil {
				t.Error("nobody is told that it could not be removed")
			}
		}
		w.sent(1)
		if c := w.row(k); len(c.Events) != 0 || len(c.Retired) != 1 {
			t.Errorf("%d events wait, %d sets are retired", len(c.Events), len(c.Retired))
		}
	})
}
