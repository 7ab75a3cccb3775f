package refresh_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
)

// dying kills a process at the n-th of its writes, before it took effect or
// after: from then on nothing of it reaches a store.
type dying struct {
	n     int
	after bool

	writes int
	dead   bool
	// stored says that a grant was put while it lived.
	stored bool
}

func (d *dying) fail(op string, done bool) error {
	writing := op == "update" || op == "put" || op == "remove" || op == "clear" || op == "delete" || strings.HasPrefix(op, "audit")
	if writing && !d.dead && !done {
		d.writes++
	}
	d.dead = d.dead || writing && d.writes == d.n && d.after == (done || strings.HasPrefix(op, "audit"))
	if op == "put" && !d.dead || op == "put" && done && d.writes == d.n {
		d.stored = d.stored || done
	}
	if d.dead {
		return errBroken
	}
	return nil
}

// TestRenewalKilledAtEachStep: whatever the step, the next process has a
// living token, or says that the person has to reconnect where the provider's
// only answer died with the process. Never is the provider asked a third time.
func TestRenewalKilledAtEachStep(t *testing.T) {
	for _, lenient := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			for n := 1; n <= 12; n++ {
				t.Run(fmt.Sprintf("%d after=%v lenient=%v", n, after, lenient), func(t *testing.T) {
					run(t, func(t *testing.T, w *world) { killed(t, w, &dying{n: n, after: after}, lenient) })
				})
			}
		}
	}
}

func killed(t *testing.T, w *world, d *dying, lenient bool) {
	w.acme.lenient = lenient
	k := w.connect("acme", "ada1")
	time.Sleep(time.Hour)
	first, err := w.token(w.process(d.fail), k)
	if err == nil && !w.acme.accepts(first) {
		t.Error("the dying process handed out a dead token")
	}
	asked := w.acme.sent()
	time.Sleep(3 * time.Minute) // its lease has run out
	lost := asked == 1 && !d.stored && !lenient
	second, err := w.token(w.process(nil), k)
	switch {
	case lost && !errors.Is(err, refresh.ErrReconnect):
		t.Errorf("the answer is lost, but the error is %v", err)
	case lost && !strings.Contains(w.row(k).Failure.Detail, "answer to the renewal before was lost"):
		t.Errorf("the person is told: %s", w.row(k).Failure.Detail)
	case !lost && (err != nil || !w.acme.accepts(second)):
		t.Errorf("asked %d times, stored %v: %v", asked, d.stored, err)
	}
	if n := w.acme.sent(); n > 2 {
		t.Errorf("the provider was asked %d times", n)
	}
	if c := w.row(k); c.Lease != nil || c.Intent != nil {
		t.Errorf("left behind: lease %+v, intent %+v", c.Lease, c.Intent)
	}
	time.Sleep(time.Hour)
	if !lost {
		w.living(w.service, k)
	}
}

// handout is what a caller was given.
type handout struct {
	token string
	err   error
}

// sleeper begins a renewal in a process of its own, which stands still for two
// minutes once the provider has answered, and returns when its lease has ended.
func (w *world) sleeper(k connection.Key) <-chan handout {
	slow := w.process(nil)
	slow.AtStep = func(at refresh.Step) {
		if at == refresh.StepExchanged {
			time.Sleep(2 * time.Minute)
		}
	}
	done := make(chan handout)
	go func() {
		a, err := w.token(slow, k)
		done <- handout{a, err}
	}()
	time.Sleep(100 * time.Second)
	return done
}

// TestLateResult: a process that stood still for longer than its lease comes
// back with the only token that is still good, after another one was refused
// with the spent one.
func TestLateResult(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		spent := w.row(k).Set.GrantVersion
		done := w.sleeper(k)
		w.refused(k, refresh.ErrReconnect)
		if late := <-done; late.err != nil || !w.acme.accepts(late.token) {
			t.Errorf("who waited for the slow one has no living token: %v", late.err)
		}
		if c := w.row(k); c.Status != connection.Connected || c.Health != connection.Healthy || c.Failure != nil || c.Lease != nil {
			t.Errorf("%s, %s, %+v", c.Status, c.Health, c.Failure)
		}
		w.kept(k, map[string]bool{spent: false, w.row(k).Set.GrantVersion: true})
		time.Sleep(time.Hour)
		w.living(w.service, k)
		w.sent(3)
	})
}

// TestLateResultOfAnother: what comes late stays out if the person has
// reconnected meanwhile, and where somebody else has renewed.
func TestLateResultOfAnother(t *testing.T) {
	for name, meanwhile := range map[string]func(w *world, k connection.Key){
		"reconnected": func(w *world, k connection.Key) {
			w.refused(k, refresh.ErrReconnect)
			w.propose(k, "flo_again", "ada1")
			w.promote(k, "flo_again")
		},
		"renewed": func(w *world, k connection.Key) {
			w.acme.lenient = true
			w.living(w.service, k)
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				k := w.connect("acme", "ada1")
				time.Sleep(time.Hour)
				done := w.sleeper(k)
				meanwhile(w, k)
				want := w.row(k).Set
				if late := <-done; late.err != nil {
					t.Error(late.err)
				}
				if got := w.row(k).Set; got.GrantVersion != want.GrantVersion || got.AccessVersion != want.AccessVersion {
					t.Errorf("the late result is in force: %s, want %s", got.GrantVersion, want.GrantVersion)
				}
				w.living(w.service, k)
			})
		})
	}
}

