package mcp

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// AcceptsStream reports whether the answer to a request may be an event stream.
func AcceptsStream(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "text/event-stream") || strings.Contains(accept, "*/*")
}

// BeginStream makes an answer an event stream.
func BeginStream(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
}

// WriteEvent writes a message, which stands on one line, to a stream. Errors
// mean that the client is gone, which its request's context tells as well.
func WriteEvent(w io.Writer, f *Frame) {
	_, _ = io.WriteString(w, "event: message\ndata: ")
	_ = f.Emit(w)
	_, _ = io.WriteString(w, "\n\n")
}

// WriteComment writes what keeps a quiet stream open.
func WriteComment(w io.Writer) { _, _ = io.WriteString(w, ": keep-alive\n\n") }

// Flush sends what was written; see [WriteEvent].
func Flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// Acknowledged is the first message of the subscription that the request with
// this raw id asked for: that it will hear of these, raw (MCP 2026-07-28,
// subscriptions).
func Acknowledged(id, notifications []byte) []byte {
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{%q:%s},"notifications":%s}}`, MetaSubscription, id, notifications)
}

// Unsubscribed is the last one: its answer.
func Unsubscribed(id []byte) []byte {
	return Reply(id, fmt.Appendf(nil, `{"resultType":"complete","_meta":{%q:%s}}`, MetaSubscription, id))
}
