package bridge

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/task"
)

// errCancelled ends a call that its client has cancelled: it gets no answer.
var errCancelled = errors.New("cancelled by the client")

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone; nobody is left to tell
}

func (b *Bridge) post(w http.ResponseWriter, r *http.Request) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		writeJSON(w, http.StatusUnsupportedMediaType, mcp.Failure(nil, mcp.CodeInvalid, "the body must be application/json"))
		return
	}
	body, err := readBody(w, r, b.cfg.MaxBody)
	if err != nil {
		status := http.StatusBadRequest
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		writeJSON(w, status, mcp.Failure(nil, mcp.CodeInvalid, "read the body: "+err.Error()))
		return
	}
	m, err := mcp.Parse(body)
	switch {
	case !json.Valid(body):
		writeJSON(w, http.StatusBadRequest, mcp.Failure(nil, mcp.CodeParse, "the body is not JSON"))
		return
	case err != nil:
		writeJSON(w, http.StatusBadRequest, mcp.Failure(nil, mcp.CodeInvalid, err.Error()))
		return
	case m.Request() && !m.ValidID():
		writeJSON(w, http.StatusBadRequest, mcp.Failure(nil, mcp.CodeInvalid, "the id must be a string or a number"))
		return
	}
	mcp.OneLine(m.Raw)
	modern := mcp.IsModern(r.Header.Get(mcp.VersionHeader))
	var meta mcp.Span
	if modern || m.Request() {
		var version string
		if meta, err = mcp.Lookup(m.Raw, m.Params, "_meta"); err == nil && (modern || meta.Present()) {
			version, err = m.VersionIn(meta)
		}
		if err != nil {
			writeJSON(w, http.StatusBadRequest, mcp.Failure(m.Bytes(m.ID), mcp.CodeInvalid, err.Error()))
			return
		}
		if modern || version != "" {
			b.modernPost(w, r, m, meta, version)
			return
		}
	}
	if m.Request() && m.Method == "initialize" {
		b.initialize(w, r, m)
		return
	}
	s := b.sessionOf(w, r, m.Bytes(m.ID))
	if s == nil {
		return
	}
	defer s.begin()()
	switch {
	case m.Request():
		b.exchange(w, r, s, m, meta, 0, &reply{w: w})
	case m.Response():
		b.answer(r.Context(), s, m)
		w.WriteHeader(http.StatusAccepted)
	default:
		b.notify(r.Context(), s, m)
		w.WriteHeader(http.StatusAccepted)
	}
}

// readBody reads a body of at most limit bytes, in one piece of the right size
// where the client says how long it is.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	if r.ContentLength > 0 {
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	return io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
}

// initialize opens a session and answers with what the server said when it was
// initialized.
func (b *Bridge) initialize(w http.ResponseWriter, r *http.Request, m mcp.Message) {
	id := m.Bytes(m.ID)
	params, version, err := b.clientParams(m.Bytes(m.Params))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, mcp.Failure(id, mcp.CodeInvalid, err.Error()))
		return
	}
	var s *session
	sealed := b.cfg.Trusted && r.Header.Get(task.SessionHeader) != ""
	if sealed {
		s = b.sessionOf(w, r, id)
	} else {
		s = b.opened(w, rand.Text(), b.clientOf(r), params, id)
	}
	if s == nil {
		return
	}
	defer s.begin()()
	p, err := s.backend.acquire(r.Context())
	if errors.Is(err, errModernOnly) {
		b.drop(s)
		refuse(w, id, &mcp.Refusal{Status: http.StatusBadRequest, Code: mcp.CodeUnsupportedVersion, Text: err.Error(),
			Data: map[string]any{"supported": []string{mcp.Modern}, "requested": version}})
		return
	}
	if err != nil {
		b.drop(s)
		writeJSON(w, http.StatusOK, mcp.Failure(id, mcp.CodeServer, err.Error()))
		return
	}
	if !sealed { // else the caller has told its client another one
		w.Header().Set(mcp.SessionHeader, s.id)
	}
	writeJSON(w, http.StatusOK, mcp.Reply(id, mcp.InVersion(p.result, version)))
}

