package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/flow"
)

// reached is a machine behind a tunnel, whom everybody reaches.
func reached(t *testing.T, set map[string]string) *machine {
	t.Helper()
	env := map[string]string{"LANYARD_DATA": t.TempDir(), "LANYARD_ADDR": "127.0.0.1:8080", "LANYARD_DEMO_ADDR": "127.0.0.1:0", "LANYARD_BASE_URL": "https://tunnel.example"}
	for name, value := range set {
		env[name] = value
	}
	cfg, err := config.Load(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMachine(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m
}

// TestStrangersReachNothingInside: a client's document is fetched for whoever asks,
// and so not from this machine where others than its owner ask.
func TestStrangersReachNothingInside(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer inner.Close()
	m := reached(t, nil)
	for _, id := range []string{inner.URL + "/admin/restart", strings.Replace(inner.URL, "127.0.0.1", "localhost", 1) + "/x"} {
		r := httptest.NewRequest(http.MethodGet, "https://tunnel.example/oauth/authorize?client_id="+url.QueryEscape(id), nil)
		w := httptest.NewRecorder()
		m.handler.ServeHTTP(w, r)
		if n := asked.Load(); n > 0 || w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d, asked %d times", id, w.Code, n)
		}
	}
}

// TestOneTenant: a machine has no other, whoever names one.
func TestOneTenant(t *testing.T) {
	t.Parallel()
	m := reached(t, nil)
	if _, err := (tenant{m.cfg}).Tenant(t.Context(), flow.DefaultTenant); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"ghost", "", "Your account is locked"} {
		r := httptest.NewRequest(http.MethodGet, "https://tunnel.example/oauth/sign-in?return=/mcp/servers&tenant="+url.QueryEscape(id), nil)
		w := httptest.NewRecorder()
		m.handler.ServeHTTP(w, r)
		if id != "" && (w.Code < 400 || strings.Contains(w.Body.String(), id)) {
			t.Errorf("%q: %d %s", id, w.Code, w.Body)
		}
		if _, err := (tenant{m.cfg}).Tenant(t.Context(), id); err == nil {
			t.Errorf("there is a tenant %q", id)
		}
	}
}
