package refresh_test

import (
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/refresh"
)

// Of any number of processes that hand out the same token at once, one notes
// the use: a row that all of them wrote would be written for minutes.
func TestCrowdNotesItsUseOnce(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(2 * time.Hour)
		before := w.row(k).Revision
		var all sync.WaitGroup
		for range 50 {
			s := w.process(func(op string, _ bool) error {
				if op == "audit open_access" {
					time.Sleep(time.Minute) // all have read the row before the first writes it
				}
				return nil
			})
			all.Go(func() { w.living(s, k) })
		}
		all.Wait()
		w.sent(1)
		// The lease, the renewal, the use.
		if n := w.row(k).Revision - before; n != 3 {
			t.Errorf("the row was written %d times, want 3", n)
		}
	})
}

// Who waits for another's renewal leaves a slow store to those who work.
func TestWaitingSparesASlowStore(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		w.update(k, func(c *connection.Connection) error {
			_, err := c.Acquire("ghost", time.Now(), time.Minute)
			return err
		})
		const slow = time.Second
		reads := 0
		waiter := w.process(func(op string, done bool) error {
			if op == "get" {
				reads++
				time.Sleep(slow)
			}
			return nil
		})
		begun := time.Now()
		w.refusedBy(waiter, k, refresh.ErrBusy)
		if waited := time.Since(begun); time.Duration(reads)*slow > waited/3 {
			t.Errorf("of %v, %d s were spent reading", waited, reads)
		}
	})
}