// notify passes a notification on, where it concerns the server.
func (b *Bridge) notify(ctx context.Context, s *session, m mcp.Message) {
	switch m.Method {
	case "notifications/initialized":
		// The bridge has said it when it started the server.
		return
	case "notifications/cancelled":
		s.cancel(ctx, m)
		return
	case "notifications/roots/list_changed":
		if s.backend.owner == nil {
			return // a shared server was told that there are no roots
		}
	}
	if p, err := s.backend.acquire(ctx); err == nil {
		_ = p.send(ctx, mcp.Frame{Raw: m.Raw}) // to a server that ended, news is no news
	}
}

// cancel maps notifications/cancelled to the id that the server knows.
func (s *session) cancel(ctx context.Context, m mcp.Message) {
	at, err := mcp.Lookup(m.Raw, m.Params, "requestId")
	if err != nil || !at.Present() {
		return
	}
	id := string(m.Bytes(at))
	found := false
	for _, p := range s.backend.processes() {
		c := p.find(func(c *call) bool { return c.session == s && string(c.id) == id })
		if c == nil || p.remove(c.number) == nil {
			continue
		}
		f := mcp.Frame{Raw: m.Raw}
		f.Replace(at, strconv.AppendUint(nil, c.number, 10))
		_ = p.send(ctx, f)
		c.done <- answer{err: errCancelled}
		found = true
	}
	if !found {
		s.giveUp(id)
	}
}

// answer passes a client's response to the process that asked.
func (b *Bridge) answer(ctx context.Context, s *session, m mcp.Message) {
	if s.backend.owner == nil {
		return
	}
	for _, p := range s.backend.processes() {
		if p.answered(string(m.Bytes(m.ID))) {
			_ = p.send(ctx, mcp.Frame{Raw: m.Raw})
		}
	}
}

// exchange sends a request, whose _meta is at meta, to the server and stays until
// it is answered.
func (b *Bridge) exchange(w http.ResponseWriter, r *http.Request, s *session, m mcp.Message, meta mcp.Span, level int, out *reply) {
	token, err := mcp.Lookup(m.Raw, meta, "progressToken")
	if err != nil {
		writeJSON(w, http.StatusBadRequest, mcp.Failure(m.Bytes(m.ID), mcp.CodeInvalid, err.Error()))
		return
	}
	c := &call{session: s, id: m.Bytes(m.ID), done: make(chan answer, 1), level: level}
	streams := acceptsStream(r)
	if token.Present() {
		c.token = m.Bytes(token)
	}
	if streams && (token.Present() || level > 0 || s.backend.owner != nil) {
		c.side = newMailbox()
	}
	out.c = c
	if m.Method == "tools/call" {
		out.inspect = b.cfg.Result
		c.begin = b.cfg.Begin
	}
	if err := s.submit(r.Context(), c, m, token); err != nil {
		writeJSON(w, http.StatusOK, mcp.Failure(c.id, out.failed(), err.Error()))
		return
	}
	b.await(r.Context(), s, c, out, streams, func(ctx context.Context, a answer) outcome {
		return s.second(ctx, c, a, m, token)
	})
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
// be the last one is held until again says what follows it.
func (b *Bridge) await(ctx context.Context, s *session, c *call, out *reply, streams bool, again func(context.Context, answer) outcome) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var (
		wake   chan struct{}
		held   answer
		second <-chan outcome
		t      = &trial{id: string(c.id), cancelled: make(chan struct{})}
	)
	if c.again != nil {
		defer s.watch(t)()
	}
	if c.side != nil {
		wake = c.side.wake
	}
	timer := time.NewTimer(b.cfg.StreamAfter)
	defer timer.Stop()
	for {
		select {
		case a := <-c.done:
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
		case <-t.cancelled:
			c.process.abandon(c)
			out.finish(answer{err: errCancelled})
			return
		case <-wake:
			out.events(c.side.take())
		case <-timer.C:
			if streams {
				out.comment()
				timer.Reset(b.cfg.KeepAlive)
			}
		case <-ctx.Done():
			c.process.abandon(c)
			return
		case <-s.gone:
			c.process.abandon(c)
			out.finish(answer{err: errors.New("the session was ended")})
			return
		}
	}
}

// acceptsStream reports whether an answer may be an event stream.
func acceptsStream(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "text/event-stream") || strings.Contains(accept, "*/*")
}
