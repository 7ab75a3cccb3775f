package refresh_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/refresh"
)

// moved puts the client at another host under the same id, and fails the test at
// any request that follows.
func (w *world) moved(host string) {
	w.service.Secrets = clients{map[string]string{"host": host}}
	w.acme.on = func(path string, _ url.Values) (reply, bool) {
		w.t.Errorf("%s was asked with what another host has granted", path)
		return reply{}, false
	}
}

// TestClientMoved: a refresh token is sent to no other host than it was granted at,
// and the person is told.
func TestClientMoved(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("forge", "ada1")
		w.moved("git.acme.example")
		time.Sleep(2 * time.Hour)
		w.refused(k, refresh.ErrReconnect)
		w.sent(0)
		c := w.row(k)
		if c.Status != connection.ReconnectNeeded || c.Failure == nil || c.Failure.Code != "client_moved" || c.Lease != nil {
			t.Fatalf("%s, %+v", c.Status, c.Failure)
		}
		for _, want := range []string{"acme.example", "git.acme.example", "reconnect the account"} {
			if !strings.Contains(c.Failure.Detail, want) {
				t.Errorf("the person reads %q, without %q", c.Failure.Detail, want)
			}
		}
		// Nor is it asked by the schedule, or when somebody says that the token is dead.
		w.sweep()
		if _, _, err := w.service.Check(t.Context(), user, k, refresh.Doubt{}, "check"); !errors.Is(err, refresh.ErrReconnect) {
			t.Error(err)
		}
		if out := w.disconnect(k); out.Revoked != refresh.LocalOnly || !strings.Contains(out.Detail, "git.acme.example") {
			t.Errorf("%+v", out)
		}
		w.sent(0)
		w.revoked()
	})
}

// A token that lives is used, and asked about nowhere else.
func TestClientMovedWhileTheTokenLives(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("forge", "ada1")
		w.moved("git.acme.example")
		if _, err := w.token(w.service, k); err != nil {
			t.Error(err)
		}
		if _, _, err := w.service.Check(t.Context(), user, k, refresh.Doubt{}, "check"); err != nil {
			t.Error(err)
		}
		w.sent(0)
	})
}

// A process that has not heard yet where the client is harms no connection that was
// just made there: it is renewed when it has.
func TestClientMovedUnheard(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("forge", "ada1")
		w.update(k, func(c *connection.Connection) error {
			c.ClientAt = map[string]string{"host": "git.acme.example"}
			c.Set.AccessExpiresAt = time.Now().Add(time.Second)
			return nil
		})
		time.Sleep(2 * time.Second)
		var later *refresh.Unavailable
		if _, err := w.token(w.service, k); !errors.As(err, &later) || w.row(k).Status != connection.Connected {
			t.Fatalf("%v, %s", err, w.row(k).Status)
		}
		w.sent(0)
		w.service.Secrets = clients{map[string]string{"host": "git.acme.example"}}
		time.Sleep(time.Minute)
		w.living(w.service, k)
		w.sent(1)
	})
}

// A client that is set anew for the same place goes on, however that is said, and
// so do rows of before it was noted.
func TestClientStays(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("forge", "ada1")
		for i, at := range []map[string]string{nil, {"host": "acme.example"}} {
			w.service.Secrets = clients{at}
			time.Sleep(2 * time.Hour)
			w.living(w.service, k)
			w.sent(i + 1)
		}
		w.update(k, func(c *connection.Connection) error {
			c.ClientAt = map[string]string{"host": "acme.example"}
			return nil
		})
		w.service.Secrets = clients{}
		time.Sleep(2 * time.Hour)
		w.living(w.service, k)
		if out := w.disconnect(k); out.Revoked != refresh.RevokedAtProvider {
			t.Errorf("%+v", out)
		}
		w.sent(3)
	})
}
