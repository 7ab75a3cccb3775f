package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

const (
	linkTTL = flow.MaxLinkTTL
	// renewLink is how long one link is repeated: what is sent works for a day
	// at least.
	renewLink = linkTTL - 24*time.Hour
)

// needsPerson reports whether the person can do something about the event, and
// still has to: somebody may have reconnected since.
func needsPerson(c connection.Connection, e connection.Event) bool {
	switch {
	case e.Type == connection.Expiring:
		return c.EndsAt.Equal(e.EndsAt)
	case e.Health == connection.NeedsReconnect, e.Health == connection.ScopeLost:
		return c.Health == e.Health
	}
	return false
}

// reconnect adds the link. It is a function of the event and of a secret
// (docs/decisions/0005), so that the same webhook has the same one however often
// it is tried, and nobody who merely knows the event's id can find it. What will
// not pass by itself is logged, and costs the webhook its link only.
func (s *Service) reconnect(ctx context.Context, to Endpoint, c connection.Connection, e connection.Event, d *data) error {
	generation := s.Now().Sub(e.At) / renewLink
	mac := hmac.New(sha256.New, to.LinkKey)
	fmt.Fprintf(mac, "reconnect link\x00%q %q %q %d", c.Tenant, e.ID, to.ReturnURL, generation)
	l, path, err := s.Links.CreateLink(ctx, flow.LinkRequest{
		Tenant: c.Tenant, UserID: c.UserID, Servers: []string{c.Server}, ReturnURL: to.ReturnURL, TTL: linkTTL, Seed: mac.Sum(nil),
	})
	for _, lasting := range []error{flow.ErrServer, flow.ErrReturnURL, flow.ErrTenant, flow.ErrExists} {
		if errors.Is(err, lasting) {
			s.Logger.WarnContext(ctx, "a webhook is sent without a reconnect link", "event", e.ID, "tenant", c.Tenant, "connection", c.ID, "err", err)
			return nil
		}
	}
	if err != nil {
		return err
	}
	d.ReconnectURL, d.ReconnectExpiresAt = token.Secret(s.BaseURL+path), l.ExpiresAt
	return nil
}
