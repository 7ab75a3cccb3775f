package gateway

import (
	"context"
	"io"
	"net/http"
	"sync"

	"github.com/aws/aws-lambda-go/events"
)

// stream is an answer that is sent while it is made. Each write is on its way
// when it returns, so that there is nothing to flush but the header.
type stream struct {
	method string
	header http.Header
	pipe   *io.PipeWriter

	once   sync.Once
	status int
	sent   http.Header
	// begun is closed when status and header are settled.
	begun chan struct{}
}

func (s *stream) Header() http.Header { return s.header }

func (s *stream) WriteHeader(status int) {
	if status >= 200 { // informational answers are not passed on
		s.begin(status, nil)
	}
}

func (s *stream) begin(status int, body []byte) {
	s.once.Do(func() {
		s.status, s.sent = status, answerHeader(s.header, body)
		close(s.begun)
	})
}

func (s *stream) Write(p []byte) (int, error) {
	s.begin(http.StatusOK, p)
	if bodyless(s.method, s.status) {
		return len(p), nil
	}
	return s.pipe.Write(p)
}

// fail answers in place of a handler that has not begun to; it reports false if
// it has. It does not look at the header that the handler may be writing to.
func (s *stream) fail(status int, text string) (done bool) {
	s.once.Do(func() {
		done = true
		s.status, s.sent = status, problemHeader()
		close(s.begun)
	})
	if done && s.method != http.MethodHead {
		_, _ = io.WriteString(s.pipe, text) // the client has gone if this fails
	}
	return done
}

// Flush implements [http.Flusher].
func (s *stream) Flush() { s.begin(http.StatusOK, nil) }

// streamed is the readers' end: closing it, because the client has gone, ends
// the request.
type streamed struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (s streamed) Close() error {
	s.cancel()
	return s.PipeReader.Close()
}

// stream answers with what the handler writes, from its first write on. The
// request ends by itself a little before the invocation must, so that the
// client gets a proper end.
func (f *Function) stream(ctx context.Context, ev *events.APIGatewayProxyRequest) (*events.APIGatewayProxyStreamingResponse, error) {
	ctx, cancel := ending(ctx)
	r, err := Request(ctx, ev)
	if err != nil {
		cancel()
		return nil, err
	}
	reader, writer := io.Pipe()
	s := &stream{method: r.Method, header: http.Header{}, pipe: writer, begun: make(chan struct{})}
	// A handler that does not notice the end of its request is not waited for.
	stop := lastMoment(ctx, func() {
		s.fail(http.StatusGatewayTimeout, late)
		_ = writer.Close()
	})
	go func() {
		defer cancel()
		defer stop()
		if p := f.serve(s, r); p != nil && !s.fail(http.StatusInternalServerError, failed) {
			_ = writer.CloseWithError(errAborted)
			return
		}
		s.begin(http.StatusOK, nil)
		_ = writer.Close()
	}()
	<-s.begun
	return &events.APIGatewayProxyStreamingResponse{StatusCode: s.status, MultiValueHeaders: s.sent, Body: streamed{reader, cancel}}, nil
}
