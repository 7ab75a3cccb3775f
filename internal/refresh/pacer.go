package refresh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/presets"
)

// The times of a gate.
const (
	// copyFor is how long a process goes by what it last read of a gate.
	copyFor = 5 * time.Second
	// patience is how long somebody waits for our own bookkeeping.
	patience = 2 * time.Second
	// probeTime is how long one asks for all: longer than an exchange takes.
	probeTime = 30 * time.Second
	// onTheWay is how long a process lets nobody follow whom it let through to
	// ask first.
	onTheWay = 5 * time.Second
	// What a Retry-After may ask for.
	minAsked, maxAsked = time.Second, time.Hour
	// minSpread is over how long those who wait come back at least.
	minSpread = 15 * time.Second
	// maxWatched is how many gates a process remembers at least.
	maxWatched = 10_000
)

// breaker says how many failures in a row close a gate, and for how long: at
// first, and by how much longer each time that whoever asks then fails, too.
type breaker struct {
	after       int
	first, most time.Duration
	growth      float64
	reason      string
}

var breakers = map[provider.Verdict]breaker{
	// An outage is noticed to be over after a quarter of the time that it took:
	// by then, most tokens that it kept from being renewed still live.
	provider.ProviderDown: {5, 30 * time.Second, 10 * time.Minute, 1.25,
		"it failed several times in a row; one renewal finds out when it works again"},
	provider.ClientMisconfigured: {3, time.Minute, time.Hour, 2,
		"it refuses Lanyard's client; check the client id and secret against the provider's console"},
	// With status 429 or a Retry-After; other ones are about one grant alone.
	provider.Transient: {1, 30 * time.Second, 10 * time.Minute, 2,
		"it wants to be asked less often"},
}

// span is for how long the n-th failure in a row closes, from 1.
func (b breaker) span(n int) time.Duration {
	span := b.first
	for range n - 1 {
		if span = time.Duration(float64(span) * b.growth); span >= b.most {
			return b.most
		}
	}
	return span
}

// Paced is the [Pacer] of a deployment: what one process learns of a provider,
// all of them know within seconds. Each keeps a copy of the gates that it
// passes. It writes when a gate closes, when one begins to ask for all, and when
// it opens; of a rationed provider, when it takes a batch of the ration.
//
// It is bookkeeping, and closes nothing by its own faults: while the gates
// cannot be read or written, everybody passes.
type Paced struct {
	Gates  Gates
	Now    func() time.Time
	Logger *slog.Logger

	mu            sync.Mutex
	recent, older map[string]*watch // by the gate's name
	reads         singleflight.Group
}

var _ Pacer = (*Paced)(nil)

// watch is what a process knows of one gate.
type watch struct {
	name string

	mu     sync.Mutex
	gate   Gate
	readAt time.Time
	writes int // that were seen since: a read that began before them is void
	// failed counts the failures in a row that this process saw.
	failed map[provider.Verdict]int
	// probe is the gate's Until that this process wrote to ask for all.
	probe time.Time
	// first is the connection that was let through to do so, until firstBy.
	first   string
	firstBy time.Time
	// perUser: the provider rations each user by itself.
	perUser bool
	supply
}

// gateName names the gate of the client that the connection's grant was made
// with, at the place that its parameters lead to: where each shop or instance
// has a host of its own, one that fails is not the others' fault. Whatever the
// client's id and the parameters hold, the name is a provider's id and 33 safe
// characters. of names a part of it, such as one account.
func gateName(c connection.Connection, of ...string) string {
	parameters := c.Parameters
	if len(parameters) == 0 {
		parameters = nil
	}
	key := []any{c.ClientID, parameters, of}
	if len(c.ClientAt) > 0 {
		key = append(key, c.ClientAt)
	}
	text, err := json.Marshal(key)
	if err != nil {
		panic(err) // they are strings
	}
	sum := sha256.Sum256(text)
	return c.Provider + "." + hex.EncodeToString(sum[:16])
}

