package http1

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// maxHeld is how much of an answer of unknown length is held, in bytes: one that is
// no longer is sent with its length, and not in chunks.
const maxHeld = 2 << 10

var errGone = errors.New("the client is gone")

// response is the answer to one request.
type response struct {
	conn   *conn
	req    *http.Request
	header http.Header
	status int
	// begun: the head is out. Then the body is chunked, or has left bytes to come.
	begun, chunked bool
	left           int64
	held           []byte
	failed         bool
}

// Header implements [http.ResponseWriter].
func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

// WriteHeader implements [http.ResponseWriter]. The status of the first call
// counts. There are no informational ones.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// bodiless reports whether the answer has no body, whatever is written (RFC 9110
// §6.4.1).
func (w *response) bodiless() bool {
	return w.status == http.StatusNoContent || w.status == http.StatusNotModified || w.req.Method == http.MethodHead
}

// Write implements [http.ResponseWriter].
func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if !w.begun {
		length, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64)
		switch {
		case err == nil && length >= 0:
			w.begin(length)
		case len(w.held)+len(p) <= maxHeld:
			w.held = append(w.held, p...)
			return len(p), nil
		default:
			w.beginChunks()
		}
	}
	switch {
	case w.failed:
		return 0, errGone
	case w.bodiless():
		return len(p), nil
	case w.chunked:
		w.chunk(p)
	case int64(len(p)) > w.left:
		return 0, http.ErrContentLength
	default:
		w.left -= int64(len(p))
		_, err := w.conn.w.Write(p)
		w.failed = err != nil
	}
	return len(p), nil
}

// Flush implements [http.Flusher].
func (w *response) Flush() {
	w.WriteHeader(http.StatusOK)
	if !w.begun {
		w.beginChunks()
	}
	w.failed = w.conn.w.Flush() != nil || w.failed
}

// finish sends what is left. It reports whether the answer is whole.
func (w *response) finish() bool {
	w.WriteHeader(http.StatusOK)
	if !w.begun {
		w.Header().Set("Content-Length", strconv.Itoa(len(w.held)))
		w.begin(int64(len(w.held)))
		if !w.bodiless() {
			w.left = 0
			_, _ = w.conn.w.Write(w.held)
		}
	}
	if w.chunked && !w.bodiless() {
		_, _ = w.conn.w.WriteString("0\r\n\r\n")
	}
	return w.conn.w.Flush() == nil && !w.failed && (w.left == 0 || w.bodiless())
}

// closing reports whether the connection ends with this answer.
func (w *response) closing() bool { return w.req.Close || w.header.Get("Connection") == "close" }

// begin writes the head of an answer with that many bytes.
func (w *response) begin(length int64) {
	w.begun, w.left = true, length
	if w.status == http.StatusNoContent { // RFC 9110 §8.6
		w.header.Del("Content-Length")
	}
	w.writeHead()
}

func (w *response) beginChunks() {
	w.begun, w.chunked = true, true
	if !w.bodiless() {
		w.Header().Set("Transfer-Encoding", "chunked")
	}
	w.writeHead()
	if len(w.held) > 0 && !w.bodiless() {
		w.chunk(w.held)
	}
}

func (w *response) writeHead() {
	if w.req.Close {
		w.Header().Set("Connection", "close")
	}
	b := w.conn.w
	line := append(b.AvailableBuffer(), "HTTP/1.1 "...)
	line = strconv.AppendInt(line, int64(w.status), 10)
	line = append(append(line, ' '), http.StatusText(w.status)...)
	line = time.Now().UTC().AppendFormat(append(line, "\r\nDate: "...), http.TimeFormat)
	_, _ = b.Write(append(line, "\r\n"...))
	_ = w.header.Write(b) // to b nothing fails; Flush does
	_, _ = b.WriteString("\r\n")
}

func (w *response) chunk(p []byte) {
	if len(p) == 0 {
		return // it would be the last one
	}
	b := w.conn.w
	_, _ = b.Write(append(strconv.AppendInt(b.AvailableBuffer(), int64(len(p)), 16), "\r\n"...))
	_, _ = b.Write(p)
	_, err := b.WriteString("\r\n")
	w.failed = err != nil || w.failed
}
