package refresh_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// kept wants exactly these of the versions to be stored.
func (w *world) kept(k connection.Key, versions map[string]bool) {
	w.t.Helper()
	for version, want := range versions {
		_, err := w.store.Grants().Get(w.t.Context(), k, version)
		if want && err != nil || !want && !errors.Is(err, vault.ErrNoGrant) {
			w.t.Errorf("grant %s: %v, kept should be %v", version, err, want)
		}
	}
}

// A callback stores a grant first and names it in the row afterwards. What tidies
// up in between knows an older row, and leaves the grant alone.
func TestTidyingUpSparesWhatACallbackHasStored(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		first := w.row(k).Set.GrantVersion
		w.propose(k, "flo_second", "ada1")
		w.promote(k, "flo_second")
		second := w.row(k).Set.GrantVersion

		stored, err := w.service.Vault.Seal(t.Context(), vault.Caller{Tenant: "default", Actor: "callback"}, w.row(k), token.NewID("set"),
			"connect", w.acme.granted("acme", "ada1"))
		if err != nil {
			t.Fatal(err)
		}
		w.sweep() // of the first set
		w.kept(k, map[string]bool{first: false, second: true, stored.GrantVersion: true})
		time.Sleep(time.Hour)
		w.living(w.service, k) // rotates the second
		rotated := w.row(k).Set.GrantVersion
		w.kept(k, map[string]bool{second: false, rotated: true, stored.GrantVersion: true})

		w.update(k, func(c *connection.Connection) error {
			return c.Propose(connection.Proposal{FlowID: "flo_third", ConfirmBy: time.Now().Add(time.Minute), Set: stored, Granted: c.Granted})
		})
		w.promote(k, "flo_third")
		w.sweep() // which renews it: it is an hour old
		w.kept(k, map[string]bool{rotated: false, stored.GrantVersion: false})
		w.sent(2)
		time.Sleep(time.Hour)
		w.living(w.service, k)
		w.sent(3)
	})
}

// A retired grant that could not be removed is removed by the next sweep.
func TestRetiredGrantIsRemovedInTheEnd(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		old := w.row(k).Set.GrantVersion
		w.propose(k, "flo_again", "ada1")
		w.promote(k, "flo_again")
		broken := w.process(func(op string, done bool) error {
			if op == "remove" && !done {
				return errBroken
			}
			return nil
		})
		if _, err := broken.Sweep(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		w.kept(k, map[string]bool{old: true})
		time.Sleep(2 * time.Minute)
		w.sweep()
		w.kept(k, map[string]bool{old: false, w.row(k).Set.GrantVersion: true})
		if n := len(w.row(k).Retired); n != 0 {
			t.Errorf("%d retired sets are left", n)
		}
	})
}

func TestAdoptedResultReplacesTheSpentGrant(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		spent := w.row(k).Set.GrantVersion
		time.Sleep(time.Hour)
		adopted := interrupted(t, w, k, true)
		time.Sleep(2 * time.Minute)
		w.living(w.service, k)
		w.kept(k, map[string]bool{spent: false, adopted: false, w.row(k).Set.GrantVersion: true})
	})
}

// A renewal that was overtaken takes back what nobody will ever look for.
func TestOvertakenRenewalLeavesNothing(t *testing.T) {
	for name, overtake := range map[string]func(w *world, k connection.Key){
		"reconnected": func(w *world, k connection.Key) {
			w.propose(k, "flo_again", "ada1")
			w.promote(k, "flo_again")
		},
		"deleted": func(w *world, k connection.Key) {
			if err := w.store.Delete(w.t.Context(), k, func(connection.Connection) error { return nil }); err != nil {
				w.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				k := w.connect("acme", "ada1")
				time.Sleep(time.Hour)
				var lost string
				w.acme.on = func(string, url.Values) (reply, bool) {
					lost = w.row(k).Intent.ID
					overtake(w, k)
					return reply{}, false
				}
				_, err := w.token(w.service, k)
				w.acme.on = nil
				w.kept(k, map[string]bool{lost: false})
				if name == "deleted" {
					if !errors.Is(err, connection.ErrNotFound) {
						t.Errorf("error %v", err)
					}
					return
				}
				w.living(w.service, k)
				w.kept(k, map[string]bool{w.row(k).Set.GrantVersion: true})
			})
		})
	}
}

// What another worker may yet adopt is not taken back.
func TestOvertakenRenewalLeavesWhatCanBeAdopted(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		w.acme.on = func(string, url.Values) (reply, bool) {
			w.update(k, func(c *connection.Connection) error {
				_, err := c.Acquire("another", time.Now().Add(2*time.Minute), time.Minute)
				return err
			})
			return reply{}, false
		}
		w.refused(k, refresh.ErrBusy)
		w.acme.on = nil
		w.kept(k, map[string]bool{w.row(k).Intent.ID: true})
		time.Sleep(5 * time.Minute)
		w.living(w.service, k)
		w.sent(2)
	})
}

// TestDisconnectAfterAnInterruptedRenewal: the grant to revoke is the one that
// was stored, not the one that was spent for it.
func TestDisconnectAfterAnInterruptedRenewal(t *testing.T) {
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprint("stored ", stored), func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				k := w.connect("acme", "ada1")
				time.Sleep(time.Hour)
				intent := interrupted(t, w, k, stored)
				time.Sleep(2 * time.Minute)
				var living, revoked []string
				w.acme.on = func(path string, form url.Values) (reply, bool) {
					if path == "/revoke" {
						revoked = append(revoked, form.Get("token"))
					}
					return reply{}, false
				}
				for held := range w.acme.refresh {
					living = append(living, held)
				}
				if out := w.disconnect(k); out.Revoked != refresh.RevokedAtProvider {
					t.Errorf("%+v", out)
				}
				revoked = slices.DeleteFunc(revoked, func(s string) bool { return !strings.HasPrefix(s, "rt-") })
				if len(living) != 1 || !slices.Equal(revoked, living) {
					t.Errorf("%d refresh tokens live and %d were revoked: not the same one", len(living), len(revoked))
				}
				w.kept(k, map[string]bool{intent: false})
			})
		})
	}
}

// An account that is only proposed elsewhere, or that the provider did not name,
// may live from the same grant.
func TestProposedAndUnnamedSiblingsAreSpared(t *testing.T) {
	for name, sibling := range map[string]func(w *world){
		"proposed": func(w *world) {
			c := connection.Connection{Key: connection.Key{Tenant: "default", ID: "con_pending"}, UserID: "ada", Server: "notes",
				AuthType: "oauth", Provider: "acme", Status: connection.Pending, CreatedAt: time.Now().UTC()}
			if err := w.store.Create(w.t.Context(), c); err != nil {
				w.t.Fatal(err)
			}
			w.propose(c.Key, "flo_1", "ada1")
		},
		"unnamed": func(w *world) {
			k := w.connect("acme", "ada1")
			w.update(k, func(c *connection.Connection) error { c.Account = connection.Account{}; return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				k := w.connect("acme", "ada1")
				sibling(w)
				if out := w.disconnect(k); out.Revoked != refresh.LocalOnly {
					t.Errorf("%+v", out)
				}
				w.revoked()
			})
		})
	}
}
