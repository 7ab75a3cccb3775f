package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// How quickly a server that keeps ending is started again.
const (
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// patience is how many quick deaths in a row a call waits out; after them
	// it is told at once what the server last said.
	patience = 3
	// steady is how long a server must have run for its end not to count as a
	// quick death.
	steady = time.Minute
)

// backend is the server as its sessions see it: the process that answers now,
// and what it takes to start the next one.
type backend struct {
	b *Bridge
	// owner is the one session of a server that is not shared; nil if it is.
	owner *session
	// modern: it is spoken to without initialize.
	modern bool
	// everyone stands in for the sessions that modern clients do not have; nil
	// with an owner.
	everyone *session
	subs     *subscriptions

	mu sync.Mutex
	// params are those of initialize, raw.
	params []byte
	cur    *process
	// old are processes that finish what they have begun.
	old      map[*process]bool
	starting *attempt
	closed   bool
	deaths   int
	after    time.Time
	lastErr  error
}

// attempt is one start of a process that calls may wait for.
type attempt struct {
	done chan struct{}
	err  error
	// hold keeps calls from the process that runs meanwhile.
	hold bool
}

func newBackend(b *Bridge, owner *session, params []byte) *backend {
	k := &backend{b: b, owner: owner, params: params, old: map[*process]bool{}}
	k.subs = newSubscriptions(k)
	if owner == nil {
		k.everyone = &session{backend: k, box: newMailbox(), gone: make(chan struct{})}
	}
	return k
}

// acquire returns the process that takes calls now, and starts one if there is
// none.
func (k *backend) acquire(ctx context.Context) (*process, error) {
	for {
		k.mu.Lock()
		a := k.starting
		if k.closed {
			k.mu.Unlock()
			return nil, errClosed
		}
		if !k.modern && k.b.eras.get() == eraModern {
			k.mu.Unlock()
			return nil, errModernOnly
		}
		if k.cur != nil && (a == nil || !a.hold) {
			p := k.cur
			k.mu.Unlock()
			return p, nil
		}
		if a == nil {
			wait := time.Until(k.after)
			if wait > 0 && k.deaths > patience {
				err := k.lastErr
				k.mu.Unlock()
				return nil, fmt.Errorf("the MCP server keeps failing, the next start is in %s: %w", wait.Round(100*time.Millisecond), err)
			}
			a = k.begin(false)
			k.b.tasks.Go(func() { k.start(a, wait) })
		}
		k.mu.Unlock()
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if a.err != nil && !a.hold {
			return nil, a.err
		}
	}
}

// begin opens an attempt. k.mu is held.
func (k *backend) begin(hold bool) *attempt {
	k.starting = &attempt{done: make(chan struct{}), hold: hold}
	return k.starting
}

// start fills an attempt after wait.
func (k *backend) start(a *attempt, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.b.life.Done():
	}
	p, err := k.boot(k.b.life)
	if errors.Is(err, errModernOnly) {
		_, _ = k.b.modern.acquire(k.b.life) // what it ends with it reports itself
	} else if k.b.cfg.Started != nil && k.b.life.Err() == nil {
		k.b.cfg.Started(err)
	}
	if unwanted := k.finish(a, p, err); unwanted != nil {
		unwanted.retire(0)
	}
}

// finish ends an attempt: p, if there is one, takes the calls from now on. It
// returns the process that is not wanted any more: the one that p replaced, or
// p itself when the backend was closed meanwhile.
func (k *backend) finish(a *attempt, p *process, err error) *process {
	k.mu.Lock()
	if err == nil && p.over {
		err = p.lost
	}
	old := k.cur
	switch {
	case err != nil:
		old = nil
		k.died(time.Now(), err)
	case k.closed:
		old = p
	default:
		k.cur = p
		if old != nil {
			k.old[old] = true
		}
	}
	started := p != nil && k.cur == p
	k.starting, a.err = nil, err
	k.mu.Unlock()
	close(a.done)
	if started {
		if k.owner == nil || !closed(k.b.lists.known) {
			k.b.lists.ask(p, 0)
		}
		k.subs.moved()
	}
	return old
}

// died counts a quick death. k.mu is held.
func (k *backend) died(started time.Time, err error) {
	if time.Since(started) >= steady {
		k.deaths = 0
	}
	backoff := min(firstBackoff<<min(k.deaths, 10), maxBackoff)
	k.deaths++
	k.after, k.lastErr = time.Now().Add(backoff), err
}

// boot starts a server and initializes it.
func (k *backend) boot(ctx context.Context) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, k.b.cfg.StartTimeout)
	defer cancel()
	defer context.AfterFunc(k.b.life, cancel)()
	if k.b.life.Err() != nil {
		return nil, errClosed
	}
	child, err := k.b.starter()(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the MCP server: %w", err)
	}
	p := newProcess(child, k)
	k.b.tasks.Go(p.read)
	if err := k.initialize(ctx, p); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("the MCP server did not answer initialize within %s; the last that it printed: %s", k.b.cfg.StartTimeout, child.Tail())
		}
		_ = child.Stop()
		return nil, err
	}
	return p, nil
}

// initialize speaks the first words of MCP, for whichever client comes first.
func (k *backend) initialize(ctx context.Context, p *process) (err error) {
	if k.modern {
		p.result, err = p.discover(ctx)
		return err
	}
	k.mu.Lock()
	params := k.params
	k.mu.Unlock()
	m, err := p.request(ctx, "initialize", params)
	if err != nil {
		return err
	}
	if p.result, err = resultOf(m); err != nil {
		return k.orModern(ctx, p, err)
	}
	p.server = serverInfo(p.result)
	return p.send(ctx, mcp.Frame{Raw: []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)})
}

// ended clears away a process whose server is gone.
func (k *backend) ended(p *process) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p.over = true
	delete(k.old, p)
	if k.cur != p {
		return
	}
	k.cur = nil
	k.died(p.started, p.lost)
	if !k.closed {
		k.b.cfg.Logger.Warn("the mcp server ended", "how", p.lost.how)
	}
}

// swap starts a second process, sends new calls to it and ends the first when
// its calls are answered. Without a running process there is nothing to do.
func (k *backend) swap(ctx context.Context, hold bool) error {
	k.mu.Lock()
	for k.starting != nil {
		// It may have been started with what is now outdated.
		a := k.starting
		k.mu.Unlock()
		select {
		case <-a.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		k.mu.Lock()
	}
	if k.cur == nil || k.closed {
		k.mu.Unlock()
		return nil
	}
	a := k.begin(hold)
	k.mu.Unlock()
	p, err := k.boot(ctx)
	old := k.finish(a, p, err)
	if old != nil {
		k.b.tasks.Go(func() { old.retire(k.b.cfg.Drain) })
	}
	return err
}

// close ends every process of the backend and waits for them.
func (k *backend) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range k.processes() {
		wg.Go(func() { p.retire(0) })
	}
	wg.Wait()
}

// processes are the one that takes calls and those that finish theirs.
func (k *backend) processes() []*process {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []*process
	if k.cur != nil {
		all = append(all, k.cur)
	}
	for p := range k.old {
		all = append(all, p)
	}
	return all
}
