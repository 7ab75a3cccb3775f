package runner

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// rememberedSets is how many renewed sets' secrets are still redacted: a server
// may print an error about a token that it had hours ago.
const rememberedSets = 24

// credentials are the access that the task has now, and the way to more.
type credentials struct {
	control task.Control
	taskID  string
	// asking lets one caller at a time ask mcprun; the others find its answer.
	asking chan struct{}

	mu     sync.Mutex
	access token.Access
	// edition counts the sets whose access tokens differed, the first included.
	edition int64
	// lifetime is how long the current set had to live when it came; zero when
	// it does not expire.
	lifetime time.Duration
	// jitter spreads the renewals of tasks that were started together.
	jitter float64
	past   [][]string
	fixed  []string
}

func newCredentials(control task.Control, taskID string, claim task.Claim) *credentials {
	c := &credentials{control: control, taskID: taskID, asking: make(chan struct{}, 1), jitter: 1 + rand.Float64()/5}
	c.guard(claim.Bearer.Reveal())
	c.take(claim.Access)
	return c
}

// guard adds secrets that are no tokens to those that are redacted.
func (c *credentials) guard(secrets ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fixed = append(c.fixed, secrets...)
}

func (c *credentials) current() token.Access {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.access
}

// latest is the current set and its edition.
func (c *credentials) latest() (token.Access, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.access, c.edition
}

// secrets is everything that must not be shown.
func (c *credentials) secrets() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := append([]string{}, c.fixed...)
	for _, s := range c.past {
		out = append(out, s...)
	}
	return out
}

// margin is how long before the end a set is renewed: about a quarter of its
// life, but no more than about five minutes, so that a set of ten seconds is not
// renewed all the time.
func (c *credentials) margin() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(c.jitter * float64(min(5*time.Minute, c.lifetime/4)))
}

// take makes access current and reports whether it differs.
func (c *credentials) take(access token.Access) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.past) > 0 && equal(c.access, access) {
		return false
	}
	if len(c.past) == 0 || c.access.Hash() != access.Hash() {
		c.edition++
	}
	c.access, c.lifetime = access, 0
	if at := access.ExpiresAt(); !at.IsZero() {
		c.lifetime = max(0, time.Until(at))
	}
	c.past = append(c.past, access.Secrets())
	if len(c.past) > rememberedSets {
		c.past = c.past[1:]
	}
	return true
}

func equal(a, b token.Access) bool {
	return maps.EqualFunc(a.Tokens, b.Tokens, func(x, y token.Token) bool {
		return x.AccessToken == y.AccessToken && x.ExpiresAt.Equal(y.ExpiresAt)
	}) && maps.Equal(a.Values, b.Values) && maps.Equal(a.Metadata, b.Metadata)
}

// fresh returns a set that lives at least ttl, from memory if it can, and
// whether it is another than before. With suspect it always asks, unless
// somebody else has brought other tokens meanwhile.
func (c *credentials) fresh(ctx context.Context, ttl time.Duration, suspect bool) (token.Access, bool, error) {
	_, before := c.latest()
	select {
	case c.asking <- struct{}{}:
		defer func() { <-c.asking }()
	case <-ctx.Done():
		return token.Access{}, false, ctx.Err()
	}
	now, edition := c.latest()
	if suspect && edition != before {
		return now, true, nil
	}
	if at := now.ExpiresAt(); !suspect && (at.IsZero() || time.Until(at) >= ttl) {
		return now, false, nil
	}
	ask := task.TokenRequest{TaskID: c.taskID, MinTTL: seconds(ttl)}
	if suspect {
		ask.Suspect, ask.Refused = true, now.Hash()
	}
	access, err := c.control.Token(ctx, ask)
	if err != nil {
		return token.Access{}, false, fmt.Errorf("ask for a fresh token: %w", err)
	}
	return access, c.take(access), nil
}

// seconds rounds up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
