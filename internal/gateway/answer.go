package gateway

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
)

// dropped are headers of an answer that API Gateway makes itself.
var dropped = []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Trailer", "Content-Length"}

// answerHeader is a copy of what a handler set, with the type that net/http
// would have given the body.
func answerHeader(h http.Header, body []byte) http.Header {
	h = h.Clone()
	for _, name := range dropped {
		h.Del(name)
	}
	if len(body) > 0 && h.Get("Content-Type") == "" {
		h.Set("Content-Type", http.DetectContentType(body))
	}
	return h
}

// bodyless reports whether HTTP has no body for such an answer.
func bodyless(method string, status int) bool {
	return method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
}

// buffer is the answer that is sent when it is whole.
type buffer struct {
	header http.Header
	sent   http.Header // what the header was when the status was written
	status int
	body   bytes.Buffer
}

func (b *buffer) Header() http.Header { return b.header }

func (b *buffer) WriteHeader(status int) {
	if b.status != 0 || status < 200 { // informational answers are not passed on
		return
	}
	b.status, b.sent = status, b.header.Clone()
}

func (b *buffer) Write(p []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	return b.body.Write(p)
}

// Flush sends nothing; it settles the header, as net/http's does.
func (b *buffer) Flush() { b.WriteHeader(http.StatusOK) }

func (b *buffer) response(method string) events.APIGatewayProxyResponse {
	b.WriteHeader(http.StatusOK)
	h := answerHeader(b.sent, b.body.Bytes())
	out := events.APIGatewayProxyResponse{StatusCode: b.status, MultiValueHeaders: h}
	if bodyless(method, b.status) {
		return out
	}
	if utf8.Valid(b.body.Bytes()) && h.Get("Content-Encoding") == "" {
		out.Body = b.body.String()
	} else {
		out.Body, out.IsBase64Encoded = base64.StdEncoding.EncodeToString(b.body.Bytes()), true
	}
	return out
}