// watch returns what is known of the gate. What was not passed for long is
// forgotten.
func (p *Paced) watch(name string) *watch {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.recent[name]
	if w != nil {
		return w
	}
	if w = p.older[name]; w == nil {
		w = &watch{name: name, failed: map[provider.Verdict]int{}, supply: newSupply()}
	}
	if p.recent == nil || len(p.recent) >= maxWatched {
		p.recent, p.older = map[string]*watch{}, p.recent
	}
	p.recent[name] = w
	return w
}

// Closed implements [Pacer].
func (p *Paced) Closed(ctx context.Context, c connection.Connection) *Held {
	w := p.watch(gateName(c))
	p.look(ctx, w)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch now := p.Now(); {
	case now.Before(w.gate.Until):
		return w.held(now)
	case w.gate.Failures > 0 && w.first != c.ID && now.Before(w.firstBy):
		return &Held{Until: w.firstBy, Verdict: w.gate.Verdict, Reason: w.gate.Reason, Spread: probeTime}
	case w.gate.Failures > 0:
		w.first, w.firstBy = c.ID, now.Add(onTheWay)
	case now.Before(w.dry):
		return w.rationed(c.ID)
	}
	return nil
}

// Admit implements [Pacer].
func (p *Paced) Admit(ctx context.Context, c connection.Connection, ration *presets.RateLimit) error {
	w := p.watch(gateName(c))
	now := p.Now().UTC()
	w.mu.Lock()
	w.perUser = ration != nil && ration.Per == presets.PerUser
	closed, tried := now.Before(w.gate.Until), w.gate.Failures > 0
	held := w.held(now)
	w.mu.Unlock()
	if closed {
		return held // since it was asked whether it is
	}
	if ration != nil {
		of, user := w, ration.Per == presets.PerUser
		if user {
			of = p.watch(userName(c))
		}
		if err := p.take(ctx, of, bucketOf(*ration), c.ID, user); err != nil {
			return err
		}
	}
	if tried {
		return p.try(ctx, w, now)
	}
	return nil
}

// try lets one through a gate that was closed for failures: everybody else
// waits for what becomes of that one, or for the end of its time.
func (p *Paced) try(ctx context.Context, w *watch, now time.Time) error {
	probe, first := now.Add(probeTime), false
	err := p.update(ctx, w, func(g *Gate) error {
		if first = g.Failures > 0 && !now.Before(g.Until); !first {
			return errLeave
		}
		g.Until = probe
		return nil
	})
	if err != nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case first:
		w.probe = probe
	case now.Before(w.gate.Until):
		return w.held(now)
	}
	return nil
}

// held says until when the gate is closed. Of those who come back then, more
// were made to wait the longer it was closed.
func (w *watch) held(now time.Time) *Held {
	return &Held{Until: w.gate.Until, Verdict: w.gate.Verdict, Reason: w.gate.Reason, Spread: max(w.gate.Until.Sub(now)/4, minSpread)}
}

// Report implements [Pacer].
func (p *Paced) Report(ctx context.Context, c connection.Connection, e *provider.Error) {
	w := p.watch(gateName(c))
	if e == nil || e.Verdict == provider.OK || e.Verdict == provider.Reconnect || e.Verdict == provider.ScopeLost {
		p.answered(ctx, w) // about one grant, or well
		return
	}
	limited := e.Verdict == provider.Transient && (e.Status == http.StatusTooManyRequests || e.RetryAfter > 0)
	if e.Verdict == provider.Transient && !limited {
		return
	}
	s := setback{breaker: breakers[e.Verdict], verdict: e.Verdict, now: p.Now().UTC(), limited: limited}
	if e.RetryAfter > 0 {
		s.asked = min(max(e.RetryAfter, minAsked), maxAsked)
	}
	w.mu.Lock()
	w.failed[e.Verdict]++
	s.trips, s.probe = w.failed[e.Verdict] >= s.after, w.probe
	perUser := w.perUser
	w.mu.Unlock()
	if limited && perUser {
		// It is this user who is to wait, and nobody asks for them all.
		w = p.watch(userName(c))
		s.asked = max(s.asked, s.first)
	}
	w.mu.Lock()
	gate := w.gate
	w.mu.Unlock()
	if s.close(&gate) != nil {
		return // as far as is known here, which saves the reading
	}
	if p.update(ctx, w, s.close) == nil {
		w.mu.Lock()
		gate = w.gate
		w.mu.Unlock()
		p.Logger.WarnContext(ctx, "a provider is not asked for now", "provider", c.Provider, "gate", w.name,
			"verdict", gate.Verdict, "failures", gate.Failures, "until", gate.Until)
	}
}

