package bridge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// process is one running server: who waits for which of its answers, what waits to
// be written to it, and the reader of its standard output.
type process struct {
	child   Child
	modern  bool
	started time.Time
	// event takes what the server sends of its own accord; ended is told that
	// the server is gone before anybody else.
	event func(p *process, m mcp.Message)
	ended func(p *process)
	in    inbox
	out   outbox
	// gone is closed when the server is no more; then lost says why.
	gone chan struct{}
	lost *lostError
	// result is what the server answered to initialize, or to server/discover,
	// raw; server is its serverInfo, nil if there is none.
	result, server []byte

	mu      sync.Mutex
	nextID  uint64
	pending map[uint64]*call
	// quiet: nobody waited any more when the last answer came.
	quiet bool
	// asked are the server's own requests that a client has yet to answer.
	asked map[string]bool
	// idle is closed when the process is retired and owes no answer.
	idle    chan struct{}
	retired bool
	// endless counts the pending calls that only end with the process.
	endless int
	// over is set once ended was told; the backend guards it.
	over bool
}

// errRetired says that a process takes no more calls: another one will.
var errRetired = errors.New("the process takes no more calls")

// lostError says that the server ended, and what it last said.
type lostError struct {
	how  string
	tail string
}

func (e *lostError) Error() string {
	s := "the MCP server ended (" + e.how + ")"
	if e.tail != "" {
		s += "; the last that it printed: " + e.tail
	}
	return s
}

func newProcess(child Child, k *backend) *process {
	p := &process{
		child: child, modern: k.modern, started: time.Now(), event: k.event, ended: k.ended,
		gone: make(chan struct{}), pending: map[uint64]*call{}, asked: map[string]bool{}, idle: make(chan struct{}),
	}
	p.in = inbox{child: child, max: k.b.cfg.MaxMessage, handle: p.handle}
	p.out = outbox{child: child, gone: p.gone}
	return p
}

// add registers a call and gives it the id that the server will see.
func (p *process) add(c *call) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired {
		return errRetired
	}
	p.nextID++
	c.number, c.process = p.nextID, p
	p.pending[c.number] = c
	if c.endless {
		p.endless++
	}
	return nil
}

// remove forgets a call; it returns nil if nobody was waiting any more.
func (p *process) remove(id uint64) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.pending[id]
	if c == nil {
		return nil
	}
	delete(p.pending, id)
	p.quiet = len(p.pending) == 0
	if c.endless {
		p.endless--
	}
	p.settle()
	return c
}

// settle closes idle when the last answer that a retired process owes is out.
// p.mu is held.
func (p *process) settle() {
	if p.retired && len(p.pending) == p.endless && !closed(p.idle) {
		close(p.idle)
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// waiting is the call with this number, nil if it has been answered.
func (p *process) waiting(number uint64) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pending[number]
}

// find returns the newest waiting call for which match holds.
func (p *process) find(match func(*call) bool) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	var newest *call
	for _, c := range p.pending {
		if match(c) && (newest == nil || c.number > newest.number) {
			newest = c
		}
	}
	return newest
}

// request asks the server something of the bridge's own.
func (p *process) request(ctx context.Context, method string, params []byte) (mcp.Message, error) {
	c := &call{done: make(chan answer, 1)}
	if err := p.add(c); err != nil {
		return mcp.Message{}, err
	}
	msg := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, c.number, method, params)
	if err := p.send(ctx, mcp.Frame{Raw: msg}); err != nil && !errors.Is(err, errRetired) {
		p.remove(c.number)
		return mcp.Message{}, err
	}
	select {
	case a := <-c.done: // also when the server is gone
		return a.msg, a.err
	case <-ctx.Done():
		p.abandon(c)
		return mcp.Message{}, ctx.Err()
	}
}

// send queues a frame for the server.
func (p *process) send(ctx context.Context, f mcp.Frame) error {
	return p.out.put(ctx, &f, !p.alone())
}

// alone reports whether a call is likely to be the only one under way: it is now, and
// so was the last one that was answered.
func (p *process) alone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.quiet && len(p.pending) <= 1
}

// tell queues a notification or an answer of the bridge's own. It never
// blocks the reader: a server that reads none of its input loses it.
func (p *process) tell(msg []byte) {
	_, _ = p.out.offer(&mcp.Frame{Raw: msg}, false)
}

// abandon gives up a call that nobody waits for any more, and tells the server.
func (p *process) abandon(c *call) {
	if p.remove(c.number) != nil {
		p.tellCancelled(c)
	}
}

func (p *process) tellCancelled(c *call) {
	msg := []byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`)
	msg = strconv.AppendUint(msg, c.number, 10)
	p.tell(append(msg, `,"reason":"the client is gone"}}`...))
}

// cancel ends a call of the bridge's own, and gives the server a moment to clear
// away after it.
func (p *process) cancel(c *call, moment time.Duration) {
	p.tellCancelled(c)
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
	}
	p.remove(c.number)
}

// retire lets the calls in flight finish, for at most drain, and ends the
// server.
func (p *process) retire(drain time.Duration) {
	p.mu.Lock()
	p.retired = true
	p.settle()
	p.mu.Unlock()
	timer := time.NewTimer(drain)
	defer timer.Stop()
	select {
	case <-p.idle:
	case <-p.gone:
	case <-timer.C:
	}
	_ = p.child.Stop()
	<-p.gone
}

// read hands on what the server writes. It returns when the server has ended and
// everybody who waited for it knows.
func (p *process) read() {
	err := p.in.read()
	p.child.CloseOutput()
	p.fail(err)
}

func (p *process) handle(line []byte) {
	m, err := mcp.Parse(line)
	if err != nil {
		p.child.Noise(line)
		return
	}
	mcp.OneLine(m.Raw)
	if !m.Response() {
		p.event(p, m)
		return
	}
	id, ok := m.Number()
	if !ok {
		return
	}
	if c := p.remove(id); c != nil {
		c.done <- answer{msg: m, server: p.server}
		if c.over != nil {
			c.over(c)
		}
	}
}

// fail tells everybody who waits that the server is no more.
func (p *process) fail(cause error) {
	how := p.child.Stop()
	lost := &lostError{how: "exit status 0", tail: p.child.Tail()}
	switch {
	case errors.Is(cause, errTooLong):
		lost.how = cause.Error()
	case how != nil:
		lost.how = how.Error()
	}
	p.lost = lost
	p.ended(p)
	p.mu.Lock()
	p.retired = true
	calls := p.pending
	p.pending, p.endless = map[uint64]*call{}, 0
	p.settle()
	p.mu.Unlock()
	close(p.gone)
	for _, c := range calls {
		c.done <- answer{err: lost}
	}
}
