package refresh_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

func (w *world) disconnect(k connection.Key) refresh.Outcome {
	w.t.Helper()
	grant := w.row(k).Set.GrantVersion
	out, err := w.service.Disconnect(w.t.Context(), user, k)
	if err != nil {
		w.t.Fatal(err)
	}
	if strings.Contains(out.Detail, canary) {
		w.t.Errorf("the detail holds a secret: %s", out.Detail)
	}
	w.gone(k)
	if _, err := w.store.Grants().Get(w.t.Context(), k, grant); !errors.Is(err, vault.ErrNoGrant) {
		w.t.Errorf("the grant is still stored: %v", err)
	}
	return out
}

func (w *world) gone(k connection.Key) {
	w.t.Helper()
	if _, err := w.store.Get(w.t.Context(), k); !errors.Is(err, connection.ErrNotFound) {
		w.t.Errorf("the row is still there: %v", err)
	}
}

func (w *world) revoked(want ...string) {
	w.t.Helper()
	if got := w.acme.ended(); !slices.Equal(got, want) {
		w.t.Errorf("revoked %v, want %v", got, want)
	}
}

func (w *world) sweep() {
	w.t.Helper()
	if _, err := w.service.Sweep(w.t.Context(), 100); err != nil {
		w.t.Fatal(err)
	}
}

func TestDisconnect(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		if out := w.disconnect(k); out.Revoked != refresh.RevokedAtProvider {
			t.Errorf("%+v", out)
		}
		w.revoked("ada1")
		if _, err := w.service.Disconnect(t.Context(), user, k); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("again: %v", err)
		}
	})
}

// Revoking one connection's grant at a provider that ends the whole grant would
// end the others: the last one does it.
func TestLastSiblingRevokes(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		first, second, other := w.connect("acme", "ada1"), w.connect("acme", "ada1"), w.connect("acme", "ada2")
		if out := w.disconnect(first); out.Revoked != refresh.LocalOnly || !strings.Contains(out.Detail, "last one") {
			t.Errorf("%+v", out)
		}
		w.revoked()
		w.living(w.service, second)
		if out := w.disconnect(second); out.Revoked != refresh.RevokedAtProvider {
			t.Errorf("%+v", out)
		}
		w.revoked("ada1")
		w.living(w.service, other)
	})
}

func TestSiblingsOfATokenwiseProvider(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		first := w.connect("revokes-token", "ada1")
		w.connect("revokes-token", "ada1")
		if out := w.disconnect(first); out.Revoked != refresh.RevokedAtProvider {
			t.Errorf("%+v", out)
		}
	})
}

func TestDisconnectWithoutTheProvider(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		down, none, pasted := w.connect("acme", "ada1"), w.connect("no-revocation", "ada1"), w.connect("acme", "ada2")
		w.update(pasted, func(c *connection.Connection) error { c.AuthType, c.Provider = "api_key", ""; return nil })
		w.acme.on = func(string, url.Values) (reply, bool) { return reply{status: 503}, true }
		for _, k := range []connection.Key{down, none, pasted} {
			if out := w.disconnect(k); out.Revoked != refresh.LocalOnly || out.Detail == "" {
				t.Errorf("%+v", out)
			}
		}
	})
}

// A silent provider holds nobody up for long.
func TestDisconnectFromASilentProvider(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		w.service.Engine.HTTP = &http.Client{Transport: silent{}}
		start := time.Now()
		if out := w.disconnect(k); out.Revoked != refresh.LocalOnly || time.Since(start) > 31*time.Second {
			t.Errorf("%+v after %v", out, time.Since(start))
		}
	})
}

type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestDisconnectWaitsForARenewal(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		w.acme.on = func(path string, _ url.Values) (reply, bool) {
			if path == "/token" {
				time.Sleep(15 * time.Second)
			}
			return reply{}, false
		}
		renewed := make(chan error)
		go func() { _, err := w.token(w.process(nil), k); renewed <- err }()
		synctest.Wait()
		out, err := w.service.Disconnect(t.Context(), user, k)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-renewed; err != nil && !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("the renewal: %v", err)
		}
		if out.Revoked != refresh.RevokedAtProvider {
			t.Errorf("%+v: the renewed grant outlives the connection", out)
		}
		w.gone(k)
	})
}

// TestDisconnectKilledAtEachStep: Sweep finishes what was begun.
func TestDisconnectKilledAtEachStep(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; n <= 8; n++ {
			t.Run("", func(t *testing.T) {
				run(t, func(t *testing.T, w *world) {
					k := w.connect("acme", "ada1")
					d := &dying{n: n, after: after}
					_, err := w.process(d.fail).Disconnect(t.Context(), user, k)
					begun := n > 1 || after
					if !begun {
						w.living(w.service, k)
						return
					}
					if err != nil {
						w.noSecret(err)
						if _, gone := w.store.Get(t.Context(), k); gone == nil {
							w.refused(k, connection.ErrNotFound)
						}
					}
					time.Sleep(2 * time.Minute)
					w.sweep()
					w.gone(k)
					if got := w.acme.ended(); len(got) == 0 {
						t.Errorf("step %d after=%v: not revoked", n, after)
					}
				})
			})
		}
	}
}

