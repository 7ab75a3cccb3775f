package bridge

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// A legacy server asks its client back while a call is under way; a modern client
// is asked by the call's answer, and calls again with what it was asked for (MCP
// 2026-07-28, multi round-trip requests). In between the call is suspended here:
//
//	tools/call ──────────► sent to the server
//	                       elicitation/create from the server
//	input_required ◄────── the call waits, under an id in requestState
//	tools/call again ────► the server is answered; the same call goes on
//	the answer ◄──────────
//
// What a server asks names no call: it is taken to belong to the newest one of
// its client that can be answered so.

const (
	// maxQuestions bounds what a server asks by one call, maxQuestion each, in
	// bytes.
	maxQuestions = 16
	maxQuestion  = 1 << 20
	// askTogether is for how long questions are gathered into one answer.
	askTogether = 25 * time.Millisecond
)

// question is what a server asks.
type question struct {
	key string
	// id is the server's own, params are its own; both raw.
	id, params []byte
	method     string
}

// questions are those of one call that have not been answered.
type questions struct {
	// claims say which request the call is.
	claims claims
	// wake has room for one signal: there is something to ask.
	wake chan struct{}

	mu   sync.Mutex
	open []question
	n    int
}

func newQuestions(c claims) *questions { return &questions{claims: c, wake: make(chan struct{}, 1)} }

// suspendable reports whether a call by this method can be answered by questions.
func suspendable(method string) bool {
	return method == "tools/call" || method == "prompts/get" || method == "resources/read"
}

// put reports whether there was room.
func (q *questions) put(asked question) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.open) >= maxQuestions {
		return false
	}
	q.n++
	asked.key = fmt.Sprint("input-", q.n)
	q.open = append(q.open, asked)
	q.signal()
	return true
}

// signal is for whoever answers the call. q.mu is held.
func (q *questions) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take removes the questions for which match holds, and wakes whoever has to ask
// the others again.
func (q *questions) take(match func(question) bool) []question {
	q.mu.Lock()
	defer q.mu.Unlock()
	var taken, left []question
	for _, one := range q.open {
		if match(one) {
			taken = append(taken, one)
		} else {
			left = append(left, one)
		}
	}
	if q.open = left; len(left) > 0 {
		q.signal()
	}
	return taken
}

// all are the open questions, as an answer to a call asks them.
func (q *questions) all() map[string]any {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := map[string]any{}
	for _, one := range q.open {
		ask := map[string]any{"method": one.method}
		if len(one.params) > 0 {
			ask["params"] = json.RawMessage(one.params)
		}
		out[one.key] = ask
	}
	return out
}

// question takes a request of the server of a modern client.
func (k *backend) question(p *process, m mcp.Message) {
	id, params := m.Bytes(m.ID), m.Bytes(m.Params)
	switch {
	case m.Method == "ping":
		p.tell(mcp.Reply(id, []byte(`{}`)))
		return
	case len(id) > maxQuestion || !json.Valid(id):
		p.tell(mcp.Failure(nil, mcp.CodeInvalid, "this is no id"))
		return
	case len(params) > maxQuestion || len(params) > 0 && !json.Valid(params):
		p.tell(mcp.Failure(id, mcp.CodeInvalid, "this is not JSON, or too much to ask"))
		return
	case !k.owner.offers.grants(m.Method, params):
		p.tell(mcp.Failure(id, mcp.CodeNoMethod, "the client does not offer "+m.Method))
		return
	}
	c := p.find(func(c *call) bool { return c.questions != nil })
	if c == nil || !p.ask(string(id)) {
		p.tell(mcp.Failure(id, mcp.CodeServer, "no call is under way by which the client could be asked"))
		return
	}
	if !c.questions.put(question{id: id, method: m.Method, params: params}) {
		p.answered(string(id))
		p.tell(mcp.Failure(id, mcp.CodeServer, "too many questions by one call"))
	}
}

// withdrawn forgets a request that the server has cancelled: it gets no answer.
func (p *process) withdrawn(m mcp.Message) {
	at, err := mcp.Lookup(m.Raw, m.Params, "requestId")
	if err != nil || !at.Present() || !p.answered(string(m.Bytes(at))) {
		return
	}
	p.find(func(c *call) bool {
		if c.questions != nil {
			c.questions.take(func(q question) bool { return string(q.id) == string(m.Bytes(at)) })
		}
		return false
	})
}

// suspended are the calls that wait for their clients.
type suspended struct {
	mu    sync.Mutex
	calls map[string]*waiting
}

