package refresh_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/vault"
)

func TestWhoMayHaveATokenAndWhen(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		for name, caller := range map[string]vault.Caller{
			"another user": {Tenant: "default", User: "eve", Actor: "page"}, "another tenant": {Tenant: "other", Actor: "api_key"},
			"nobody": {Tenant: "default"}, "another task": {Tenant: "default", Connection: "con_other", Actor: "task:1"},
		} {
			if _, _, err := w.service.Token(t.Context(), caller, k, 0, "token"); !errors.Is(err, connection.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := w.service.Disconnect(t.Context(), caller, k); !errors.Is(err, connection.ErrNotFound) {
				t.Errorf("%s disconnects: %v", name, err)
			}
		}
		for status, want := range map[connection.Status]error{connection.Pending: refresh.ErrPending,
			connection.Deleting: connection.ErrNotFound, connection.ReconnectNeeded: refresh.ErrReconnect} {
			w.update(k, func(c *connection.Connection) error { c.Status = status; return nil })
			w.refused(k, want)
		}
	})
}

// No token leaves without its line, and none is made of the line's failure.
func TestAudit(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		k := w.connect("acme", "ada1")
		lines := func() string {
			all, _, err := w.store.Audit().List(t.Context(), "default", struct{ Connection, User string }{}, "", 100)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, l := range all {
				if l.At.Equal(time.Now()) {
					out = append(out, l.Actor+" "+l.Action+" "+l.Purpose)
				}
			}
			return strings.Join(out, "\n")
		}
		time.Sleep(time.Minute)
		w.living(w.service, k)
		if got := lines(); got != "page open_access token" {
			t.Errorf("a fresh token: %s", got)
		}
		time.Sleep(time.Hour)
		w.living(w.service, k)
		for _, want := range []string{"refresh renew refresh", "page open_access token"} {
			if got := lines(); !strings.Contains(got, want) {
				t.Errorf("no line %q in\n%s", want, got)
			}
		}
		broken := w.process(func(op string, _ bool) error {
			if strings.HasPrefix(op, "audit") {
				return errBroken
			}
			return nil
		})
		if a, err := w.token(broken, k); a != "" || !errors.Is(err, vault.ErrAudit) {
			t.Errorf("a token without a line: %v", err)
		}
		time.Sleep(time.Hour)
		if a, err := w.token(broken, k); a != "" || err == nil {
			t.Error("a token without a line")
		}
		w.sent(1)
	})
}
