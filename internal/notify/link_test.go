package notify_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

// brokenLinks fails as told.
type brokenLinks struct{ err error }

func (b brokenLinks) CreateLink(context.Context, flow.LinkRequest) (flow.Link, string, error) {
	return flow.Link{}, "", fmt.Errorf("store the link: %w", b.err)
}

// TestLinks: who gets a link, and which.
func TestLinks(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	for name, test := range map[string]struct {
		event  connection.Event
		health connection.Health
		ends   time.Time
		want   bool
	}{
		"dead":                    {connection.Event{Type: connection.HealthChanged, Health: connection.NeedsReconnect}, connection.NeedsReconnect, time.Time{}, true},
		"scope":                   {connection.Event{Type: connection.HealthChanged, Health: connection.ScopeLost}, connection.ScopeLost, time.Time{}, true},
		"expiring":                {connection.Event{Type: connection.Expiring, Health: connection.Healthy, EndsAt: now}, connection.Healthy, now, true},
		"reconnected since":       {connection.Event{Type: connection.HealthChanged, Health: connection.NeedsReconnect}, connection.Healthy, time.Time{}, false},
		"prolonged since":         {connection.Event{Type: connection.Expiring, Health: connection.Healthy, EndsAt: now}, connection.Healthy, time.Time{}, false},
		"healthy":                 {connection.Event{Type: connection.HealthChanged, Health: connection.Healthy}, connection.Healthy, time.Time{}, false},
		"the provider's business": {connection.Event{Type: connection.HealthChanged, Health: connection.ProviderDown}, connection.ProviderDown, time.Time{}, false},
		"the operator's business": {connection.Event{Type: connection.HealthChanged, Health: connection.ClientMisconfigured}, connection.ClientMisconfigured, time.Time{}, false},
	} {
		w := newWorld(t)
		c, _ := dead("default")
		c.Health, c.EndsAt = test.health, test.ends
		test.event.ID, test.event.At = "evt_1", now
		if rest := w.service.Deliver(t.Context(), c, test.event); rest != nil {
			t.Fatalf("%s: left is %+v", name, rest)
		}
		if got := w.link(w.webhooks()[0]); (got != "") != test.want {
			t.Errorf("%s: the link is %q", name, got)
		}
	}
	c, e := dead("default")
	t.Run("faults", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.service.Links = brokenLinks{connection.ErrUnavailable}
		if rest := w.service.Deliver(t.Context(), c, e); rest == nil || len(w.webhooks()) != 0 {
			t.Errorf("left is %+v", rest)
		}
		for _, lasting := range []error{flow.ErrServer, flow.ErrReturnURL, flow.ErrTenant, flow.ErrExists} {
			w := newWorld(t)
			w.service.Links = brokenLinks{lasting}
			if rest := w.service.Deliver(t.Context(), c, e); rest != nil || w.link(w.webhooks()[0]) != "" {
				t.Errorf("%v: left is %+v", lasting, rest)
			}
		}
	})
	t.Run("return URL", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		to := w.endpoints["default"]
		to.ReturnURL = "https://app.example/back"
		w.endpoints["default"] = to
		w.service.Deliver(t.Context(), c, e)
		l, err := w.starter.FindLink(t.Context(), strings.TrimPrefix(w.link(w.webhooks()[0]), "https://lanyard.test/l/"))
		if err != nil || l.ReturnURL != to.ReturnURL {
			t.Errorf("%v %+v", err, l)
		}
		to.ReturnURL = "https://elsewhere.example/" // not the tenant's
		w.endpoints["default"] = to
		if rest := w.service.Deliver(t.Context(), c, e); rest != nil || w.link(w.webhooks()[1]) != "" {
			t.Errorf("left is %+v", rest)
		}
	})
}

// TestLinkIsOld: a webhook that is sent days late has a link that works for a
// day and more; nobody finds any of them without our key.
func TestLinkIsOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c, e := dead("default")
		seen := map[string]int{}
		for range 20 {
			w.service.Deliver(t.Context(), c, e)
			all := w.webhooks()
			link := w.link(all[len(all)-1])
			seen[link]++
			l, err := w.starter.FindLink(t.Context(), strings.TrimPrefix(link, "https://lanyard.test/l/"))
			if err != nil || time.Until(l.ExpiresAt) < 24*time.Hour {
				t.Fatalf("%v, works for %v", err, time.Until(l.ExpiresAt))
			}
			time.Sleep(24 * time.Hour)
		}
		if len(seen) != 4 {
			t.Errorf("%d links in 20 days: %v", len(seen), seen)
		}
		other := newWorld(t)
		to := endpoint("default")
		to.LinkKey = []byte("another key")
		other.endpoints["default"] = to
		other.service.Deliver(t.Context(), c, e)
		if link := other.link(other.webhooks()[0]); seen[link] > 0 || link == "" {
			t.Errorf("with another key the link is the same: %s", link)
		}
	})
}