// A process whose lease on the deletion ran out leaves the row to whoever took it up.
func TestDeletionIsFenced(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		slow := w.process(func(op string, done bool) error {
			if op == "delete" && !done {
				time.Sleep(2 * time.Minute)
				w.update(k, func(c *connection.Connection) error {
					_, err := c.Acquire("sweep", time.Now(), time.Minute)
					return err
				})
			}
			return nil
		})
		if _, err := slow.Disconnect(t.Context(), user, k); !errors.Is(err, connection.ErrFenced) {
			t.Errorf("error %v", err)
		}
		w.refused(k, connection.ErrNotFound)
		time.Sleep(2 * time.Minute)
		w.sweep()
		w.gone(k)
	})
}

func TestUnconfirmedProposalIsRevokedAndDeleted(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		c := connection.Connection{Key: connection.Key{Tenant: "default", ID: "con_pending"}, UserID: "ada", Server: "notes",
			AuthType: "oauth", Provider: "acme", Status: connection.Pending, CreatedAt: time.Now().UTC()}
		if err := w.store.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		w.propose(c.Key, "flo_1", "ada1")
		w.refused(c.Key, refresh.ErrPending)
		time.Sleep(10 * time.Minute)
		w.sweep()
		w.revoked()
		time.Sleep(2 * time.Minute)
		w.sweep()
		w.revoked("ada1")
		w.gone(c.Key)
	})
}

// A second attempt of the same account replaces the first: nothing is revoked
// that the second lives from.
func TestReplacedProposalSparesItsSuccessor(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		c := connection.Connection{Key: connection.Key{Tenant: "default", ID: "con_pending"}, UserID: "ada", Server: "notes",
			AuthType: "oauth", Provider: "acme", Status: connection.Pending, CreatedAt: time.Now().UTC()}
		if err := w.store.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		w.propose(c.Key, "flo_1", "ada1")
		w.propose(c.Key, "flo_2", "ada1")
		w.sweep()
		w.revoked()
		w.promote(c.Key, "flo_2")
		w.living(w.service, c.Key)
		w.propose(c.Key, "flo_3", "ada2")
		w.propose(c.Key, "flo_4", "ada1")
		w.sweep()
		w.revoked("ada2")
		if n := len(w.row(c.Key).Retired); n != 0 {
			t.Errorf("%d retired sets are left", n)
		}
	})
}

// A person may be called otherwise when reconnecting: it is the same grant.
func TestReconnectedAccountWithAnotherLabel(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		old := w.row(k).Set.GrantVersion
		w.propose(k, "flo_again", "ada1") // its label tells the flow's id
		w.promote(k, "flo_again")
		w.sweep()
		w.revoked()
		w.living(w.service, k)
		if _, err := w.store.Grants().Get(t.Context(), k, old); !errors.Is(err, vault.ErrNoGrant) {
			t.Errorf("the replaced grant is still stored: %v", err)
		}
	})
}

func TestReplacedAccountIsRevoked(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		w.propose(k, "flo_other", "ada2")
		w.promote(k, "flo_other")
		w.sweep()
		w.revoked("ada1")
		w.living(w.service, k)
	})
}

func TestRunSweepsUntilItsContextEnds(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		w.propose(k, "flo_other", "ada2")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.service.Run(ctx, time.Minute); close(done) }()
		time.Sleep(12 * time.Minute)
		w.revoked("ada2")
		cancel()
		<-done
	})
}

func TestCheck(t *testing.T) {
	check := func(w *world, k connection.Key) (token.Access, error) {
		a, _, err := w.service.Check(w.t.Context(), user, k, refresh.Doubt{}, "task")
		w.noSecret(err)
		return a, err
	}
	kill := func(w *world, access string) {
		w.acme.mu.Lock()
		defer w.acme.mu.Unlock()
		delete(w.acme.access, access)
	}
	t.Run("accepted", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			k := w.connect("acme", "ada1")
			if a, err := check(w, k); err != nil || !w.acme.accepts(a.Tokens[""].AccessToken.Reveal()) {
				t.Errorf("%v", err)
			}
			w.sent(0)
		})
	})
	t.Run("refused and renewed", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			k := w.connect("acme", "ada1")
			kill(w, w.living(w.service, k))
			if a, err := check(w, k); err != nil || !w.acme.accepts(a.Tokens[""].AccessToken.Reveal()) {
				t.Errorf("%v", err)
			}
			w.sent(1)
		})
	})
	t.Run("dead", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			k := w.connect("no-refresh", "ada1")
			kill(w, w.living(w.service, k))
			if _, err := check(w, k); !errors.Is(err, refresh.ErrReconnect) {
				t.Errorf("%v", err)
			}
			if w.row(k).Status != connection.ReconnectNeeded {
				t.Error("not noted")
			}
		})
	})
	t.Run("cannot be checked", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			k := w.connect("acme", "ada1")
			w.acme.on = func(string, url.Values) (reply, bool) { return reply{status: 500}, true }
			if a, err := check(w, k); err != nil || len(a.Tokens) != 1 || w.row(k).Status != connection.Connected {
				t.Errorf("%v", err)
			}
			w.sent(0)
		})
	})
	t.Run("reconnected meanwhile", func(t *testing.T) {
		run(t, func(t *testing.T, w *world) {
			k := w.connect("no-refresh", "ada1")
			kill(w, w.living(w.service, k))
			w.acme.on = func(string, url.Values) (reply, bool) {
				w.propose(k, "flo_again", "ada1")
				w.promote(k, "flo_again")
				return reply{}, false
			}
			a, err := check(w, k)
			if err != nil || !w.acme.accepts(a.Tokens[""].AccessToken.Reveal()) || w.row(k).Status != connection.Connected {
				t.Errorf("the verdict on the old token ended the new one: %v", err)
			}
		})
	})
}
