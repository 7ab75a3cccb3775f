package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

const (
	// maxWatched bounds the resources that one subscription names.
	maxWatched = 100
	// subscribeTimeout is for the server's answers to all that one change of its
	// subscriptions asks: others wait to change them.
	subscribeTimeout = 5 * time.Second
)

// filter is which changes a modern client wants to hear of (MCP 2026-07-28,
// subscriptions).
type filter struct {
	Tools     bool     `json:"toolsListChanged,omitempty"`
	Prompts   bool     `json:"promptsListChanged,omitempty"`
	Resources bool     `json:"resourcesListChanged,omitempty"`
	URIs      []string `json:"resourceSubscriptions,omitempty"`
}

func (f filter) empty() bool { return !f.Tools && !f.Prompts && !f.Resources && len(f.URIs) == 0 }

// wants reports whether a notification is one of those.
func (f filter) wants(method, uri string) bool {
	switch method {
	case "notifications/tools/list_changed":
		return f.Tools
	case "notifications/prompts/list_changed":
		return f.Prompts
	case "notifications/resources/list_changed":
		return f.Resources
	case "notifications/resources/updated":
		return slices.Contains(f.URIs, uri)
	}
	return false
}

// offers is what of a filter the server can tell.
func (p *process) offers(f filter) filter {
	type changes struct{ ListChanged, Subscribe bool }
	var said struct {
		Capabilities struct{ Tools, Prompts, Resources changes }
	}
	if json.Unmarshal(p.result, &said) != nil {
		return filter{}
	}
	c := said.Capabilities
	out := filter{Tools: f.Tools && c.Tools.ListChanged, Prompts: f.Prompts && c.Prompts.ListChanged, Resources: f.Resources && c.Resources.ListChanged}
	if c.Resources.Subscribe {
		out.URIs = f.URIs
	}
	return out
}

// subscription is one subscriptions/listen under way.
type subscription struct {
	id   []byte // the client's own, raw
	want filter
	box  *mailbox
}

// subscriptions are those of the modern clients of one backend. The server has
// one for all of them, so that it need not be one that tells several apart, and
// none of them notices when another process takes over.
type subscriptions struct {
	k *backend
	// settling lets one at a time change what the server is subscribed to.
	settling chan struct{}

	mu  sync.Mutex
	all map[*subscription]bool

	// What follows is that of whoever is settling: what at is subscribed to, and
	// by which request of the modern era.
	at   *process
	has  map[string]bool
	open *call
}

func newSubscriptions(k *backend) *subscriptions {
	return &subscriptions{k: k, settling: make(chan struct{}, 1), all: map[*subscription]bool{}}
}

func (s *subscriptions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// add reports whether there was room.
func (s *subscriptions) add(sub *subscription, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= limit {
		return false
	}
	s.all[sub] = true
	return true
}

func (s *subscriptions) drop(sub *subscription) {
	s.mu.Lock()
	delete(s.all, sub)
	s.mu.Unlock()
}

// watched are the resources that anybody wants to hear of.
func (s *subscriptions) watched() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	uris := map[string]bool{}
	for sub := range s.all {
		for _, uri := range sub.want.URIs {
			uris[uri] = true
		}
	}
	return uris
}

// moved is called when another process has taken over.
func (s *subscriptions) moved() {
	if s.k.modern || s.count() > 0 {
		s.k.b.tasks.Go(func() { s.settle(s.k.b.life) })
	}
}

// settle subscribes the running server to what is wanted.
func (s *subscriptions) settle(ctx context.Context) {
	select {
	case s.settling <- struct{}{}:
		defer func() { <-s.settling }()
	case <-ctx.Done():
		return
	}
	s.k.mu.Lock()
	p := s.k.cur
	s.k.mu.Unlock()
	if p == nil {
		return // the next one is subscribed when it starts
	}
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	fresh := s.at != p
	if fresh {
		s.at, s.has, s.open = p, map[string]bool{}, nil
	}
	uris := s.watched()
	switch {
	case s.k.modern && (fresh || !maps.Equal(uris, s.has)):
		s.reopen(ctx, uris)
	case !s.k.modern:
		s.resubscribe(ctx, uris)
	}
}

