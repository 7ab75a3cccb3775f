package refresh

import (
	"hash/fnv"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/presets"
)

// When tokens are renewed although nobody asks.
const (
	// DefaultWindow is how long after its last use a connection's tokens are
	// kept fresh.
	DefaultWindow = 7 * 24 * time.Hour
	// A renewal is due a fifth of the token's life before its end, at most
	// maxMargin and at least minMargin: the schedule looks once a minute.
	maxMargin = 10 * time.Minute
	minMargin = 2 * time.Minute
	// maxNotice is how long before its end a grant's end is announced.
	maxNotice = 7 * 24 * time.Hour
	// shortLived ends are not announced: a person could not act on it.
	shortLived = 24 * time.Hour
	// moved is by how much a refresh token's end has to move to have moved.
	moved = 5 * time.Minute
)

// plan sets when the connection is looked at next, from what the row and its
// provider's data say. It is part of every change that could move it.
func (s *Service) plan(c *connection.Connection) {
	c.RenewAt, c.EndsAt, c.NoticeAt = time.Time{}, time.Time{}, time.Time{}
	if c.Status != connection.Connected || c.Provider == "" {
		return
	}
	h := s.habits(*c)
	if s.renewable(*c) {
		c.RenewAt = earlier(s.beforeExpiry(*c, h), beforeDeath(*c, h))
		if c.Failure != nil && c.RenewAt.Before(c.RetryAt) && !c.RenewAt.IsZero() {
			// Those who failed together do not come back together.
			c.RenewAt = c.RetryAt.Add(spread(*c, c.RetryAt.Sub(c.Failure.At)/5))
		}
	}
	c.EndsAt = s.end(*c, h)
	if total := c.EndsAt.Sub(c.ConnectedAt); !c.EndsAt.IsZero() && !c.EndsAt.Equal(c.EndAnnounced) && total >= shortLived {
		c.NoticeAt = c.EndsAt.Add(-min(maxNotice, total/4))
	}
}

// beforeExpiry is when the access token is renewed for those who use it: not
// at all if nobody did within the window.
func (s *Service) beforeExpiry(c connection.Connection, h presets.Refresh) time.Time {
	end := c.Set.AccessExpiresAt
	if end.IsZero() {
		return time.Time{} // verified when somebody doubts it
	}
	margin := Margin(h, end.Sub(c.Set.IssuedAt))
	at := end.Add(-margin - spread(c, margin/5))
	if h.NotBefore != "" {
		at = later(at, end.Add(-h.NotBefore.Value()))
	}
	if at.After(later(c.LastUsedAt, c.ConnectedAt).Add(s.window())) {
		return time.Time{}
	}
	return at
}

// Margin is how long before its end a token of that life is renewed.
func Margin(h presets.Refresh, life time.Duration) time.Duration {
	if h.Margin != "" {
		return min(h.Margin.Value(), life/2)
	}
	switch {
	case h.Grant == presets.GrantExchange:
		// Once it has ended there is nothing left to renew it with.
		return life / 4
	case h.OnReuse.OldAccessToken == presets.OldDies:
		// The later the better for whoever is using the old one.
		return min(max(life/20, minMargin), life/2)
	}
	return min(max(min(life/5, maxMargin), minMargin), life/2)
}

// beforeDeath is when the refresh token is used so that it does not die of
// idleness: at half of the time that it has.
func beforeDeath(c connection.Connection, h presets.Refresh) time.Time {
	var at time.Time
	if idle := h.IdleTTL.Value(); idle > 0 && c.Set.Renewable() {
		at = c.Set.IssuedAt.Add(idle/2 - spread(c, idle/20))
	}
	if end := c.Set.RefreshExpiresAt; !end.IsZero() && !c.Set.RefreshFixed {
		life := end.Sub(c.Set.IssuedAt)
		at = earlier(at, c.Set.IssuedAt.Add(life/2-spread(c, life/20)))
	}
	return at
}

// end is when the grant ends whatever we do; zero when that is not known.
func (s *Service) end(c connection.Connection, h presets.Refresh) time.Time {
	if !s.renewable(c) {
		return c.Set.AccessExpiresAt
	}
	var at time.Time
	if c.Set.RefreshFixed {
		at = c.Set.RefreshExpiresAt
	}
	if life := h.AbsoluteTTL.Value(); life > 0 {
		at = earlier(at, c.ConnectedAt.Add(life))
	}
	return at
}

// fixed reports whether a renewal was seen not to move the end of the refresh
// token: then another one will not either.
func fixed(old, renewed connection.Set) bool {
	if old.RefreshExpiresAt.IsZero() || renewed.RefreshExpiresAt.IsZero() {
		return false
	}
	if renewed.RefreshExpiresAt.Sub(old.RefreshExpiresAt) >= moved {
		return false
	}
	return old.RefreshFixed || renewed.IssuedAt.Sub(old.IssuedAt) >= 2*moved
}

func (s *Service) window() time.Duration {
	if s.Window > 0 {
		return s.Window
	}
	return DefaultWindow
}

// spread is a part of d that is the connection's and its set's own, so that
// what was connected together is not renewed together for ever.
func spread(c connection.Connection, d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(c.ID + c.Set.AccessVersion))
	return time.Duration(float64(d) * float64(h.Sum32()) / (1 << 32))
}

// earlier is the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