// setback is a failure that is about more than one grant.
type setback struct {
	breaker
	verdict provider.Verdict
	now     time.Time
	// limited: the provider works, and wants to be asked less often. asked is
	// for how long; 0: it did not say.
	limited bool
	asked   time.Duration
	// trips: there were enough in a row. probe is the gate's Until if it was
	// this process that asked for all.
	trips bool
	probe time.Time
}

// close closes the gate, or closes it for longer.
func (s setback) close(g *Gate) error {
	closed := s.now.Before(g.Until)
	probing := closed && g.Until.Equal(s.probe)
	until := g.Until
	if probing {
		until = time.Time{}
	}
	if s.asked > 0 {
		// Up to a whole second, so that those who were asked at once write once.
		until = later(until, s.now.Add(s.asked+time.Second-1).Truncate(time.Second))
	}
	switch {
	case s.limited && s.asked > 0:
		g.Failures = 0 // it opens when it was said that it would
	case probing, s.trips && !closed:
		g.Failures++
		until = later(until, s.now.Add(s.span(g.Failures)))
	}
	if until.Equal(g.Until) {
		return errLeave
	}
	g.Until, g.Verdict, g.Reason = until, s.verdict, s.reason
	return nil
}

// answered notes that the provider works, and opens the gate if it was closed
// because it did not.
func (p *Paced) answered(ctx context.Context, w *watch) {
	w.mu.Lock()
	clear(w.failed)
	tried := w.gate.Failures > 0
	w.mu.Unlock()
	if !tried {
		return
	}
	_ = p.update(ctx, w, func(g *Gate) error {
		if g.Failures == 0 {
			return errLeave
		}
		g.Until, g.Failures, g.Verdict, g.Reason = time.Time{}, 0, "", ""
		return nil
	})
}

// look reads the gate if what is known of it is old, or from before it was due
// to be tried: somebody may be trying.
func (p *Paced) look(ctx context.Context, w *watch) {
	now := p.Now()
	w.mu.Lock()
	untried := w.gate.Failures > 0 && !now.Before(w.gate.Until) && w.readAt.Before(w.gate.Until)
	age, writes := now.Sub(w.readAt), w.writes
	w.mu.Unlock()
	if age >= 0 && age < copyFor && !untried {
		return
	}
	_, _, _ = p.reads.Do(w.name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		g, err := p.Gates.Gate(ctx, w.name)
		if err != nil {
			p.Logger.WarnContext(ctx, "a provider's gate cannot be read: it counts as open", "gate", w.name, "err", err)
			g = Gate{}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.writes == writes {
			w.learn(g, p.Now())
		}
		return nil, nil
	})
}

func (w *watch) learn(g Gate, now time.Time) {
	if w.gate.Failures > 0 && g.Failures == 0 {
		clear(w.failed) // it was opened, maybe by another process
	}
	w.gate, w.readAt = g, now
}

// errLeave leaves a gate as it is.
var errLeave = errors.New("the gate stays as it is")

// update changes the gate unless change returns errLeave, and learns what it is
// then. An error means that it could not.
func (p *Paced) update(ctx context.Context, w *watch, change func(*Gate) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	var seen Gate
	g, err := p.Gates.UpdateGate(ctx, w.name, func(g *Gate) error {
		seen = *g
		return change(g)
	})
	if errors.Is(err, errLeave) {
		g, err = seen, nil
	}
	if err != nil {
		p.Logger.WarnContext(ctx, "a provider's gate cannot be written: it counts as open", "gate", w.name, "err", err)
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	w.learn(g, p.Now())
	return nil
}
