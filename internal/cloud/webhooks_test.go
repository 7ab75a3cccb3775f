package cloud_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/notify"
	"github.com/lanyardhq/lanyard/internal/token"
)

// hookWorld are endpoints behind a transport: as the operator's command has
// them, and as refresh does, with its memory.
type hookWorld struct {
	operator, refresh *cloud.Webhooks
	tr                *transport
	now               time.Time
}

func newWebhooks(t *testing.T, broken func(string, int) fault) *hookWorld {
	t.Helper()
	cfg, tr := through(t, broken)
	w := &hookWorld{tr: tr, now: clock()}
	store, now := newSecrets(t, cfg), func() time.Time { return w.now }
	w.operator, w.refresh = &cloud.Webhooks{Store: store, Now: now}, &cloud.Webhooks{Store: store, Now: now}
	return w
}

func (w *hookWorld) set(t *testing.T, tenant, url string) token.Secret {
	t.Helper()
	made, err := w.operator.Set(t.Context(), cloud.WebhookEntry{Tenant: tenant, URL: url, ReturnURL: url + "/back"})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// want: the tenant's endpoint is at the URL and signs with the secrets.
func (w *hookWorld) want(t *testing.T, tenant, url string, secrets ...token.Secret) notify.Endpoint {
	t.Helper()
	got, err := w.refresh.Endpoint(t.Context(), tenant)
	if url == "" {
		if !errors.Is(err, notify.ErrNoEndpoint) {
			t.Errorf("%s: %v", tenant, err)
		}
		return got
	}
	same := len(got.Secrets) == len(secrets)
	for i := range secrets {
		same = same && got.Secrets[i] == secrets[i]
	}
	if err != nil || got.URL != url || got.ReturnURL != url+"/back" || !same || len(got.LinkKey) != 32 {
		t.Errorf("%s: %v, %s, %d secrets, which are the right ones: %v", tenant, err, got.URL, len(got.Secrets), same)
	}
	return got
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	w := newWebhooks(t, nil)
	w.want(t, "default", "")
	first := w.set(t, "default", "https://one.example")
	w.want(t, "default", "") // for a minute, as it was
	w.now = w.now.Add(2 * time.Minute)
	before := w.want(t, "default", "https://one.example", first)
	w.want(t, "acme", "") // nobody else's
	// Another URL: the secret stays, and with it the links.
	if made := w.set(t, "default", "https://two.example"); made != "" {
		t.Error("a second secret was made")
	}
	w.now = w.now.Add(2 * time.Minute)
	if after := w.want(t, "default", "https://two.example", first); string(after.LinkKey) != string(before.LinkKey) {
		t.Error("another link key")
	}
	// Rotated: both sign until the overlap is over, which needs no read.
	second, until, err := w.operator.Rotate(t.Context(), "default", time.Hour)
	if err != nil || !until.Equal(w.now.Add(time.Hour)) {
		t.Fatal(err, until)
	}
	w.now = w.now.Add(59 * time.Minute)
	w.want(t, "default", "https://two.example", second, first)
	w.now = w.now.Add(time.Minute)
	w.want(t, "default", "https://two.example", second)
	// At once: the old one signs no more.
	third, _, err := w.operator.Rotate(t.Context(), "default", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(2 * time.Minute)
	w.want(t, "default", "https://two.example", third)
	other := w.set(t, "acme", "https://acme.example")
	w.now = w.now.Add(2 * time.Minute)
	if acme := w.want(t, "acme", "https://acme.example", other); string(acme.LinkKey) == string(before.LinkKey) {
		t.Error("two tenants have the same link key")
	}
	if err := w.operator.Remove(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(2 * time.Minute)
	w.want(t, "default", "")
	if err := w.operator.Remove(t.Context(), "default"); !errors.Is(err, notify.ErrNoEndpoint) {
		t.Error(err)
	}
	if _, _, err := w.operator.Rotate(t.Context(), "default", 0); !errors.Is(err, notify.ErrNoEndpoint) {
		t.Error(err)
	}
}

// TestWebhooksAreRemembered: one read a minute and tenant, also where there is
// none.
func TestWebhooksAreRemembered(t *testing.T) {
	t.Parallel()
	w := newWebhooks(t, nil)
	secret := w.set(t, "acme", "https://acme.example")
	reads := w.tr.count("GetSecretValue")
	for range 5 {
		w.want(t, "acme", "https://acme.example", secret)
		w.want(t, "default", "")
	}
	if n := w.tr.count("GetSecretValue") - reads; n != 2 {
		t.Errorf("%d reads", n)
	}
}

// TestWebhooksFail: whatever fails once, the operator has the secret that signs.
func TestWebhooksFail(t *testing.T) {
	t.Parallel()
	for name, broken := range passing {
		w := newWebhooks(t, func(_ string, n int) fault { // every call fails once
			if n == 1 {
				return broken
			}
			return fault{}
		})
		first := w.set(t, "default", "https://one.example")
		second, _, err := w.operator.Rotate(t.Context(), "default", time.Hour)
		if err != nil {
			t.Fatal(name, err)
		}
		if w.want(t, "default", "https://one.example", second, first); t.Failed() {
			t.Fatalf("%s once", name)
		}
	}
	w := newWebhooks(t, on("GetSecretValue", 1, always, fault{status: 400, code: "AccessDeniedException"}))
	_, err := w.refresh.Endpoint(t.Context(), "default")
	wantUnavailable(t, err, "Secrets Manager: GetSecretValue")
	if errors.Is(err, notify.ErrNoEndpoint) {
		t.Error("what cannot be read is taken for none: its events would be dropped")
	}
}

// TestWebhooksRaced: of operators at once, the secret that is left signing is one
// that somebody was shown.
func TestWebhooksRaced(t *testing.T) {
	t.Parallel()
	w := newWebhooks(t, nil)
	var all sync.WaitGroup
	made := make([]token.Secret, 4)
	for i := range made {
		all.Go(func() { made[i] = w.set(t, "default", "https://one.example") })
	}
	all.Wait()
	var shown []token.Secret
	for _, m := range made {
		if m != "" {
			shown = append(shown, m)
		}
	}
	if len(shown) != 1 {
		t.Fatalf("%d secrets were shown", len(shown))
	}
	w.want(t, "default", "https://one.example", shown[0])
}

// TestWebhooksMalformed: what somebody wrote by hand is not shown in the error.
func TestWebhooksMalformed(t *testing.T) {
	t.Parallel()
	for tenant, text := range map[string]string{"a": "hunter2", "b": `{"url":"https://hunter2.example"}`, "c": `{"url":"https://hunter2.example","secrets":[{"secret":"hunter2"}],"link_key":"aHVudGVyMg=="}`} {
		w := newWebhooks(t, nil)
		_, err := w.operator.Store.Client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
			Name: aws.String(w.operator.Store.Prefix + "/webhooks/" + tenant), SecretString: &text})
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.refresh.Endpoint(t.Context(), tenant)
		if err == nil || errors.Is(err, notify.ErrNoEndpoint) || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "/webhooks/"+tenant) {
			t.Errorf("error %v", err)
		}
		if err := w.operator.Remove(t.Context(), tenant); err != nil {
			t.Error(err)
		}
	}
}
