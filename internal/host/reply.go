package host

import (
	"net/http"
	"strconv"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// keepAlive is between comments on a stream on which nothing is said: less than
// what proxies and load balancers wait, which is 30 seconds or more.
const keepAlive = 25 * time.Second

// reply writes the answer to one request: JSON, or an event stream once
// something had to be said before it.
type reply struct {
	w http.ResponseWriter
	// streams: the client accepts an event stream.
	streams bool
	// begun: the answer is one.
	begun bool
}

// begin makes the answer an event stream.
func (a *reply) begin() {
	if a.begun {
		return
	}
	a.begun = true
	mcp.BeginStream(a.w)
}

// event writes a message, which stands on one line.
func (a *reply) event(message []byte) {
	a.begin()
	mcp.WriteEvent(a.w, &mcp.Frame{Raw: message})
	a.flush()
}

func (a *reply) comment() {
	a.begin()
	mcp.WriteComment(a.w)
	a.flush()
}

func (a *reply) flush() { mcp.Flush(a.w) }

// finish writes the answer itself. Of a stream the status is settled.
func (a *reply) finish(status int, message []byte) {
	if a.begun {
		a.event(message)
		return
	}
	h := a.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(message)))
	a.w.WriteHeader(status)
	_, _ = a.w.Write(message)
}