func TestLeaseOfADeadHolderRunsOut(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		ghost := func() {
			w.update(k, func(c *connection.Connection) error {
				_, err := c.Acquire("ghost", time.Now(), 90*time.Second)
				return err
			})
		}
		time.Sleep(59*time.Minute + time.Second)
		ghost()
		w.living(w.service, k) // the old one lives yet, and better late than never
		w.sent(0)
		time.Sleep(10 * time.Minute)
		ghost()
		w.refused(k, refresh.ErrBusy)
		w.living(w.service, k) // waited until the lease had run out
		w.sent(1)
	})
}

// interrupted is a renewal whose process died between recording the intent and
// swapping; with stored, after it had stored the next grant.
func interrupted(t *testing.T, w *world, k connection.Key, stored bool) (intent string) {
	t.Helper()
	c := w.row(k)
	intent = token.NewID("set")
	grant, err := w.service.Vault.Grant(t.Context(), user, c, c.Set, "test")
	if err != nil {
		t.Fatal(err)
	}
	w.update(k, func(c *connection.Connection) error {
		claim, err := c.Acquire("ghost", time.Now(), time.Minute)
		return errors.Join(err, c.Record(claim, connection.Intent{ID: intent, TokenHash: grant.Hash(), At: time.Now(), Attempt: 1}, time.Now().Add(time.Minute)))
	})
	if stored {
		w.acme.mu.Lock()
		w.acme.renew(url.Values{"refresh_token": {grant.Renewables[""].RefreshToken.Reveal()}})
		next := fmt.Sprintf("rt-%s-%d", canary, w.acme.made)
		w.acme.mu.Unlock()
		set := token.Set{Grant: token.Grant{Renewables: map[string]token.Renewable{"": {RefreshToken: token.Secret(next)}}}}
		if _, err := w.service.Vault.Seal(t.Context(), user, c, intent, "refresh", set); err != nil {
			t.Fatal(err)
		}
	}
	return intent
}

func TestStoredResultIsAdopted(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		interrupted(t, w, k, true)
		time.Sleep(2 * time.Minute)
		w.living(w.service, k)
		w.sent(1) // the one stored grant was spent, not the one before
	})
}

// What an interrupted renewal has stored exists nowhere else: tidying up spares it.
func TestSweepSparesAStoredResult(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		w.propose(k, "flo_never", "ada2")
		time.Sleep(time.Hour)
		interrupted(t, w, k, true)
		time.Sleep(2 * time.Minute)
		if n, err := w.service.Sweep(t.Context(), 10); n != 1 || err != nil {
			t.Fatalf("swept %d: %v", n, err)
		}
		w.living(w.service, k)
	})
}

func TestLostAnswerIsAskedForOnceMore(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		intent := interrupted(t, w, k, false)
		time.Sleep(2 * time.Minute)
		w.acme.on = func(string, url.Values) (reply, bool) {
			if c := w.row(k); c.Intent == nil || c.Intent.ID != intent || c.Intent.Attempt != 2 {
				t.Errorf("intent %+v, want a second attempt of %s", c.Intent, intent)
			}
			return reply{}, false
		}
		w.living(w.service, k)
		w.sent(1)
		if got := w.row(k).Set.GrantVersion; got != intent {
			t.Errorf("the result is stored as %s, not as %s", got, intent)
		}
	})
}

// Where a spent token presented again ends other connections, too, the person
// is asked instead.
func TestLostAnswerOfADangerousProvider(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("family-all", "ada1")
		time.Sleep(time.Hour)
		interrupted(t, w, k, false)
		time.Sleep(2 * time.Minute)
		w.refused(k, refresh.ErrReconnect)
		w.sent(0)
		if c := w.row(k); c.Failure.Code != "answer_lost" {
			t.Errorf("failure %+v", c.Failure)
		}
	})
}

// A fault of ours before anything was sent says nothing about the grant.
func TestOwnFaultSpendsNothing(t *testing.T) {
	for _, op := range []string{"audit renew"} {
		t.Run(op, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				k := w.connect("family-all", "ada1")
				time.Sleep(time.Hour)
				broken := w.process(func(at string, _ bool) error {
					if at == op {
						return errBroken
					}
					return nil
				})
				var down *refresh.Unavailable
				if _, err := w.token(broken, k); !errors.As(err, &down) || strings.Contains(err.Error(), errBroken.Error()) {
					t.Errorf("error %v", err)
				}
				w.sent(0)
				if c := w.row(k); c.Intent != nil || c.Failure.Verdict != string(provider.Transient) {
					t.Errorf("intent %+v, failure %+v", c.Intent, c.Failure)
				}
				time.Sleep(time.Minute)
				w.living(w.service, k)
				w.sent(1)
			})
		})
	}
}

// A result that cannot be stored is tried again against the store, with the
// same bytes, and never by asking the provider again.
func TestStoringIsTriedAgain(t *testing.T) {
	for _, op := range []string{"put", "update"} {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprint(op, done), func(t *testing.T) {
				run(t, func(t *testing.T, w *world) {
					k := w.connect("acme", "ada1")
					time.Sleep(time.Hour)
					failures := 0
					flaky := w.process(func(at string, when bool) error {
						if at == op && when == done && w.acme.sent() == 1 && failures < 5 {
							failures++
							return errBroken
						}
						return nil
					})
					w.living(flaky, k)
					w.sent(1)
					time.Sleep(time.Hour)
					w.living(w.service, k)
				})
			})
		}
	}
}

// A stored grant that does not open is no reason to ask again and again.
func TestUnreadableGrant(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		if err := w.store.Grants().Clear(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		for range 3 {
			w.refused(k, refresh.ErrReconnect)
			time.Sleep(time.Minute)
		}
		w.sent(0)
		if c := w.row(k); c.Failure.Code != "sealed_set_unreadable" {
			t.Errorf("failure %+v", c.Failure)
		}
	})
}
