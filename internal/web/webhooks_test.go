package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/notify"
)

// TestTestWebhook: whoever tries an endpoint reads what became of the event, and
// what to do.
func TestTestWebhook(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err    error
		status int
		code   string
		says   []string
	}{
		{nil, 200, "", []string{`"delivered":true`, `"status":204`}},
		{notify.ErrNoEndpoint, 409, "webhook_missing", []string{"lanyard webhooks set URL", "LANYARD_WEBHOOK_URL"}},
		{&notify.Refusal{Status: 418}, 502, "webhook_refused", []string{"it answered 418", "2xx"}},
		{fmt.Errorf("%w: no such host", notify.ErrUnreachable), 502, "webhook_unreachable", []string{"no such host", "public https address"}},
		{connection.ErrUnavailable, 503, "storage_unavailable", nil},
		{errors.New("hunter2 of the operator"), 500, "internal_error", nil},
	} {
		s := newSite(t, loopURL, "")
		s.webhook = test.err
		rec := s.api(http.MethodPost, "/api/v1/webhooks/test", "")
		want(t, test.code, rec, test.status, test.code)
		for _, text := range test.says {
			if !strings.Contains(rec.Body.String(), text) {
				t.Errorf("%s does not say %q: %s", test.code, text, rec.Body)
			}
		}
		if strings.Contains(rec.Body.String(), "hunter2") {
			t.Errorf("a secret is told: %s", rec.Body)
		}
	}
}
