package host

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/task"
)

// maxAnswer bounds an answer that is held whole, in bytes: as the bridge does.
const maxAnswer = 64 << 20

// passes reports whether a client's header is for its server. Everything else
// is between the client and us: what it shows us to be let in, above all, and
// what only we may say to a runner.
func passes(name string) bool {
	switch name = http.CanonicalHeaderKey(name); name {
	case "Accept", "Content-Type", "Last-Event-Id":
		return true
	}
	return strings.HasPrefix(name, "Mcp-") && name != mcp.SessionHeader
}

// introduce says whose request it is.
func introduce(h http.Header, client string, in *session) {
	h.Set(task.ClientHeader, client)
	if in != nil {
		h.Set(mcp.SessionHeader, in.inner)
		h.Set(task.SessionHeader, base64.RawURLEncoding.EncodeToString(in.params))
	}
}

// send passes the request on, by upstream or asItIs.
func (x *exchange) send(ctx context.Context, via http.RoundTripper, method string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, taskURL, bytes.NewReader(x.m.Raw))
	if err != nil {
		return nil, err
	}
	for name, values := range x.r.Header {
		if passes(name) {
			req.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	introduce(req.Header, x.Client, x.session)
	return via.RoundTrip(req)
}

func streamed(resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return kind == "text/event-stream"
}

// pass writes the server's answer: as it comes, or as an event of the stream
// that the answer already is.
func (x *exchange) pass(resp *http.Response) {
	defer resp.Body.Close()
	switch {
	case streamed(resp):
		x.begin()
		x.flush()
		switch err := x.relay(resp.Body); {
		case err == nil || x.gone():
		case x.r.Context().Err() != nil:
			x.fail(ErrTooLong)
		default:
			x.service.Logger.WarnContext(x.r.Context(), "a stream of a task was lost", "connection", x.Connection.ID, "err", err)
			x.fail(ErrLost)
		}
	case !x.begun:
		if n := resp.ContentLength; n > 0 && n <= maxExamined && resp.StatusCode == http.StatusOK {
			body, err := io.ReadAll(resp.Body)
			if err == nil && x.examined(body) {
				return
			}
			resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
		}
		h := x.w.Header()
		for _, name := range []string{"Content-Type", "Content-Length", "Retry-After"} {
			if v := resp.Header.Get(name); v != "" {
				h.Set(name, v)
			}
		}
		x.w.WriteHeader(resp.StatusCode)
		if _, err := io.Copy(x.w, resp.Body); err != nil {
			panic(http.ErrAbortHandler) // it must not look whole
		}
	case resp.StatusCode == http.StatusAccepted: // it was cancelled
	default:
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
		if err != nil || len(body) > maxAnswer || !json.Valid(body) {
			x.service.Logger.WarnContext(x.r.Context(), "an answer of a task was not whole", "connection", x.Connection.ID, "status", resp.StatusCode, "err", err)
			x.fail(ErrLost)
			return
		}
		if len(body) <= maxExamined && x.examined(body) {
			return
		}
		mcp.OneLine(body)
		x.event(body)
	}
}

// failing is the end of a body that was read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, cmp.Or(f.err, io.EOF) }

// gone reports whether the client has left. Where its request just took too
// long, it still listens.
func (x *exchange) gone() bool { return errors.Is(x.r.Context().Err(), context.Canceled) }

// relay writes a stream of events as it comes, with comments where nothing
// does. An error means that it ended before its time, between two events.
func (x *exchange) relay(body io.Reader) error {
	ctx := x.r.Context()
	type chunk struct {
		data []byte
		err  error
	}
	chunks := make(chan chunk)
	go func() {
		// One is read into while the other is written.
		for buffers := [2][]byte{make([]byte, 16<<10), make([]byte, 16<<10)}; ; buffers[0], buffers[1] = buffers[1], buffers[0] {
			n, err := body.Read(buffers[0])
			select {
			case chunks <- chunk{buffers[0][:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	quiet := time.NewTimer(keepAlive)
	defer quiet.Stop()
	between, tail := true, []byte(nil)
	for {
		select {
		case c := <-chunks:
			if len(c.data) > 0 {
				_, _ = x.w.Write(c.data) // the client is gone if this fails
				x.flush()
				tail = last(append(tail, c.data...), 4)
				between = bytes.HasSuffix(tail, []byte("\n\n")) || bytes.HasSuffix(tail, []byte("\r\n\r\n")) || bytes.HasSuffix(tail, []byte("\r\r"))
				quiet.Reset(keepAlive)
			}
			switch {
			case errors.Is(c.err, io.EOF):
				return nil
			case c.err != nil && !between:
				panic(http.ErrAbortHandler)
			case c.err != nil:
				return c.err
			}
		case <-quiet.C:
			if between {
				x.comment()
			}
			quiet.Reset(keepAlive)
		case <-ctx.Done():
			if !between {
				return nil
			}
			return ctx.Err()
		}
	}
}

// last is a copy of the last n bytes.
func last(b []byte, n int) []byte { return bytes.Clone(b[max(0, len(b)-n):]) }
