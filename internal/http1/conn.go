package http1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

const (
	// maxHead bounds a request's line and header, in bytes.
	maxHead = 64 << 10
	// maxDrain bounds what is read of a body that its handler did not want, in
	// bytes, so that the connection can be used again.
	maxDrain = 256 << 10
	// linger is for how long what a client still sends is thrown away, so that it
	// gets the answer: to close before would make its kernel forget it.
	linger = 500 * time.Millisecond
)

// conn is a connection. It has one request at a time.
type conn struct {
	net.Conn
	server *Server
	// head lets through as much as a head may have, or everything.
	head io.LimitedReader
	r    *bufio.Reader
	w    *bufio.Writer
}

func newConn(s *Server, raw net.Conn) *conn {
	raw = newSocket(raw)
	c := &conn{Conn: raw, server: s, head: io.LimitedReader{R: raw}, w: bufio.NewWriter(raw)}
	c.r = bufio.NewReader(&c.head)
	return c
}

func (c *conn) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer c.server.remove(c)
	defer c.Conn.Close()
	defer cancel()
	watch := newWatch(c)
	for c.next(ctx, watch) {
	}
}

// next serves a request. It reports whether there may be another one.
func (c *conn) next(ctx context.Context, watch *watch) bool {
	req, status, err := c.read()
	switch {
	case status != 0:
		c.refuse(status)
		return false
	case err != nil:
		return false // it ended between two requests, or in the middle of one
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := &body{ReadCloser: req.Body, watch: watch}
	req.Body = b
	req = req.WithContext(ctx)
	w := &response{conn: c, req: req}
	watch.begin(cancel, b.ReadCloser == http.NoBody)
	ok := c.handle(w, req)
	watch.end()
	if !ok || !w.finish() {
		return false
	}
	n, err := io.CopyN(io.Discard, b.ReadCloser, maxDrain)
	if !errors.Is(err, io.EOF) || n == maxDrain {
		c.linger()
		return false
	}
	return !w.closing()
}

// read reads a request's head. A status is what to refuse it with.
func (c *conn) read() (req *http.Request, status int, err error) {
	c.head.N = maxHead
	if _, err := c.r.Peek(1); err != nil {
		return nil, 0, err
	}
	// Nearly always it has come in one piece, and no time has to be kept.
	if begun, _ := c.r.Peek(c.r.Buffered()); !bytes.Contains(begun, []byte("\r\n\r\n")) {
		timeout := c.server.HeadTimeout
		if timeout == 0 {
			timeout = 10 * time.Second
		}
		_ = c.SetReadDeadline(time.Now().Add(timeout))
		defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	}
	req, err = http.ReadRequest(c.r)
	tooLong := c.head.N <= 0
	c.head.N = math.MaxInt64
	var failed net.Error
	switch {
	case err == nil && !req.ProtoAtLeast(1, 1), err == nil && req.ProtoMajor > 1:
		return nil, http.StatusHTTPVersionNotSupported, nil
	case err == nil && (req.Host == "" || spaced(req.Header)): // RFC 9112 §3.2, §5.1
		return nil, http.StatusBadRequest, nil
	case err == nil:
		req.RemoteAddr = c.RemoteAddr().String()
		return req, c.expected(req), nil
	case tooLong:
		return nil, http.StatusRequestHeaderFieldsTooLarge, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, 0, err
	case errors.As(err, &failed) && failed.Timeout():
		return nil, http.StatusRequestTimeout, nil
	case errors.As(err, &failed):
		return nil, 0, err
	}
	return nil, http.StatusBadRequest, nil
}

// spaced reports whether a name is followed by a space, which a proxy may have read
// otherwise. All else that no name may have, net/http has refused.
func spaced(h http.Header) bool {
	for name := range h {
		if strings.Contains(name, " ") {
			return true
		}
	}
	return false
}

// expected says that the body may come, to a client that waits for that (RFC 9110
// §10.1.1).
func (c *conn) expected(req *http.Request) (status int) {
	switch expect := req.Header.Get("Expect"); {
	case expect == "":
		return 0
	case !bytes.EqualFold([]byte(expect), []byte("100-continue")):
		return http.StatusExpectationFailed
	}
	_, _ = c.w.WriteString("HTTP/1.1 100 Continue\r\n\r\n")
	_ = c.w.Flush() // of a client that is gone the body does not come
	return 0
}

// handle reports false if the handler panicked.
func (c *conn) handle(w *response, req *http.Request) (ok bool) {
	defer func() {
		if ok {
			return
		}
		if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // it is that very value
			c.server.Logger.ErrorContext(req.Context(), "a handler panicked", "value", v, "stack", string(debug.Stack()))
		}
	}()
	c.server.Handler.ServeHTTP(w, req)
	return true
}

// refuse answers what is no request, or none that is served, and closes.
func (c *conn) refuse(status int) {
	w := &response{conn: c, req: &http.Request{Close: true}}
	http.Error(w, http.StatusText(status), status)
	if w.finish() {
		c.linger()
	}
}

// linger gives the client time to read the last answer.
func (c *conn) linger() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(linger))
	_, _ = io.Copy(io.Discard, c.Conn)
}

// body tells when it was read to its end: from then on the reader of the
// connection is free.
type body struct {
	io.ReadCloser
	watch *watch
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.watch.bodyRead()
	}
	return n, err
}

// Close leaves the rest where it is: next sees to it.
func (b *body) Close() error { return nil }
