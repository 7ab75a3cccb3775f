package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-lambda-go/events"
)

// begin starts a streamed answer.
func begin(t *testing.T, method string, h http.HandlerFunc) *events.APIGatewayProxyStreamingResponse {
	t.Helper()
	f, _ := function(h)
	f.Stream = true
	out, err := f.Handle(t.Context(), encode(t, event(method, "/mcp/x")))
	if err != nil {
		t.Fatal(err)
	}
	return out.(*events.APIGatewayProxyStreamingResponse)
}

// TestStream: what is written is on its way at once, header first, and the
// handler is still at work.
func TestStream(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	out := begin(t, "POST", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(http.StatusAccepted)
		w.Header().Set("X-Late", "1")
		for event := range next {
			_, _ = io.WriteString(w, event+"\n")
			_ = http.NewResponseController(w).Flush()
		}
	})
	// What the runtime reads: the header as JSON, eight zeros, the body.
	r := bufio.NewReader(out)
	head, err := r.ReadBytes(0)
	if err != nil || string(bytes.TrimSuffix(head, []byte{0})) !=
		`{"statusCode":202,"multiValueHeaders":{"Content-Type":["text/event-stream"],"Set-Cookie":["a=1","b=2"]}}` {
		t.Fatalf("%s %v", head, err)
	}
	if zeros, err := r.Peek(7); err != nil || string(zeros) != "\x00\x00\x00\x00\x00\x00\x00" {
		t.Fatalf("%q %v", zeros, err)
	}
	_, _ = r.Discard(7)
	for _, event := range []string{"one", "two", "three"} {
		next <- event
		if got, err := r.ReadString('\n'); err != nil || got != event+"\n" {
			t.Fatalf("%q %v", got, err)
		}
	}
	close(next)
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		t.Errorf("%q %v", rest, err)
	}
}

func TestStreamForms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method  string
		handler http.HandlerFunc
		status  int
		body    string
		typ     string
	}{
		"nothing": {"GET", func(http.ResponseWriter, *http.Request) {}, 200, "", ""},
		"early hints": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "no")
		}, 404, "no", ""},
		"sniffed":     {"GET", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<!doctype html>") }, 200, "<!doctype html>", "text/html; charset=utf-8"},
		"head":        {"HEAD", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "text") }, 200, "", "text/plain; charset=utf-8"},
		"head, panic": {"HEAD", func(http.ResponseWriter, *http.Request) { panic("x") }, 500, "", "application/json"},
		"binary":      {"GET", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0xff, 0}) }, 200, "\xff\x00", "application/octet-stream"},
		"no content": {"POST", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
			_, _ = io.WriteString(w, "dropped")
		}, 204, "", ""},
	} {
		status, header, body := read(t, begin(t, c.method, c.handler))
		if status != c.status || body != c.body || header.Get("Content-Type") != c.typ {
			t.Errorf("%s: %d %q %v", name, status, body, header)
		}
	}
}

// TestStreamAborted: an answer that breaks off must not look whole.
func TestStreamAborted(t *testing.T) {
	t.Parallel()
	for _, with := range []any{http.ErrAbortHandler, "a bug"} {
		out := begin(t, "GET", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic(with)
		})
		body, err := io.ReadAll(out.Body)
		if string(body) != "half" || !errors.Is(err, errAborted) {
			t.Errorf("%v: %q %v", with, body, err)
		}
	}
}

// TestClientGone: the handler hears of it, and its writes fail.
func TestClientGone(t *testing.T) {
	t.Parallel()
	ended := make(chan error)
	out := begin(t, "GET", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		<-r.Context().Done()
		_, err := io.WriteString(w, "second")
		ended <- errors.Join(err, context.Cause(r.Context()))
	})
	if _, err := io.ReadFull(out.Body, make([]byte, len("first"))); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, io.ErrClosedPipe) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
