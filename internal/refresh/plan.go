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
	// tooShort lives cannot be planned for: the schedule looks once a minute,
	// and times told in whole seconds, long under way, differ by a few.
	tooShort = time.Minute
	// nearly: what is told as "in so many seconds" is never quite the same time.
	nearly = 5 * time.Minute
)

// plan sets when the connection is looked at next, from what the row and its
// provider's data say. It is part of every change that could move it.
func (s *Service) plan(c *connection.Connection) {
	c.RenewAt, c.EndsAt, c.NoticeAt = time.Time{}, time.Time{}, time.Time{}
	if c.Status != connection.Connected || c.Provider == "" {
		return
	}
	h := s.habits(*c)
	if renewable(*c, h) {
		c.RenewAt = s.renewAt(*c, h)
	}
	c.EndsAt = end(*c, h)
	if total := c.EndsAt.Sub(c.ConnectedAt); !c.EndsAt.IsZero() && !near(c.EndsAt, c.EndAnnounced) && total >= shortLived {
		c.NoticeAt = c.EndsAt.Add(-min(maxNotice, total/4))
	}
}

// renewAt is when the tokens are renewed although nobody asks; zero: not.
func (s *Service) renewAt(c connection.Connection, h presets.Refresh) time.Time {
	used, alive := beforeExpiry(c, h), beforeDeath(c, h)
	if h.Grant == presets.GrantExchange {
		alive = used // once the token has ended there is nothing to renew it with
	}
	if c.Failure != nil {
		// Those who failed together do not come back together.
		retry := back(c, c.RetryAt, c.RetryAt.Sub(c.Failure.At)/5)
		used, alive = notBefore(used, retry), notBefore(alive, retry)
	}
	if used.After(later(c.LastUsedAt, c.ConnectedAt).Add(s.window())) {
		used = time.Time{} // it is renewed when somebody comes back
	}
	at := earlier(used, alive)
	if end := c.Set.AccessExpiresAt; h.NotBefore != "" && !end.IsZero() {
		at = notBefore(at, end.Add(-h.NotBefore.Value()))
	}
	return at
}

// beforeExpiry is when the access token is renewed for those who use it: not at
// all if it ends before the schedule could look twice.
func beforeExpiry(c connection.Connection, h presets.Refresh) time.Time {
	end := c.Set.AccessExpiresAt
	life := end.Sub(c.Set.IssuedAt)
	if end.IsZero() || life < tooShort {
		return time.Time{} // when somebody doubts it, or asks
	}
	margin := Margin(h, life)
	return end.Add(-margin - spread(c, margin/5))
}

// Margin is how long before its end a token of that life is renewed.
func Margin(h presets.Refresh, life time.Duration) time.Duration {
	life = max(life, 0)
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
	if !c.Set.Renewable() {
		return time.Time{}
	}
	life := h.IdleTTL.Value()
	if end := c.Set.RefreshExpiresAt; !end.IsZero() && !c.Set.RefreshFixed {
		if told := end.Sub(c.Set.IssuedAt); life == 0 || told < life {
			life = told
		}
	}
	if life/2 < tooShort {
		return time.Time{} // or it would be renewed without end
	}
	return c.Set.IssuedAt.Add(life/2 - spread(c, life/20))
}

// end is when the grant ends whatever we do; zero when that is not known.
func end(c connection.Connection, h presets.Refresh) time.Time {
	if !renewable(c, h) {
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
// token, as one does that gives it its whole life again: then another one will
// not either. Of two that follow each other closely nothing is seen.
func fixed(old, renewed connection.Set) bool {
	if old.RefreshExpiresAt.IsZero() || renewed.RefreshExpiresAt.IsZero() {
		return false
	}
	passed := renewed.IssuedAt.Sub(old.IssuedAt)
	if passed < tooShort {
		return old.RefreshFixed
	}
	return renewed.RefreshExpiresAt.Sub(old.RefreshExpiresAt) < passed/2
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

// back is when one of many comes back that may from then on: within d, and
// before its token ends, if that is still to come.
func back(c connection.Connection, from time.Time, d time.Duration) time.Time {
	if end := c.Set.AccessExpiresAt; end.After(from) {
		d = min(d, end.Sub(from))
	}
	return from.Add(spread(c, d))
}

// earlier is the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// notBefore is at, or the limit if that is later; zero is never.
func notBefore(at, limit time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return later(at, limit)
}

func near(a, b time.Time) bool { return a.Sub(b).Abs() < nearly }

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