// resubscribe tells a legacy server resource by resource.
func (s *subscriptions) resubscribe(ctx context.Context, uris map[string]bool) {
	ask := func(method, uri string) bool {
		quoted, _ := json.Marshal(uri)
		m, err := s.at.request(ctx, method, fmt.Appendf(nil, `{"uri":%s}`, quoted))
		return err == nil && m.Result.Present()
	}
	for uri := range uris {
		if !s.has[uri] && ask("resources/subscribe", uri) {
			s.has[uri] = true
		}
	}
	for uri := range s.has {
		// A session of the legacy era may have subscribed to it as well.
		if !uris[uri] && (s.k.owner != nil || !s.k.b.hasSessions()) {
			ask("resources/unsubscribe", uri)
			delete(s.has, uri)
		}
	}
}

// reopen puts one subscriptions/listen in the place of another.
func (s *subscriptions) reopen(ctx context.Context, uris map[string]bool) {
	if s.open != nil {
		s.at.cancel(s.open, time.Second)
		s.open = nil
	}
	want := s.at.offers(filter{Tools: true, Prompts: true, Resources: true, URIs: slices.Sorted(maps.Keys(uris))})
	s.has = uris
	if want.empty() {
		return
	}
	c := &call{done: make(chan answer, 1), endless: true, heard: make(chan struct{}, 1)}
	if s.at.add(c) != nil {
		return
	}
	notifications, _ := json.Marshal(want)
	msg := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"subscriptions/listen","params":%s}`, c.number, modernRequest(`,"notifications":`+string(notifications)))
	if s.at.send(ctx, mcp.Frame{Raw: msg}) != nil {
		s.at.remove(c.number)
		return
	}
	select {
	case <-c.heard:
		s.open = c
	case <-c.done:
	case <-ctx.Done():
		s.at.abandon(c)
	}
}

// deliver gives a change to those who want to hear of it. It runs on the
// goroutine that reads the server's output.
func (s *subscriptions) deliver(p *process, m mcp.Message) {
	if m.Method == "notifications/subscriptions/acknowledged" {
		if c := p.subscribed(m); c != nil && c.heard != nil {
			select {
			case c.heard <- struct{}{}:
			default:
			}
		}
		return
	}
	var uri string
	if at, err := mcp.Lookup(m.Raw, m.Params, "uri"); err == nil && at.Present() {
		_ = json.Unmarshal(m.Bytes(at), &uri)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.all {
		if sub.want.wants(m.Method, uri) {
			sub.box.put(sub.notification(m.Method, uri))
		}
	}
}

// subscribed is the call whose id a notification of a subscription carries.
func (p *process) subscribed(m mcp.Message) *call {
	at, err := mcp.Lookup(m.Raw, m.Params, "_meta", mcp.MetaSubscription)
	if err != nil || !at.Present() {
		return nil
	}
	n, ok := mcp.Number(bytes.Trim(m.Bytes(at), `"`))
	if !ok {
		return nil
	}
	return p.waiting(n)
}

// notification is one of a subscription, for a resource if it names one.
func (sub *subscription) notification(method, uri string) []byte {
	if uri == "" {
		return fmt.Appendf(nil, `{"jsonrpc":"2.0","method":%q,"params":{"_meta":{%q:%s}}}`, method, mcp.MetaSubscription, sub.id)
	}
	quoted, _ := json.Marshal(uri)
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","method":%q,"params":{"_meta":{%q:%s},"uri":%s}}`, method, mcp.MetaSubscription, sub.id, quoted)
}

func (b *Bridge) hasSessions() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.sessions) > 0
}
