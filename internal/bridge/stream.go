package bridge

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// reply writes the answer to one call: plain JSON, or an event stream once
// something had to be said before it.
type reply struct {
	w http.ResponseWriter
	// id is the client's own of the request, raw.
	id        []byte
	c         *call
	inspect   func(raw []byte)
	streaming bool
	// modern: an error has the HTTP status that the modern era gives it.
	// translate is the method where the answer is of a server that does not know
	// that era.
	modern    bool
	translate string
}

func (o *reply) stream() {
	if !o.streaming {
		o.streaming = true
		mcp.BeginStream(o.w)
	}
}

func (o *reply) events(msgs [][]byte) {
	if len(msgs) == 0 {
		return
	}
	o.stream()
	for _, m := range msgs {
		mcp.WriteEvent(o.w, &mcp.Frame{Raw: m})
	}
	mcp.Flush(o.w)
}

func (o *reply) comment() {
	o.stream()
	mcp.WriteComment(o.w)
	mcp.Flush(o.w)
}

// finish writes the answer, after what came before it.
func (o *reply) finish(a answer) {
	if o.c.side != nil {
		o.events(o.c.side.take())
	}
	if errors.Is(a.err, errCancelled) {
		if !o.streaming {
			o.w.WriteHeader(http.StatusAccepted)
		}
		return
	}
	var f mcp.Frame
	code := 0
	if a.err != nil {
		f.Raw = mcp.Failure(o.id, o.failed(), explain(a.err))
	} else {
		if o.inspect != nil {
			o.inspect(a.msg.Raw)
		}
		f.Raw = a.msg.Raw
		f.Replace(a.msg.ID, o.id)
		if a.note != "" {
			annotate(&f, a.msg, a.note)
		}
		if o.translate != "" {
			mcp.Modernize(&f, a.msg, o.translate, a.server)
		}
		if o.modern {
			code = a.msg.Code()
		}
	}
	if o.streaming {
		mcp.WriteEvent(o.w, &f)
		return
	}
	o.w.Header().Set("Content-Type", "application/json")
	o.w.Header().Set("Content-Length", strconv.Itoa(f.Size()))
	o.w.WriteHeader(statusOf(code))
	_ = f.Emit(o.w)
}

// answer writes an answer of the bridge's own, after what came before it.
func (o *reply) answer(msg []byte) {
	if o.c.side != nil {
		o.events(o.c.side.take())
	}
	if o.streaming {
		mcp.WriteEvent(o.w, &mcp.Frame{Raw: msg})
		return
	}
	writeJSON(o.w, http.StatusOK, msg)
}

// failed is the code of an error of the bridge's own: the one that servers have
// always used, which the modern era wants to see no more.
func (o *reply) failed() int {
	if o.modern {
		return mcp.CodeInternal
	}
	return mcp.CodeServer
}

// statusOf is the status of an answer with this error code (MCP 2026-07-28,
// Streamable HTTP and basic, per-request protocol fields).
func statusOf(code int) int {
	switch code {
	case mcp.CodeNoMethod:
		return http.StatusNotFound
	case mcp.CodeParams, mcp.CodeHeaderMismatch, mcp.CodeMissingCapability, mcp.CodeUnsupportedVersion:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// explain adds what the person can do next.
func explain(err error) string {
	var lost *lostError
	if errors.As(err, &lost) {
		return err.Error() + ". Whether this call took effect is not known: check before you repeat it. The next call starts the server again."
	}
	return err.Error()
}

// listen is the GET stream of a session.
func (b *Bridge) listen(w http.ResponseWriter, r *http.Request, s *session) {
	defer s.begin()()
	mine := s.attach()
	defer s.detach(mine)
	mcp.BeginStream(w)
	mcp.Flush(w)
	tick := time.NewTicker(b.cfg.KeepAlive)
	defer tick.Stop()
	for {
		select {
		case <-s.box.wake:
			for _, m := range s.box.take() {
				mcp.WriteEvent(w, &mcp.Frame{Raw: m})
			}
		case <-tick.C:
			mcp.WriteComment(w)
		case <-mine:
			return
		case <-s.gone:
			return
		case <-r.Context().Done():
			return
		}
		mcp.Flush(w)
	}
}
