package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// A server that knows the modern era may take one process for one era only: once
// it has seen a modern request it refuses initialize, or treats the sessions that
// it has as modern. So each era has a process of its own, started when its first
// client comes.
//
//	                     legacy client      modern client
//	legacy server        initialized        the initialized one, translated
//	server of both       initialized        a modern one, byte for byte
//	modern server        is told so         a modern one, byte for byte
//
// Which it is is found out when the first modern client comes, or when the server
// refuses to initialize, and stays as it is while the bridge lives.

// probeTimeout is how long a server may take for its answer to server/discover
// before it is one that does not know it.
const probeTimeout = 5 * time.Second

// era is what is known of a server's eras.
type era int32

const (
	eraUnknown era = iota
	eraLegacy
	eraBoth
	eraModern
)

// eras is that, and who finds it out.
type eras struct {
	known  atomic.Int32
	asking chan struct{} // one at a time
}

func newEras() *eras { return &eras{asking: make(chan struct{}, 1)} }

func (e *eras) get() era  { return era(e.known.Load()) }
func (e *eras) set(v era) { e.known.Store(int32(v)) }

var (
	errModernOnly = errors.New("the MCP server speaks " + mcp.Modern + " alone, which needs no initialize")
	errLegacyOnly = errors.New("the MCP server does not speak " + mcp.Modern)
	errInUse      = errors.New("the MCP server has sessions")
)

// refusedError says that the server answered initialize with an error.
type refusedError struct{ reason string }

func (e *refusedError) Error() string {
	return "the MCP server refused to initialize: " + e.reason
}

// modernRequest are params of a request of the bridge's own, with what every
// modern request must say; more is further members, raw.
func modernRequest(more string) []byte {
	return fmt.Appendf(nil, `{"_meta":{%q:%q,%q:{},%q:{"name":"lanyard","version":"1"}}%s}`,
		mcp.MetaVersion, mcp.Modern, mcp.MetaCapabilities, mcp.MetaClient, more)
}

// speaksModern finds out whether the server knows the modern era.
func (b *Bridge) speaksModern(ctx context.Context) (bool, error) {
	if e := b.eras.get(); e != eraUnknown {
		return e != eraLegacy, nil
	}
	select {
	case b.eras.asking <- struct{}{}:
		defer func() { <-b.eras.asking }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if e := b.eras.get(); e != eraUnknown {
		return e != eraLegacy, nil
	}
	err := errInUse
	if b.shared != nil {
		err = b.shared.examine(ctx)
	}
	if errors.Is(err, errInUse) {
		k := newBackend(b, nil, defaultParams)
		defer func() { go k.close() }() // which may take the server a while
		err = k.examine(ctx)
	}
	switch {
	case b.eras.get() == eraModern:
		return true, nil
	case err == nil:
		b.eras.set(eraBoth)
		return true, nil
	case errors.Is(err, errLegacyOnly):
		b.eras.set(eraLegacy)
		return false, nil
	}
	return false, err
}

// examine asks the running server of the modern era: nil means that it knows it.
// It is one that is up, so that silence means something. A process that has been
// asked may count itself to the modern era from then on. So it is none that has
// sessions; those that come meanwhile are held; and if it knows that era, another
// one takes its place.
func (k *backend) examine(ctx context.Context) error {
	p, a, err := k.seize(ctx)
	if err != nil {
		return err
	}
	if k == k.b.shared && k.b.hasSessions() {
		k.release(a, nil)
		return errInUse
	}
	// Whoever made us ask may leave: what the server was asked it has been asked.
	if _, err := p.probe(k.b.life); err != nil {
		k.release(a, nil)
		return err
	}
	k.b.mu.Lock()
	defer k.b.mu.Unlock()
	if k.b.closed {
		k.release(a, nil)
		return errClosed
	}
	needed := len(k.b.sessions) > 0 && k == k.b.shared
	k.b.tasks.Go(func() {
		var next *process
		var err error
		if needed {
			next, err = k.boot(k.b.life)
		}
		k.part(p)
		if next == nil {
			k.release(a, err)
		} else if unwanted := k.finish(a, next, nil); unwanted != nil {
			unwanted.retire(0)
		}
		p.retire(k.b.cfg.Drain)
	})
	return nil
}

// part takes a process away from new calls.
func (k *backend) part(p *process) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cur == p {
		k.cur, k.old[p] = nil, true
	}
}

// seize returns the running process and has whoever wants it wait for the
// attempt.
func (k *backend) seize(ctx context.Context) (*process, *attempt, error) {
	for {
		p, err := k.acquire(ctx)
		if err != nil {
			return nil, nil, err
		}
		k.mu.Lock()
		a := k.starting
		if a == nil && k.cur == p {
			a = k.begin(true)
			k.mu.Unlock()
			return p, a, nil
		}
		k.mu.Unlock()
		if a == nil {
			continue // it has just ended
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// release ends an attempt by which no process was started, because of err if that
// is why.
func (k *backend) release(a *attempt, err error) {
	k.mu.Lock()
	if err != nil {
		k.died(time.Now(), err)
	}
	k.starting = nil
	k.mu.Unlock()
	close(a.done)
}

// probe is discover for a server that is up, and may be silent.
func (p *process) probe(ctx context.Context) ([]byte, error) {
	asking, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	result, err := p.discover(asking)
	if err != nil && ctx.Err() == nil && asking.Err() != nil {
		err = errLegacyOnly
	}
	return result, err
}

// discover asks the server of the modern era. Whatever is not a proper answer
// means that it does not know it.
func (p *process) discover(ctx context.Context) (result []byte, err error) {
	m, err := p.request(ctx, "server/discover", modernRequest(""))
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var said struct {
		Versions []string `json:"supportedVersions"`
	}
	if err != nil || !m.Result.Present() || json.Unmarshal(m.Bytes(m.Result), &said) != nil || !slices.Contains(said.Versions, mcp.Modern) {
		return nil, errors.Join(errLegacyOnly, err)
	}
	return m.Bytes(m.Result), nil
}

// orModern is how a start ended of a server that refused to initialize, once it
// was asked whether it speaks the modern era alone.
func (k *backend) orModern(ctx context.Context, p *process, refused error) error {
	if k.b.eras.get() != eraUnknown {
		return refused
	}
	if _, err := p.probe(ctx); err != nil {
		return refused
	}
	k.b.eras.set(eraModern)
	return errModernOnly
}
