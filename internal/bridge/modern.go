package bridge

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// knownWithin is how long a tools/call waits for the lists of a server that has
// just started, by which its headers are checked.
const knownWithin = 5 * time.Second

// levels are those of log messages, the least first.
var levels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

// levelOf is the place of a raw level, counted from 1; 0: it is none.
func levelOf(raw []byte) int {
	var name string
	if json.Unmarshal(raw, &name) != nil {
		return 0
	}
	return slices.Index(levels, name) + 1
}

func refuse(w http.ResponseWriter, id []byte, r *mcp.Refusal) {
	writeJSON(w, r.Status, r.Answer(id))
}

// modernPost answers a message of the modern era. Each request stands for
// itself; what a session, an event id or anything else says of the past is not
// looked at.
func (b *Bridge) modernPost(w http.ResponseWriter, r *http.Request, m mcp.Message, meta mcp.Span, version string) {
	id := m.Bytes(m.ID)
	if refusal := mcp.Check(r.Header, m, version); refusal != nil {
		refuse(w, id, refusal)
		return
	}
	if !m.Request() {
		if m.Response() {
			refuse(w, nil, &mcp.Refusal{Status: http.StatusBadRequest, Code: mcp.CodeInvalid, Text: "a client of " + mcp.Modern + " sends no responses"})
			return
		}
		w.WriteHeader(http.StatusAccepted) // the revision has none that concerns a server
		return
	}
	if mcp.Past(m.Method) {
		refuse(w, id, &mcp.Refusal{Status: http.StatusNotFound, Code: mcp.CodeNoMethod, Text: m.Method + " is no method of " + mcp.Modern})
		return
	}
	s, err := b.statelessOf(r, m, meta)
	if err != nil {
		writeJSON(w, http.StatusOK, mcp.Failure(id, mcp.CodeInternal, err.Error()))
		return
	}
	defer s.begin()()
	switch m.Method {
	case "subscriptions/listen":
		b.subscribe(w, r, s, m)
		return
	case "server/discover":
		if !s.backend.modern {
			s.discover(w, r, id)
			return
		}
	case "tools/call":
		if refusal := b.checkParams(r, s, m); refusal != nil {
			refuse(w, id, refusal)
			return
		}
	}
	b.relay(w, r, s, m, meta)
}

// statelessOf is what stands in for the session of a modern request: who else
// has the same server.
func (b *Bridge) statelessOf(r *http.Request, m mcp.Message, meta mcp.Span) (*session, error) {
	modern, err := b.speaksModern(r.Context())
	switch {
	case err != nil:
		return nil, err
	case modern:
		return b.modern.everyone, nil
	case b.shared != nil:
		return b.shared.everyone, nil
	}
	return b.guest(r, m, meta)
}

// discover answers for a legacy server.
func (s *session) discover(w http.ResponseWriter, r *http.Request, id []byte) {
	p, err := s.backend.acquire(r.Context())
	if err != nil {
		writeJSON(w, http.StatusOK, mcp.Failure(id, mcp.CodeInternal, explain(err)))
		return
	}
	result := mcp.Catalogue{Initialized: p.result}.Discover()
	if result == nil {
		writeJSON(w, http.StatusOK, mcp.Failure(id, mcp.CodeInternal, "what the MCP server says of itself cannot be read"))
		return
	}
	writeJSON(w, http.StatusOK, mcp.Reply(id, result))
}

// checkParams holds the headers of a tools/call against its arguments, as far as
// the tool is known.
func (b *Bridge) checkParams(r *http.Request, s *session, m mcp.Message) *mcp.Refusal {
	if !closed(b.lists.known) {
		if _, err := s.backend.acquire(r.Context()); err != nil {
			return nil // the call itself tells what is wrong
		}
		timer := time.NewTimer(knownWithin)
		defer timer.Stop()
		select {
		case <-b.lists.known:
		case <-timer.C:
		case <-r.Context().Done():
		}
	}
	return b.lists.tool(m).CheckParams(r.Header, m)
}

// relay sends a modern request to the server, as it is to one that knows the era,
// translated to one that does not.
func (b *Bridge) relay(w http.ResponseWriter, r *http.Request, s *session, m mcp.Message, meta mcp.Span) {
	out := &reply{w: w, modern: true}
	ask := &asking{}
	if at, err := mcp.Lookup(m.Raw, meta, mcp.MetaLevel); err == nil && at.Present() {
		ask.level = levelOf(m.Bytes(at))
	}
	if s.offers != nil && suspendable(m.Method) {
		if err := ask.read(s, m); err != nil {
			refuse(w, m.Bytes(m.ID), &mcp.Refusal{Status: http.StatusBadRequest, Code: mcp.CodeParams, Text: err.Error()})
			return
		}
	}
	if !s.backend.modern {
		out.translate = m.Method
		l, err := m.Legacy()
		if err == nil {
			m = l
			meta, err = mcp.Lookup(m.Raw, m.Params, "_meta")
		}
		if err != nil {
			refuse(w, m.Bytes(m.ID), &mcp.Refusal{Status: http.StatusBadRequest, Code: mcp.CodeInvalid, Text: err.Error()})
			return
		}
	}
	b.exchange(w, r, s, m, meta, ask, out)
}

// log gives a log message of a shared server to the modern call that it is of, if
// that wants it. A message names no call: with several that want logs under way
// it is nobody's.
func (p *process) log(m mcp.Message) {
	at, err := mcp.Lookup(m.Raw, m.Params, "level")
	if err != nil || !at.Present() {
		return
	}
	p.mu.Lock()
	var of *call
	for _, c := range p.pending {
		if c.level > 0 && of != nil {
			p.mu.Unlock()
			return
		}
		if c.level > 0 {
			of = c
		}
	}
	p.mu.Unlock()
	if of != nil && of.side != nil && levelOf(m.Bytes(at)) >= of.level {
		of.side.put(m.Raw)
	}
}
