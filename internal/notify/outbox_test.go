package notify_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/notify"
	"github.com/lanyardhq/lanyard/internal/refresh"
)

var _ refresh.Notifier = (*notify.Service)(nil)

// forgetful loses the write that says what was delivered, when it is told to.
type forgetful struct {
	*fake.Store
	forget bool
}

func (f *forgetful) UpdateFrom(ctx context.Context, seen connection.Connection, change func(*connection.Connection) error) (connection.Connection, error) {
	if f.forget {
		return seen, connection.ErrUnavailable
	}
	return f.Store.UpdateFrom(ctx, seen, change)
}

// attending is a connection with one event, and who attends it.
func attending(t *testing.T) (*world, *forgetful, connection.Event, func() error) {
	w := newWorld(t)
	rows := &forgetful{Store: w.store}
	c, e := dead("default")
	c.Events = []connection.Event{e}
	if err := rows.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s := &refresh.Service{Connections: rows, Notify: w.service, Now: time.Now, Logger: slog.New(slog.NewTextHandler(w.log, nil))}
	return w, rows, e, func() error {
		keys, err := rows.Due(t.Context(), time.Now(), 10)
		if err != nil {
			return err
		}
		return s.AttendAll(t.Context(), keys)
	}
}

// TestOutbox: the event stays in its row, and the row is due, until the endpoint
// has it; nothing is due afterwards.
func TestOutbox(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, rows, e, attend := attending(t)
		up := time.Now().Add(3 * time.Hour)
		w.answer = func(int, *http.Request) (int, error) {
			if time.Now().Before(up) {
				return 0, errBroken
			}
			return 200, nil
		}
		for range 24 * 60 { // a sweep each minute, for a day
			if err := attend(); err != nil {
				t.Fatal(err)
			}
			c, err := rows.Get(t.Context(), connection.Key{Tenant: "default", ID: "con_default"})
			if err != nil {
				t.Fatal(err)
			}
			waits := len(c.Events) == 1 && c.Events[0].ID == e.ID && c.AttentionAt().Equal(c.Events[0].NextAt)
			done := len(c.Events) == 0 && c.AttentionAt().IsZero()
			if delivered := len(w.webhooks()) > 0 && !w.webhooks()[len(w.webhooks())-1].at.Before(up); delivered && !done || !delivered && !waits {
				t.Fatalf("delivered %v: %+v, due %v", delivered, c.Events, c.AttentionAt())
			}
			time.Sleep(time.Minute)
		}
		// At once, after 5 seconds, 5 and 30 minutes, 2 and 5 hours.
		if n := len(w.webhooks()); n != 6 {
			t.Errorf("%d webhooks", n)
		}
	})
}

// TestAtLeastOnce: who is killed between the webhook and the row delivers again,
// with the same id and link, by which the receiver drops it.
func TestAtLeastOnce(t *testing.T) {
	t.Parallel()
	w, rows, e, attend := attending(t)
	rows.forget = true
	for range 2 {
		if err := attend(); !errors.Is(err, connection.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	rows.forget = false
	for range 2 {
		if err := attend(); err != nil {
			t.Fatal(err)
		}
	}
	all := w.webhooks()
	if len(all) != 3 {
		t.Fatalf("%d webhooks", len(all))
	}
	for _, r := range all {
		if r.header.Get("Webhook-Id") != e.ID || w.link(r) != w.link(all[0]) || w.link(r) == "" {
			t.Errorf("id %s, link %q", r.header.Get("Webhook-Id"), w.link(r))
		}
	}
}
