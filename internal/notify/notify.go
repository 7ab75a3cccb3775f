// Package notify tells a tenant's own systems what became of its users'
// connections, in two ways:
//
//	bus       the deployment's event bus gets every event, of all tenants
//	webhook   the tenant's endpoint gets its own, signed by the Standard
//	          Webhooks scheme (https://www.standardwebhooks.com), with a link by
//	          which the person reconnects where only the person can help
//
// The link is in the webhook alone: a bus is read by many, and whoever opens the
// link first acts as the person.
//
// An event waits in the row of its connection ([connection.Event]), written
// together with what it tells of, until both have it or a day of tries is over.
// So each is delivered at least once, and in no order: an event's id stays the
// same, by which a receiver drops what it has had.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Endpoint is where a tenant is told.
type Endpoint struct {
	URL string
	// Secrets sign, each: one, or two while the receiver goes over to a new one.
	// [NewSecret] makes one.
	Secrets []token.Secret
	// LinkKey is a secret of ours of which reconnect links are derived, so that a
	// webhook that is tried again has the same one. The receiver does not know
	// it: who forges webhooks cannot make links.
	LinkKey []byte
	// ReturnURL is where a person is sent after reconnecting. It must be among
	// the tenant's return URLs; empty: the person stays on our page.
	ReturnURL string
}

// ErrNoEndpoint: the tenant wants no webhooks.
var ErrNoEndpoint = errors.New("no webhook endpoint is set")

// Endpoints knows the tenants' endpoints.
type Endpoints interface {
	// Endpoint returns the tenant's own endpoint, or ErrNoEndpoint. What it
	// returns may be a minute old.
	Endpoint(ctx context.Context, tenant string) (Endpoint, error)
}

// Source is what all events on a bus are from, by which rules find them.
const Source = "lanyard"

// Bus is an event bus of the deployment.
type Bus interface {
	// Publish returns when the bus has the event; it may get it twice. Detail is
	// a JSON object.
	Publish(ctx context.Context, kind string, at time.Time, detail []byte) error
}

// ErrTrying: a trial of the tenant's endpoint is under way.
var ErrTrying = errors.New("the webhook endpoint is being tried already")

// Gates lets one trial of a tenant's endpoint pass at a time, in all processes:
// one that hangs takes the time of whoever renews tokens. See [refresh.Gates].
type Gates interface {
	UpdateGate(ctx context.Context, name string, change func(*refresh.Gate) error) (refresh.Gate, error)
}

// Links makes connect links. [*flow.Starter] does.
type Links interface {
	CreateLink(ctx context.Context, r flow.LinkRequest) (flow.Link, string, error)
}

// Service delivers events. It is safe for concurrent use.
type Service struct {
	// Bus may be nil: there is none.
	Bus       Bus
	Endpoints Endpoints
	Links     Links
	Gates     Gates
	// BaseURL is the public URL, without a slash at its end.
	BaseURL string
	// AllowLoopback lets an endpoint be on this machine, by plain http: for a
	// machine of one's own.
	AllowLoopback bool
	// Transport sends the webhooks; nil: one that reaches public addresses alone.
	Transport http.RoundTripper
	Now       func() time.Time
	Logger    *slog.Logger

	once   sync.Once
	client *http.Client
	mu     sync.Mutex
	rests  map[string]time.Time // of tenants, until when
}

// waits are the pauses before the second try and those after it. They add up to
// 27 hours and 35 minutes. A try is late by up to a minute, for the sweep.
var waits = []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 10 * time.Hour}

// pause is how long to wait after so many tries: up to a tenth longer than
// listed, because many events fail at the same moment.
func pause(tries int) time.Duration {
	d := waits[tries-1]
	return d + rand.N(d/10)
}

// Deliver tries to publish the event and to post the webhook, whichever of the
// two is not done, and returns what is left; nil: nothing. Neither waits for the
// other to succeed. It implements refresh.Notifier.
func (s *Service) Deliver(ctx context.Context, c connection.Connection, e connection.Event) *connection.Event {
	err := errors.Join(s.publish(ctx, c, &e), s.post(ctx, c, &e))
	if err == nil {
		return nil
	}
	what := []any{"event", e.ID, "type", e.Type, "tenant", c.Tenant, "connection", c.ID, "published", e.Published, "posted", e.Posted, "err", err}
	if e.Tries++; e.Tries > len(waits) {
		s.Logger.ErrorContext(ctx, "an event was given up: it was tried for more than a day", what...)
		return nil
	}
	e.NextAt = s.Now().UTC().Add(pause(e.Tries))
	s.Logger.WarnContext(ctx, "an event was not delivered, and is tried again", append(what, "try", e.Tries, "next", e.NextAt)...)
	return &e
}

