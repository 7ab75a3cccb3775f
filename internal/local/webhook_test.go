package local_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/notify"
	"github.com/lanyardhq/lanyard/internal/token"
)

func TestWebhook(t *testing.T) {
	t.Parallel()
	set := notify.Endpoint{URL: "http://127.0.0.1:9000/hook", Secrets: []token.Secret{notify.NewSecret()}}
	w, err := local.NewWebhook(set)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.Endpoint(t.Context(), "default"); err != nil || got.URL != set.URL || got.Secrets[0] != set.Secrets[0] {
		t.Errorf("%v %v", got.URL, err)
	}
	if _, err := w.Endpoint(t.Context(), "acme"); !errors.Is(err, notify.ErrNoEndpoint) {
		t.Errorf("another tenant: %v", err)
	}
	none, err := local.NewWebhook(notify.Endpoint{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := none.Endpoint(t.Context(), "default"); !errors.Is(err, notify.ErrNoEndpoint) {
		t.Error(err)
	}
	for _, raw := range []string{"http://hooks.example/c4nary", "https://192.168.1.1/c4nary", "c4nary"} {
		if _, err := local.NewWebhook(notify.Endpoint{URL: raw}); !errors.Is(err, notify.ErrURL) || !strings.Contains(err.Error(), "LANYARD_WEBHOOK_URL") || strings.Contains(err.Error(), "c4nary") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// TestWebhookSecret: processes that begin at once have one, which only its owner
// reads; what is none is refused, and not shown.
func TestWebhookSecret(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "webhook-secret")
	got := make([]token.Secret, 8)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			var err error
			if got[i], err = local.OpenWebhookSecret("", path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, s := range got {
		if s != got[0] || notify.CheckSecret(s) != nil {
			t.Error("two secrets")
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	given := notify.NewSecret()
	if s, err := local.OpenWebhookSecret(given, path); s != given || err != nil {
		t.Error(err)
	}
	if _, err := local.OpenWebhookSecret("whsec_c4nary", path); !errors.Is(err, notify.ErrSecret) || strings.Contains(err.Error(), "c4nary") {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("c4nary"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local.OpenWebhookSecret("", path); !errors.Is(err, notify.ErrSecret) || strings.Contains(err.Error(), "c4nary") || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}
