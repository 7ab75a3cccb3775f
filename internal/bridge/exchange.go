package bridge

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// exchange sends a request, whose _meta is at meta, to the server and stays until
// it is answered. ask is what is special about a modern one; nil: it is none.
func (b *Bridge) exchange(w http.ResponseWriter, r *http.Request, s *session, m mcp.Message, meta mcp.Span, ask *asking, out *reply) {
	token, err := mcp.Lookup(m.Raw, meta, "progressToken")
	if err != nil {
		writeJSON(w, http.StatusBadRequest, mcp.Failure(m.Bytes(m.ID), mcp.CodeInvalid, err.Error()))
		return
	}
	c := &call{session: s, id: m.Bytes(m.ID), done: make(chan answer, 1)}
	streams := mcp.AcceptsStream(r)
	if token.Present() {
		c.token = m.Bytes(token)
	}
	if streams && (token.Present() || ask != nil && ask.level > 0 || s.backend.owner != nil && s.offers == nil) {
		c.side = newMailbox()
	}
	out.c, out.id = c, c.id
	if m.Method == "tools/call" {
		out.inspect = b.cfg.Result
		c.begin = b.cfg.Begin
	}
	if ask != nil {
		c.level = ask.level
		if ask.answerable {
			c.questions = newQuestions(ask.claims)
		}
		if ask.retry != nil {
			if err := b.resume(r, s, ask.retry, c, out); err != nil {
				refuse(w, c.id, &mcp.Refusal{Status: http.StatusBadRequest, Code: mcp.CodeParams, Text: err.Error()})
			}
			return
		}
	}
	if err := s.submit(r.Context(), c, m, token); err != nil {
		writeJSON(w, http.StatusOK, mcp.Failure(c.id, out.failed(), err.Error()))
		return
	}
	var again func(context.Context, answer) outcome
	if c.again != nil {
		again = func(ctx context.Context, a answer) outcome { return s.second(ctx, c, a, m, token) }
	}
	b.await(r.Context(), s, c, out, streams, again)
}

// submit registers the call with the process that takes calls now, and sends it.
func (s *session) submit(ctx context.Context, c *call, m mcp.Message, token mcp.Span) error {
	for {
		p, err := s.backend.acquire(ctx)
		if err != nil {
			return err
		}
		if p.add(c) == nil {
			break
		}
	}
	if c.begin != nil {
		c.again = c.begin(c.process.child)
	}
	number := strconv.AppendUint(nil, c.number, 10)
	f := mcp.Frame{Raw: m.Raw}
	f.Replace(m.ID, number)
	if token.Present() {
		f.Replace(token, number)
	}
	if err := c.process.send(ctx, f); err != nil && ctx.Err() != nil {
		c.process.remove(c.number)
		return err
	}
	return nil
}

// await writes what comes for a call until its answer. An answer that may not
// be the last one is held until again, of a call that may be sent again, says what
// follows it.
func (b *Bridge) await(ctx context.Context, s *session, c *call, out *reply, streams bool, again func(context.Context, answer) outcome) {
	var (
		wake      chan struct{}
		held      answer
		asked     <-chan struct{}
		ask       <-chan time.Time
		second    <-chan outcome
		cancelled chan struct{}
	)
	if c.again != nil {
		var stop context.CancelFunc
		ctx, stop = context.WithCancel(ctx) // for what holds an answer
		defer stop()
		t := &trial{id: string(c.id), cancelled: make(chan struct{})}
		defer s.watch(t)()
		cancelled = t.cancelled
	}
	if c.side != nil {
		wake = c.side.wake
	}
	if c.questions != nil {
		asked = c.questions.wake
	}
	sent := time.Now()
	b.look(c)
	timer := time.NewTimer(b.cfg.StreamAfter)
	defer timer.Stop()
	for {
		select {
		case a := <-c.done:
			c.process.in.prompt.Store(time.Since(sent) < prompt)
			if c.again == nil || a.err != nil || !a.msg.Failed() {
				out.finish(a)
				return
			}
			held = a
			second = hold(ctx, b.cfg.Hold, func(ctx context.Context) outcome { return again(ctx, a) })
		case o := <-second:
			if o.next == nil {
				held.note = o.note
				out.finish(held)
				return
			}
			c, second = o.next, nil
		case <-cancelled:
			c.process.abandon(c)
			out.finish(answer{err: errCancelled})
			return
		case <-asked:
			ask = time.After(askTogether)
		case <-ask:
			if ask = nil; b.suspend(out, c) {
				return
			}
		case <-wake:
			out.events(c.side.take())
		case <-timer.C:
			if streams {
				out.comment()
				timer.Reset(b.cfg.KeepAlive)
			}
		case <-ctx.Done():
			c.process.abandon(c)
			c.process.decline(c, "the client is gone")
			return
		case <-s.gone:
			c.process.abandon(c)
			c.process.decline(c, "the client is gone")
			out.finish(answer{err: errors.New("the session was ended")})
			return
		}
	}
}

// look waits for a call's answer without sleeping, where that is likely to be quicker:
// the call is the only one of its server, which answers soon. One at a time does, so
// that what it takes of the processor is bounded.
func (b *Bridge) look(c *call) {
	p := c.process
	if !p.in.prompt.Load() || !p.alone() || !b.looking.TryLock() {
		return
	}
	defer b.looking.Unlock()
	p.in.look(func() bool { return len(c.done) > 0 })
}
