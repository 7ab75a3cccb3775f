package refresh

import (
	"context"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/presets"
)

// lapse is for how long a process may spend what it took of a ration.
const lapse = time.Second

// bucket is a ration as a token bucket: at most size at once, and rate a second
// in the long run. However they are spent, no span of the ration's window sees
// more than its limit.
type bucket struct {
	size, rate float64
	// batch is how many a process takes at a time: about a second's.
	batch int
}

func bucketOf(r presets.RateLimit) bucket {
	limit, window := max(r.Limit, 1), max(r.Window.Value(), time.Second)
	b := bucket{size: float64(max(1, limit/4))}
	b.batch = max(1, min(limit/10, int(float64(limit)/window.Seconds())))
	if b.batch > 1 {
		window += lapse // a token is spent so much after it was counted
	}
	// With size+rate*window = limit+1, the last one comes after the window.
	b.rate = (float64(limit) + 1 - b.size) / window.Seconds()
	return b
}

// fill brings the gate's tokens up to now.
func (b bucket) fill(g *Gate, now time.Time) {
	if g.At.IsZero() {
		g.Tokens, g.At = b.size, now
	}
	if since := now.Sub(g.At); since > 0 {
		g.Tokens, g.At = min(b.size, g.Tokens+since.Seconds()*b.rate), now
	}
}

// supply is what a process has of a ration.
type supply struct {
	// taking is held by whoever takes a batch.
	taking chan struct{}
	// left may be spent until lapses.
	left   int
	lapses time.Time
	// dry: there is no token before then. waiting are the connections that were
	// told so, rate how many may come a second.
	dry     time.Time
	waiting map[string]bool
	rate    float64
	// unasked: the store does not answer, and is not asked until then.
	unasked time.Time
}

func newSupply() supply { return supply{taking: make(chan struct{}, 1), waiting: map[string]bool{}} }

// userName names the bucket of the connection's account; of a connection whose
// provider names no account, its own.
func userName(c connection.Connection) string {
	if c.Account.Subject == "" {
		return gateName(c, "connection", c.ID)
	}
	return gateName(c, "account", c.Account.Subject)
}

// rationed makes the connection wait for the next token, and those who wait
// come back at the rate that is permitted.
func (w *watch) rationed(id string) *Held {
	w.waiting[id] = true
	return &Held{Until: w.dry, Verdict: provider.Transient, Reason: "it permits only so many renewals at a time, and they are used up for now",
		Spread: time.Duration(float64(len(w.waiting)) / w.rate * float64(time.Second))}
}

// take takes one renewal of the ration, a user's own or the client's, for the
// connection, or returns *Held.
func (p *Paced) take(ctx context.Context, w *watch, b bucket, id string, user bool) error {
	select {
	case w.taking <- struct{}{}:
		defer func() { <-w.taking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	now := p.Now().UTC()
	if told, err := w.spend(b, id, now); told {
		return err
	}
	taken, full, dry := 0, false, time.Time{}
	err := p.update(ctx, w, func(g *Gate) error {
		taken, dry = 0, time.Time{}
		if user {
			dry = g.Until // they are asked to wait
		}
		b.fill(g, now)
		const whole = 1 - 1e-6 // of a token
		if g.Tokens < whole {  // until some are worth a write
			dry = later(dry, now.Add(time.Duration((max(1, float64(b.batch/2))-g.Tokens)/b.rate*float64(time.Second))+1))
		}
		if now.Before(dry) {
			return errLeave
		}
		full = g.Tokens == b.size
		taken = max(1, min(int(g.Tokens), b.batch))
		g.Tokens = max(0, g.Tokens-float64(taken))
		return nil
	})
	w.mu.Lock()
	if err != nil {
		w.unasked = now.Add(copyFor)
	}
	if full {
		clear(w.waiting) // and whoever still is in it does not come back
	}
	w.left, w.lapses, w.dry = taken, now.Add(lapse), dry
	w.mu.Unlock()
	_, err = w.spend(b, id, now)
	return err
}

// spend spends what the process has. told: it, or its lack, is known.
func (w *watch) spend(b bucket, id string, now time.Time) (told bool, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rate = b.rate
	switch {
	case now.Before(w.unasked):
		return true, nil
	case w.left > 0 && now.Before(w.lapses):
		w.left--
		delete(w.waiting, id)
		return true, nil
	case now.Before(w.dry):
		return true, w.rationed(id)
	}
	return false, nil
}
