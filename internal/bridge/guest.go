package bridge

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// offered is what a modern client declares that a legacy server can make use of.
// Each part is raw; nil: not declared.
type offered struct {
	Sampling    json.RawMessage `json:"sampling,omitempty"`
	Elicitation json.RawMessage `json:"elicitation,omitempty"`
	Roots       json.RawMessage `json:"roots,omitempty"`
}

// read reads them from a raw object of capabilities.
func (o *offered) read(capabilities []byte) error {
	if err := json.Unmarshal(capabilities, o); err != nil {
		return fmt.Errorf("read the client's capabilities: %w", err)
	}
	for _, c := range []*json.RawMessage{&o.Sampling, &o.Elicitation, &o.Roots} {
		if !object(*c) {
			*c = nil // null, most likely
		}
	}
	return nil
}

// grants reports whether the client takes a request of this kind. An elicitation
// capability that names no mode means the form (MCP 2026-07-28, elicitation).
func (o *offered) grants(method string, params []byte) bool {
	switch method {
	case "sampling/createMessage":
		return o.Sampling != nil
	case "roots/list":
		return o.Roots != nil
	case "elicitation/create":
		var modes struct{ Form, URL *struct{} }
		var asked struct{ Mode string }
		if o.Elicitation == nil || json.Unmarshal(o.Elicitation, &modes) != nil || json.Unmarshal(params, &asked) != nil {
			return false
		}
		if asked.Mode == "url" {
			return modes.URL != nil
		}
		return modes.Form != nil || modes.URL == nil
	}
	return false
}

// guest is the session of a modern client that has a legacy server of its own.
// Such a client is known by its name and by what it offers, which the server was
// initialized with; it goes when nobody has used it for a while, as sessions do.
func (b *Bridge) guest(r *http.Request, m mcp.Message, meta mcp.Span) (*session, error) {
	at, err := mcp.Lookup(m.Raw, meta, mcp.MetaCapabilities)
	if err != nil {
		return nil, err
	}
	var o offered
	if err := o.read(m.Bytes(at)); err != nil {
		return nil, err
	}
	capabilities, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	client := b.clientOf(r)
	key := client + "\x00" + string(capabilities)
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.guests[key]; s != nil {
		s.touch()
		return s, nil
	}
	if b.closed {
		return nil, errClosed
	}
	if len(b.sessions)+len(b.guests) >= b.cfg.MaxSessions {
		return nil, errFull
	}
	s := &session{id: key, client: client, offers: &o, box: newMailbox(), gone: make(chan struct{})}
	s.backend = newBackend(b, s, fmt.Appendf(nil, `{"protocolVersion":%q,"capabilities":%s,"clientInfo":{"name":"lanyard","version":"1"}}`, mcp.Legacy[0], capabilities))
	s.touch()
	b.guests[key] = s
	return s, nil
}
