package bridge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// Bounds of what is gathered of a server's lists; one that exceeds them, or that
// fails, is not known.
const (
	listPages = 50
	listBytes = 8 << 20
	// pageTimeout is for one page, listTimeout for all.
	pageTimeout = 10 * time.Second
	listTimeout = 25 * time.Second
	// listSettle is how long changes of lists may pile up before they are
	// gathered again.
	listSettle = 2 * time.Second
)

// lists is what the servers of a bridge say of themselves.
type lists struct {
	// wake has room for one signal: there is somebody to ask.
	wake chan struct{}
	// known is closed when the lists were gathered once, or could not be.
	known chan struct{}
	// tools are those of the newest list.
	tools atomic.Pointer[map[string]mcp.Tool]

	mu sync.Mutex
	// from is the server to ask next, at a time; nil: none.
	from *process
	at   time.Time

	// What follows is the gathering goroutine's.
	initialized, discovered json.RawMessage
	told                    [sha256.Size]byte
}

func newLists() *lists {
	return &lists{wake: make(chan struct{}, 1), known: make(chan struct{})}
}

// tool is what is known of the tool that a call names: nothing, if that cannot
// be told.
func (l *lists) tool(m mcp.Message) mcp.Tool {
	tools := l.tools.Load()
	if tools == nil {
		return mcp.Tool{}
	}
	at, err := mcp.Lookup(m.Raw, m.Params, "name")
	var name string
	if err != nil || !at.Present() || json.Unmarshal(m.Bytes(at), &name) != nil {
		return mcp.Tool{}
	}
	return (*tools)[name]
}

// ask has p's lists gathered after a pause, or sooner if that is under way.
func (l *lists) ask(p *process, pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := time.Now().Add(pause); l.from == nil || at.Before(l.at) {
		l.at = at
	}
	l.from = p
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lists) due() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.at)
}

func (l *lists) take() *process {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.from
	l.from = nil
	return p
}

// gather gathers whenever there is somebody to ask, and tells [Config.Listed]
// what has changed.
func (b *Bridge) gather() {
	l := b.lists
	for {
		select {
		case <-b.life.Done():
			return
		case <-l.wake:
		}
		timer := time.NewTimer(l.due())
		select {
		case <-b.life.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		p := l.take()
		if p == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(b.life, listTimeout)
		c := p.catalogue(ctx)
		cancel()
		if closed(p.gone) || b.life.Err() != nil {
			continue // what it left unanswered says nothing
		}
		tools := mcp.Tools(c.Tools)
		l.tools.Store(&tools)
		if !closed(l.known) {
			close(l.known)
		}
		l.tell(c, b.cfg.Listed)
	}
}

// tell tells of a catalogue that is another than the last.
func (l *lists) tell(c mcp.Catalogue, listed func(mcp.Catalogue)) {
	if len(c.Initialized) > 0 {
		l.initialized = c.Initialized
	}
	if len(c.Discovered) > 0 {
		l.discovered = c.Discovered
	}
	c.Initialized, c.Discovered = l.initialized, l.discovered
	if listed == nil || c.Initialized == nil && c.Discovered == nil {
		return // what introduces itself with what is no JSON has no catalogue
	}
	raw, err := json.Marshal(c)
	if err != nil || sha256.Sum256(raw) == l.told {
		return
	}
	l.told = sha256.Sum256(raw)
	listed(c)
}

// catalogue asks the server for the lists that its capabilities name.
func (p *process) catalogue(ctx context.Context) mcp.Catalogue {
	var said struct {
		Capabilities struct {
			Tools, Prompts, Resources *struct{}
		} `json:"capabilities"`
	}
	var c mcp.Catalogue
	if json.Unmarshal(p.result, &said) != nil {
		return c
	}
	if p.modern {
		c.Discovered = p.result
	} else {
		c.Initialized = p.result
	}
	has, left := said.Capabilities, &budget{listPages, listBytes}
	if has.Tools != nil {
		c.Tools = p.list(ctx, "tools/list", "tools", left)
	}
	if has.Prompts != nil {
		c.Prompts = p.list(ctx, "prompts/list", "prompts", left)
	}
	if has.Resources != nil {
		c.Resources = p.list(ctx, "resources/list", "resources", left)
		c.Templates = p.list(ctx, "resources/templates/list", "resourceTemplates", left)
	}
	return c
}

// budget is how much may still be gathered.
type budget struct{ pages, bytes int }

// list is one list, all of its pages; nil if it cannot be had.
func (p *process) list(ctx context.Context, method, name string, left *budget) json.RawMessage {
	all, params := []byte{'['}, p.params("")
	for {
		if left.pages--; left.pages < 0 || ctx.Err() != nil {
			return nil
		}
		items, next, err := p.page(ctx, method, name, params)
		if left.bytes -= len(items); err != nil || left.bytes < 0 {
			return nil
		}
		if len(all) > 1 && len(items) > 0 {
			all = append(all, ',')
		}
		all = append(all, items...)
		if next == nil {
			return append(all, ']')
		}
		params = p.params(`,"cursor":` + string(next))
	}
}

// params are those of a request of the bridge's own; more is further members, each
// after a comma.
func (p *process) params(more string) []byte {
	if p.modern {
		return modernRequest(more)
	}
	return fmt.Appendf(nil, `{%s}`, strings.TrimPrefix(more, ","))
}

// page is what stands between the brackets of one page, and the raw cursor of
// the next one.
func (p *process) page(ctx context.Context, method, name string, params []byte) (items, next []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	m, err := p.request(ctx, method, params)
	if err != nil {
		return nil, nil, err
	}
	if !m.Result.Present() || !json.Valid(m.Bytes(m.Result)) {
		return nil, nil, errors.New("the server gave no list")
	}
	at, err := mcp.Lookup(m.Raw, m.Result, name)
	if err != nil || !at.Present() || m.Raw[at.Start] != '[' {
		return nil, nil, errors.Join(err, errors.New("the server gave no list"))
	}
	cursor, err := mcp.Lookup(m.Raw, m.Result, "nextCursor")
	if err != nil {
		return nil, nil, err
	}
	if raw := m.Bytes(cursor); len(raw) > len(`""`) && raw[0] == '"' {
		next = raw
	}
	return bytes.TrimSpace(m.Raw[at.Start+1 : at.End-1]), next, nil
}
