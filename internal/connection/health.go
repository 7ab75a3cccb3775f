package connection

import (
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
)

// Health is what a connection's owner has to know of it: whether there is a
// token to be had, and if not, who can do something about it.
type Health string

// The healths, in the words of package provider's verdicts.
const (
	Healthy Health = "ok"
	// NeedsReconnect: the grant is dead; only the person can help.
	NeedsReconnect Health = "reconnect"
	// ScopeLost: the provider withdrew a scope; the person grants it again.
	ScopeLost Health = "scope_lost"
	// ClientMisconfigured: our registration is wrong; the operator has to act.
	ClientMisconfigured Health = "client_misconfigured"
	// ProviderDown and Transient: no token for now; nobody has to do anything.
	ProviderDown Health = "provider_down"
	Transient    Health = "transient"
)

// Event types.
const (
	// HealthChanged tells of a new [Health].
	HealthChanged = "connection.health_changed"
	// Expiring tells, ahead of time, that the grant will end whatever we do.
	Expiring = "connection.expiring"
)

// Event is something that the connection's owner is told. It waits in the row
// that it is about, written together with what it tells of, so that neither is
// ever without the other; it leaves the row when it has been delivered.
type Event struct {
	// ID stays the same however often the event is delivered.
	ID   string    `json:"id"`
	Type string    `json:"type"`
	At   time.Time `json:"at"`
	// Health is what it is now, Was what it was before: empty when the
	// connection is new.
	Health Health `json:"health"`
	Was    Health `json:"was,omitempty"`
	// Code and Reason are of the failure behind it. Reason is for a person and
	// may be hostile text.
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	// EndsAt is when the grant ends, of an Expiring event.
	EndsAt time.Time `json:"ends_at,omitzero"`
	// Published: the deployment's event bus has it. Posted: the webhook was
	// taken, or there is nobody to take it. Tries counts the deliveries of which
	// one of the two failed; NextAt is when the next one is due.
	Published bool      `json:"published,omitempty"`
	Posted    bool      `json:"posted,omitempty"`
	Tries     int       `json:"tries,omitempty"`
	NextAt    time.Time `json:"next_at"`
}

// LostScopes says what the provider stopped granting, for a person; "" when
// nothing.
func (c Connection) LostScopes() string {
	if len(c.ScopesLost) == 0 {
		return ""
	}
	return "the provider no longer grants " + strings.Join(c.ScopesLost, ", ") + ": reconnect and grant it again"
}

// maxEvents bounds what waits in a row; of more, the oldest are given up.
const maxEvents = 8

// tell adds an event about the connection.
func (c *Connection) tell(e Event) {
	e.ID, e.Health = token.NewID("evt"), c.Health
	e.NextAt = e.At
	switch {
	case c.Failure != nil:
		e.Code, e.Reason = c.Failure.Code, c.Failure.Detail
	case len(c.ScopesLost) > 0:
		e.Code, e.Reason = "scopes_narrowed", c.LostScopes()
	}
	c.Events = append(c.Events, e)
	if n := len(c.Events) - maxEvents; n > 0 {
		c.Events = append([]Event(nil), c.Events[n:]...)
	}
}

// assess brings Health up to date with the row, and tells of a change.
func (c *Connection) assess(now time.Time) {
	was := c.Health
	if c.Health = c.healthAt(now); c.Health != was {
		c.tell(Event{Type: HealthChanged, At: now, Was: was})
	}
}

// healthAt is the health that the row means. A failure that nobody notices yet,
// because the token in hand still lives, is none that one could do anything
// about by being told: it may be over before.
func (c Connection) healthAt(now time.Time) Health {
	switch {
	case c.Status == Pending || c.Status == Deleting:
		return c.Health
	case c.Status == ReconnectNeeded && c.Failure != nil && c.Failure.Verdict == string(ScopeLost):
		return ScopeLost
	case c.Status == ReconnectNeeded:
		return NeedsReconnect
	case c.Failure == nil && len(c.ScopesLost) > 0:
		return ScopeLost
	case c.Failure == nil:
		return Healthy
	case c.Failure.Verdict == string(ClientMisconfigured):
		return ClientMisconfigured
	case c.Set.AccessExpiresAt.IsZero() || now.Before(c.Set.AccessExpiresAt):
		return Healthy
	case c.Failure.Verdict == string(ProviderDown):
		return ProviderDown
	}
	return Transient
}

// Wait notes that the provider is not asked for now, for the reason of f. That
// says nothing about this connection until its token ends: then it is a failure
// like one that it has seen itself.
func (c *Connection) Wait(f Failure, now time.Time) {
	if c.Status != Connected {
		return
	}
	if end := c.Set.AccessExpiresAt; c.Failure == nil && !end.IsZero() && !now.Before(end) {
		c.Failure = &f
	}
	c.assess(now)
}

// AnnounceEnd tells that the grant ends at c.EndsAt, once.
func (c *Connection) AnnounceEnd(now time.Time) {
	if c.Status != Connected || c.EndsAt.IsZero() || c.EndAnnounced.Equal(c.EndsAt) {
		return
	}
	c.EndAnnounced, c.NoticeAt = c.EndsAt, time.Time{}
	c.tell(Event{Type: Expiring, At: now, EndsAt: c.EndsAt})
}

// Delivered replaces the event of that ID by what a delivery left of it: nil
// when nothing is left to do.
func (c *Connection) Delivered(id string, rest *Event) {
	for i, e := range c.Events {
		if e.ID != id {
			continue
		}
		events := append([]Event(nil), c.Events[:i]...)
		if rest != nil {
			events = append(events, *rest)
		}
		c.Events = append(events, c.Events[i+1:]...)
		return
	}
}
