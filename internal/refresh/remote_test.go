package refresh_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// remote asks the service as another function does, and keeps what crosses.
func remote(s *refresh.Service, crossed *strings.Builder) *refresh.Remote {
	return &refresh.Remote{Invoke: func(ctx context.Context, call []byte) ([]byte, error) {
		var c refresh.Call
		if err := json.Unmarshal(call, &c); err != nil {
			return nil, err
		}
		answer, err := json.Marshal(s.Serve(ctx, c))
		crossed.Write(call)
		crossed.Write(answer)
		return answer, err
	}}
}

func TestRemoteToken(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		var crossed strings.Builder
		k := w.connect("acme", "ada1")
		time.Sleep(time.Hour)
		r := remote(w.service, &crossed)
		a, c, err := r.Token(t.Context(), user, k, time.Minute, "token")
		if err != nil || !w.acme.accepts(a.Tokens[""].AccessToken.Reveal()) || c.ID != k.ID {
			t.Fatalf("no living token of %s: %v", c.ID, err)
		}
		w.sent(1)
		checked, _, err := r.Check(t.Context(), user, k, refresh.Doubt{}, "check")
		if err != nil || checked.Tokens[""].AccessToken != a.Tokens[""].AccessToken {
			t.Errorf("another token after the check, or none: %v", err)
		}
		grant, err := w.service.Vault.Grant(t.Context(), user, w.row(k), w.row(k).Set, "test")
		if err != nil || len(grant.Renewables) == 0 {
			t.Fatal("no grant to look for", err)
		}
		for _, g := range grant.Renewables {
			if strings.Contains(crossed.String(), g.RefreshToken.Reveal()) {
				t.Error("a refresh token crossed")
			}
		}
		if strings.Contains(crossed.String(), string(w.row(k).Set.Access)) || c.Set.Access != nil {
			t.Error("a sealed set crossed")
		}
	})
}

// TestRemoteErrors: each refusal is the same error on the other side.
func TestRemoteErrors(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		var crossed strings.Builder
		k := w.connect("acme", "ada1")
		r := remote(w.service, &crossed)
		ask := func(caller vault.Caller) error {
			a, _, err := r.Token(t.Context(), caller, k, time.Minute, "token")
			if len(a.Tokens) > 0 {
				t.Error("a token came with a refusal")
			}
			return err
		}
		for name, caller := range map[string]vault.Caller{
			"another user": {Tenant: "default", User: "eve", Actor: "page"}, "another tenant": {Tenant: "other", Actor: "page"},
			"another task": {Tenant: "default", Connection: "con_other", Actor: "task:1"}, "nobody": {Tenant: "default"},
		} {
			if err := ask(caller); !errors.Is(err, connection.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for status, want := range map[connection.Status]error{connection.Pending: refresh.ErrPending,
			connection.Deleting: connection.ErrNotFound, connection.ReconnectNeeded: refresh.ErrReconnect} {
			w.update(k, func(c *connection.Connection) error {
				c.Status, c.Failure = status, &connection.Failure{Detail: "the person took it back"}
				return nil
			})
			err := ask(user)
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", status, err, want)
			}
			if want == refresh.ErrReconnect && !strings.Contains(err.Error(), "took it back") {
				t.Errorf("the reason did not cross: %v", err)
			}
		}
		w.update(k, func(c *connection.Connection) error { c.Status, c.Failure = connection.Connected, nil; return nil })
		broken := w.process(func(op string, done bool) error {
			if strings.Contains(op, "audit") || strings.Contains(op, "append") {
				return errBroken
			}
			return nil
		})
		_, _, err := remote(broken, &crossed).Token(t.Context(), user, k, 0, "token")
		if !errors.Is(err, vault.ErrAudit) || strings.Contains(err.Error(), errBroken.Error()) {
			t.Errorf("without an audit: %v, want %v and not its cause", err, vault.ErrAudit)
		}
	})
}

// TestRemoteUnreadable: whatever comes back, no part of it is repeated.
func TestRemoteUnreadable(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"", "null and void " + canary, `{"access": "` + canary + `"}`, `[]`, `{"error":{"code":"new one","detail":"x"}}`} {
		r := &refresh.Remote{Invoke: func(context.Context, []byte) ([]byte, error) { return []byte(answer), nil }}
		_, _, err := r.Token(t.Context(), user, connection.Key{}, 0, "token")
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", answer, err)
		}
	}
	r := &refresh.Remote{Invoke: func(context.Context, []byte) ([]byte, error) { return nil, connection.ErrUnavailable }}
	if _, _, err := r.Token(t.Context(), user, connection.Key{}, 0, "token"); !errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("unreachable: %v", err)
	}
}
