package bridge

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"

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

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	kind, _, _ := mime.ParseMediaType(contentType)
	return kind == "application/json"
}

func (b *Bridge) post(w http.ResponseWriter, r *http.Request) {
	if !isJSON(r.Header.Get("Content-Type")) {
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
	m, refused := mcp.Read(body)
	if refused != nil {
		refuse(w, nil, refused)
		return
	}
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
		b.exchange(w, r, s, m, meta, nil, &reply{w: w})
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