func (s *Service) publish(ctx context.Context, c connection.Connection, e *connection.Event) error {
	if s.Bus == nil || e.Published {
		return nil
	}
	detail, err := encode(about(c, *e))
	if err == nil {
		err = s.Bus.Publish(ctx, e.Type, e.At, detail)
	}
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	e.Published = true
	return nil
}

func (s *Service) post(ctx context.Context, c connection.Connection, e *connection.Event) error {
	if e.Posted {
		return nil
	}
	to, err := s.Endpoints.Endpoint(ctx, c.Tenant)
	if errors.Is(err, ErrNoEndpoint) {
		e.Posted = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the webhook endpoint: %w", err)
	}
	if s.resting(c.Tenant) {
		return errResting
	}
	d := about(c, *e)
	if needsPerson(c, *e) {
		if err := s.reconnect(ctx, to, c, *e, &d); err != nil {
			return fmt.Errorf("make a reconnect link: %w", err)
		}
	}
	body, err := encode(message{Type: e.Type, Timestamp: e.At.UTC(), Data: d})
	if err != nil {
		return err
	}
	began := s.Now()
	_, err = s.send(ctx, to, e.ID, body)
	var refused *Refusal
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusGone:
		s.Logger.ErrorContext(ctx, "a webhook was given up: its endpoint says that it is gone for good", "event", e.ID, "tenant", c.Tenant, "host", hostOf(to.URL))
	case err != nil:
		s.rest(c.Tenant, s.Now().Sub(began))
		return fmt.Errorf("post to %s: %w", hostOf(to.URL), err)
	}
	e.Posted = true
	return nil
}

// errResting: see rest.
var errResting = errors.New("the webhook endpoint took long to fail a moment ago, and was not asked")

// rest leaves a tenant's endpoint alone for four times as long as it took to
// fail. Whoever delivers also renews tokens: one tenant's endpoint that hangs
// must take little of the time that all of them share.
func (s *Service) rest(tenant string, took time.Duration) {
	if took < time.Second {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rests == nil {
		s.rests = map[string]time.Time{}
	}
	s.rests[tenant] = s.Now().Add(4 * took)
}

func (s *Service) resting(tenant string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.rests[tenant]
	if ok && !s.Now().Before(until) {
		delete(s.rests, tenant)
		return false
	}
	return ok
}

// Test sends an event of type webhook.test to the tenant's endpoint now, once,
// and returns the status that it was taken with. Its errors are ErrNoEndpoint,
// ErrTrying, one that wraps ErrRefused or ErrUnreachable, or what finding the
// endpoint said.
func (s *Service) Test(ctx context.Context, tenant string) (status int, err error) {
	to, err := s.Endpoints.Endpoint(ctx, tenant)
	if err != nil {
		return 0, err
	}
	done, err := s.claimTrial(ctx, tenant)
	if err != nil {
		return 0, err
	}
	defer done()
	now, id := s.Now().UTC(), token.NewID("evt")
	body, err := encode(message{Type: TestType, Timestamp: now, Data: trial{Version: version, EventID: id, Tenant: tenant}})
	if err != nil {
		return 0, err
	}
	return s.send(ctx, to, id, body)
}

// claimTrial begins the tenant's only trial; done ends it.
func (s *Service) claimTrial(ctx context.Context, tenant string) (done func(), err error) {
	name, until := "webhook trial "+tenant, s.Now().UTC().Add(timeout)
	_, err = s.Gates.UpdateGate(ctx, name, func(g *refresh.Gate) error {
		if s.Now().Before(g.Until) {
			return ErrTrying
		}
		g.Until = until
		return nil
	})
	return func() {
		// If it fails, the next one waits for as long as this one could have taken.
		_, _ = s.Gates.UpdateGate(context.WithoutCancel(ctx), name, func(g *refresh.Gate) error {
			if g.Until.Equal(until) {
				g.Until = time.Time{}
			}
			return nil
		})
	}, err
}