// close forgets them: their servers end.
func (s *suspended) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, w := range s.calls {
		w.timer.Stop()
		delete(s.calls, id)
	}
}

type waiting struct {
	c     *call
	timer *time.Timer
	// leave ends that the client counts as one that is there.
	leave func()
}

// suspend answers a call with what its server asks, and reports whether it did:
// not if the server has taken its questions back, nor if too many calls wait.
func (b *Bridge) suspend(out *reply, c *call) bool {
	asked := c.questions.all()
	if len(asked) == 0 {
		return false
	}
	id := rand.Text()
	said := c.questions.claims
	said.Call, said.Expires = id, time.Now().Add(b.cfg.SuspendFor).Unix()
	b.waits.mu.Lock()
	if len(b.waits.calls) >= b.cfg.MaxSuspended || b.life.Err() != nil {
		b.waits.mu.Unlock()
		c.process.decline(c, "too many calls wait for their clients")
		return false
	}
	b.waits.calls[id] = &waiting{c: c, leave: c.session.begin(), timer: time.AfterFunc(b.cfg.SuspendFor, func() {
		if c := b.resumed(id); c != nil {
			c.process.decline(c, "the client did not answer")
			c.process.abandon(c)
		}
	})}
	b.waits.mu.Unlock()
	result, err := json.Marshal(map[string]any{"resultType": "input_required", "inputRequests": asked, "requestState": b.states.seal(said)})
	if err != nil { // the parts are ours, or were looked at when they came
		panic(err)
	}
	out.answer(mcp.Reply(out.id, result))
	return true
}

// resumed takes a suspended call, once; nil if there is none.
func (b *Bridge) resumed(id string) *call {
	b.waits.mu.Lock()
	defer b.waits.mu.Unlock()
	w := b.waits.calls[id]
	if w == nil {
		return nil
	}
	delete(b.waits.calls, id)
	w.timer.Stop()
	w.leave()
	return w.c
}

// decline answers all that a call's server asks with an error.
func (p *process) decline(c *call, why string) {
	if c.questions == nil {
		return
	}
	for _, q := range c.questions.take(func(question) bool { return true }) {
		if p.answered(string(q.id)) {
			p.tell(mcp.Failure(q.id, mcp.CodeServer, why))
		}
	}
}

// rebind puts a call in the place of another that waits for the same answer.
func (p *process) rebind(old, next *call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending[old.number] == old { // else its answer is there already
		p.pending[old.number] = next
	}
}

// asking is what is special about a modern request.
type asking struct {
	// level is that of the call.
	level int
	// answerable: it may be answered by questions. claims say which request it is,
	// and retry is what it resumes; nil: nothing.
	answerable bool
	claims     claims
	retry      *retry
}

// retry is what a request says of the suspended call that it resumes.
type retry struct {
	State     string                     `json:"requestState"`
	Responses map[string]json.RawMessage `json:"inputResponses"`
}

// read reads what a request says that may be answered by questions.
func (a *asking) read(s *session, m mcp.Message) (err error) {
	a.answerable = true
	if a.claims, err = describe(s, m); err != nil {
		return err
	}
	at, err := mcp.Lookup(m.Raw, m.Params, "requestState")
	if err != nil || !at.Present() {
		return err
	}
	a.retry = &retry{}
	if json.Unmarshal(m.Bytes(m.Params), a.retry) != nil {
		return errors.New("requestState must be a string, and inputResponses an object")
	}
	return nil
}

// resume goes on with a suspended call, for whose answer next waits from now on.
func (b *Bridge) resume(r *http.Request, s *session, from *retry, next *call, out *reply) error {
	id, err := b.states.open(from.State, next.questions.claims, time.Now())
	if err != nil {
		return err
	}
	old := b.resumed(id)
	if old == nil {
		return mcp.ErrRequestState
	}
	next.number, next.process, next.done, next.questions = old.number, old.process, old.done, old.questions
	next.process.rebind(old, next)
	for _, q := range next.questions.take(func(q question) bool { return object(from.Responses[q.key]) }) {
		if next.process.answered(string(q.id)) {
			// A server that is gone shows by the call.
			_ = next.process.send(r.Context(), mcp.Frame{Raw: mcp.Reply(q.id, from.Responses[q.key])})
		}
	}
	b.await(r.Context(), s, next, out, mcp.AcceptsStream(r), func(context.Context, answer) outcome { return outcome{} })
	return nil
}

// object reports whether raw is a JSON object.
func object(raw []byte) bool { return len(raw) > 0 && raw[0] == '{' }
