package refresh_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/refresh"
)

// TestAttendIdle: an index that lags behind, or a message that came twice,
// costs no write.
func TestAttendIdle(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		w.propose(k, "flo_2", "ada1")                            // waits for ten minutes
		if err := w.service.Attend(t.Context(), k); err != nil { // plans its renewals
			t.Fatal(err)
		}
		before := w.row(k).Revision
		if err := w.service.Attend(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		if after := w.row(k).Revision; after != before {
			t.Errorf("%d writes for nothing", after-before)
		}
		if err := w.service.Attend(t.Context(), connection.Key{Tenant: "default", ID: "con_gone"}); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("a connection that is gone: %v", err)
		}
	})
}

// TestAttendReadsOnce: a renewal that is due costs one reading of the row, and is
// none if somebody renews between that and the lease.
func TestAttendReadsOnce(t *testing.T) {
	for name, overtaken := range map[string]bool{"alone": false, "overtaken": true} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				k := w.connect("acme", "ada1")
				if err := w.service.Attend(t.Context(), k); err != nil { // plans its renewals
					t.Fatal(err)
				}
				time.Sleep(time.Until(w.row(k).RenewAt))
				var reads, writes int
				busy := w.process(func(op string, done bool) error {
					if op == "get" {
						reads++
					}
					if op != "update" || done {
						return nil
					}
					if writes++; overtaken && writes == 1 {
						return w.service.Attend(t.Context(), k)
					}
					return nil
				})
				version := w.row(k).Set.AccessVersion
				if err := busy.Attend(t.Context(), k); err != nil {
					t.Fatal(err)
				}
				w.sent(1)
				if c := w.row(k); c.Set.AccessVersion == version || c.Lease != nil || c.Intent != nil || c.Failure != nil {
					t.Errorf("it was not renewed: %+v", c)
				}
				if !overtaken && (reads != 1 || writes != 2) {
					t.Errorf("%d reads and %d writes", reads, writes)
				}
				w.living(w.service, k)
			})
		})
	}
}

// TestAttendFails: what could not be tidied up keeps nobody from a token, and is
// due again.
func TestAttendFails(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		w.propose(k, "flo_2", "ada1")
		w.promote(k, "flo_2")
		broken := w.process(func(op string, _ bool) error {
			if op == "remove" {
				return errBroken
			}
			return nil
		})
		if err := broken.Attend(t.Context(), k); !errors.Is(err, errBroken) {
			t.Fatalf("error %v, want %v", err, errBroken)
		}
		row := w.row(k)
		if row.Lease != nil || len(row.Retired) != 1 || row.AttentionAt().After(time.Now()) {
			t.Errorf("lease %v, %d retired, due %v", row.Lease, len(row.Retired), row.AttentionAt())
		}
		w.living(w.service, k)
		w.sweep()
		if n := len(w.row(k).Retired); n != 0 {
			t.Errorf("%d retired sets are left", n)
		}
	})
}

// TestGrantNotFoundYet: a store that does not find at once what it was just
// given costs nobody the connection; one that has lost it does.
func TestGrantNotFoundYet(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		version := w.row(k).Set.GrantVersion
		sealed, err := w.store.Grants().Get(t.Context(), k, version)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.Grants().Remove(t.Context(), k, version); err != nil {
			t.Fatal(err)
		}
		_, _, err = w.service.Renew(t.Context(), user, k, w.row(k).Set.AccessVersion, "token")
		if errors.Is(err, refresh.ErrReconnect) || w.row(k).Status != connection.Connected {
			t.Fatalf("a grant of this minute is lost: %v, %s", err, w.row(k).Status)
		}
		if err := w.store.Grants().Put(t.Context(), k, version, sealed); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.living(w.service, k)
		if err := w.store.Grants().Clear(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.refused(k, refresh.ErrReconnect)
	})
}
