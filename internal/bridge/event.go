package bridge

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// maxAsked bounds the requests of a server that its client has not answered.
const maxAsked = 256

// event takes a request or a notification that the server sent by itself. It
// runs on the goroutine that reads the server's output and never blocks.
func (k *backend) event(p *process, m mcp.Message) {
	switch m.Method {
	case "notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed":
		k.b.lists.ask(p, listSettle)
		k.subs.deliver(p, m)
	case "notifications/resources/updated", "notifications/subscriptions/acknowledged":
		k.subs.deliver(p, m)
	case "notifications/message":
		if k.owner == nil || k.owner.offers != nil {
			p.log(m)
		}
	case "notifications/cancelled":
		p.withdrawn(m)
	}
	switch {
	case m.Request():
		k.asks(p, m)
	case m.Method == "notifications/progress":
		k.progress(p, m)
	case k.modern, k.owner != nil && k.owner.offers != nil:
		// A modern client hears of the rest by subscription, and of its calls.
	case k.owner != nil:
		k.deliver(p, m.Raw)
	case m.Method == "notifications/cancelled":
		// A shared server has no request of its own to cancel.
	default:
		k.b.eachSession(func(s *session) { s.box.put(m.Raw) })
	}
}

// asks relays a request to the one client that there is, or refuses it.
func (k *backend) asks(p *process, m mcp.Message) {
	id := m.Bytes(m.ID)
	if k.owner != nil && k.owner.offers != nil {
		k.question(p, m)
		return
	}
	if k.owner == nil {
		if m.Method == "ping" {
			p.tell(fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":{}}`, id))
			return
		}
		p.tell(mcp.Failure(id, mcp.CodeNoMethod, "this server is shared by several clients, which cannot be asked back"))
		return
	}
	if !p.ask(string(id)) || !k.deliver(p, m.Raw) {
		p.answered(string(id))
		p.tell(mcp.Failure(id, mcp.CodeServer, "the client does not listen"))
	}
}

// deliver puts a message where the client will see it first: on the stream that
// it listens to, else before the answer of its newest call, else in the mailbox
// until it listens.
func (k *backend) deliver(p *process, raw []byte) bool {
	if !k.owner.listening() {
		if c := p.find(func(c *call) bool { return c.side != nil }); c != nil {
			return c.side.put(raw)
		}
	}
	return k.owner.box.put(raw)
}

// progress goes to the call whose token it names; progress that nobody asked
// for is dropped.
func (k *backend) progress(p *process, m mcp.Message) {
	at, err := mcp.Lookup(m.Raw, m.Params, "progressToken")
	if err != nil || !at.Present() {
		return
	}
	number, err := strconv.ParseUint(string(m.Bytes(at)), 10, 64)
	if err != nil {
		return
	}
	c := p.waiting(number)
	if c == nil || c.side == nil || c.token == nil {
		return
	}
	var out bytes.Buffer
	f := mcp.Frame{Raw: m.Raw}
	f.Replace(at, c.token)
	out.Grow(f.Size())
	_ = f.Emit(&out)
	c.side.put(out.Bytes())
}

// ask notes a request of the server's and reports whether there is room.
func (p *process) ask(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) >= maxAsked {
		return false
	}
	p.asked[id] = true
	return true
}

// answered reports whether the server waited for an answer with this id, and
// forgets it.
func (p *process) answered(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.asked[id]
	delete(p.asked, id)
	return known
}
