package refresh_test

import (
	"context"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/refresh"
)

// closing is open the first time that it is asked, and closed afterwards.
type closing struct {
	refresh.Unpaced
	asked int
}

func (p *closing) Closed(context.Context, connection.Connection) *refresh.Held {
	if p.asked++; p.asked == 1 {
		return nil
	}
	return &refresh.Held{Until: time.Now().Add(time.Minute), Reason: "it is down"}
}

type told struct{ events int }

func (n *told) Deliver(context.Context, connection.Connection, connection.Event) *connection.Event {
	n.events++
	return nil
}

// What somebody is answered about a provider that is not asked for now is not
// what the row says: the next write must not make it so.
func TestWhatIsAnsweredIsNotStored(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		owner := &told{}
		if err := w.service.Attend(t.Context(), k); err != nil { // plans
			t.Fatal(err)
		}
		time.Sleep(time.Until(w.row(k).RenewAt))
		w.update(k, func(c *connection.Connection) error { // something to tell
			c.EndsAt = time.Now().Add(time.Hour)
			c.AnnounceEnd(time.Now())
			return nil
		})
		w.service.Pace, w.service.Notify = &closing{}, owner
		if err := w.service.Attend(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		w.sent(0)
		if c := w.row(k); owner.events == 0 || len(c.Events) != 0 || c.Failure != nil {
			t.Errorf("%d events were told, %d are left, failure %+v", owner.events, len(c.Events), c.Failure)
		}
	})
}

// slow takes its time for each event, and then has delivered it.
type slow struct{ told int }

func (n *slow) Deliver(context.Context, connection.Connection, connection.Event) *connection.Event {
	time.Sleep(14 * time.Second)
	n.told++
	return nil
}

// An endpoint that takes every event, each as late as it may, must not hold up
// the worker until it is ended with nothing noted: all would be sent again, for
// ever. What was delivered leaves the row, the rest stays due.
func TestSlowDeliveriesAreNoted(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k, owner := w.connect("acme", "ada1"), &slow{}
		w.service.Notify = owner
		if err := w.service.Attend(t.Context(), k); err != nil { // plans
			t.Fatal(err)
		}
		owner.told = 0
		w.update(k, func(c *connection.Connection) error {
			for day := range 8 {
				c.EndsAt = time.Now().AddDate(1, 0, day)
				c.AnnounceEnd(time.Now())
			}
			return nil
		})
		const most = 45 * time.Second
		for round := 1; len(w.row(k).Events) > 0; round++ {
			before, began := owner.told, time.Now()
			if err := w.service.Attend(t.Context(), k); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > most || owner.told == before || round > 8 {
				t.Fatalf("round %d took %v and delivered %d events, %d are left", round, took, owner.told-before, len(w.row(k).Events))
			}
		}
		if owner.told != 8 {
			t.Errorf("%d events were delivered, want 8", owner.told)
		}
	})
}
