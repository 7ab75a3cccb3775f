package host

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Where the process that serves a connection has no way out to remote servers,
// it has another do what it would do itself. The answer comes whole: an endpoint
// whose answers are streamed is served by that other process.

// maxRelayed bounds a request or an answer on its way, in bytes: an invocation
// of Lambda carries 6 MB, in which a body takes four thirds of its size.
const maxRelayed = 4 << 20

// relayed is a request on its way to whoever can reach the remote server.
type relayed struct {
	Connection connection.Key `json:"connection"`
	Method     string         `json:"method"`
	Header     http.Header    `json:"header"`
	Body       []byte         `json:"body,omitempty"`
}

// relayedAnswer is the way back: an answer, or why there is none.
type relayedAnswer struct {
	Status int         `json:"status,omitempty"`
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"`
	// Error names one of relayedErrors, Detail is its whole text.
	Error      string              `json:"error,omitempty"`
	Detail     string              `json:"detail,omitempty"`
	Scopes     []string            `json:"scopes,omitempty"`
	Failure    *connection.Failure `json:"failure,omitempty"`
	RetryAfter time.Duration       `json:"retry_after,omitempty"`
}

// relayedErrors keep their identity on the way, the first that fits. Others are
// told to the log over there.
var relayedErrors = []struct {
	name string
	err  error
}{
	{"remote", ErrRemote},
	{"scope", ErrRemoteScope},
	{"lost", ErrLost},
	{"not_hosted", ErrNotHosted},
	{"reconnect", refresh.ErrReconnect},
	{"pending", refresh.ErrPending},
	{"busy", refresh.ErrBusy},
	{"not_found", connection.ErrNotFound},
	{"unavailable", connection.ErrUnavailable},
	{"audit", vault.ErrAudit},
}

// relayTransport has [Service.Relay] send a connection's requests.
type relayTransport struct {
	service *Service
	conn    connection.Connection
}

// RoundTrip implements [http.RoundTripper].
func (tr relayTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	body, err := whole(req)
	if err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	if len(body) > maxRelayed {
		return nil, fmt.Errorf("%w: a request of more than %d bytes does not reach it", ErrRemote, maxRelayed)
	}
	header := forRemote(req.Header)
	for _, name := range []string{mcp.SessionHeader, task.ClientHeader, task.SessionHeader} {
		if v := req.Header.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	call, err := json.Marshal(relayed{Connection: tr.conn.Key, Method: req.Method, Header: header, Body: body})
	if err != nil {
		return nil, err
	}
	data, err := tr.service.Relay(ctx, call)
	if err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	var a relayedAnswer
	if json.Unmarshal(data, &a) != nil {
		return nil, errors.New("what came back of a remote server is not the JSON that was expected")
	}
	if a.Error != "" {
		return nil, a.err()
	}
	if a.Header == nil {
		a.Header = http.Header{}
	}
	return &http.Response{StatusCode: a.Status, Header: a.Header, ContentLength: int64(len(a.Body)), Body: io.NopCloser(bytes.NewReader(a.Body))}, nil
}

func (a relayedAnswer) err() error {
	if a.Failure != nil {
		return &refresh.Unavailable{Failure: *a.Failure, RetryAfter: a.RetryAfter}
	}
	for _, k := range relayedErrors {
		switch {
		case k.name == a.Error && k.err == ErrRemoteScope:
			return &ScopeError{a.Scopes}
		case k.name != a.Error:
		case strings.Contains(a.Detail, k.err.Error()):
			return named{k.err, a.Detail}
		default:
			return k.err
		}
	}
	return errors.New("the request to a remote server failed; the log of whoever sent it says why")
}

// named is a known error in the words that it had elsewhere.
type named struct {
	error
	text string
}

func (n named) Error() string { return n.text }
func (n named) Unwrap() error { return n.error }

// ServeRelayed does what another process asks for by [Service.Relay]. What
// carries the call proves who asks.
func (s *Service) ServeRelayed(ctx context.Context, call []byte) ([]byte, error) {
	var r relayed
	if json.Unmarshal(call, &r) != nil {
		return nil, errors.New("the call is not the JSON that was expected")
	}
	a, err := s.serveRelayed(ctx, r)
	if err != nil {
		a = s.relayedError(ctx, r, err)
	}
	return json.Marshal(a)
}

func (s *Service) relayedError(ctx context.Context, r relayed, err error) relayedAnswer {
	var down *refresh.Unavailable
	if errors.As(err, &down) {
		return relayedAnswer{Error: "token_unavailable", Failure: &down.Failure, RetryAfter: down.RetryAfter}
	}
	for _, k := range relayedErrors {
		if !errors.Is(err, k.err) {
			continue
		}
		a := relayedAnswer{Error: k.name}
		// Of other causes than these, the words are for the log.
		if k.err == ErrRemote || k.err == refresh.ErrReconnect {
			a.Detail = err.Error()
		}
		if scope := (*ScopeError)(nil); errors.As(err, &scope) {
			a.Scopes = scope.Scopes
		}
		return a
	}
	s.Logger.ErrorContext(ctx, "a request to a remote server failed", "connection", r.Connection.ID, "err", err)
	return relayedAnswer{Error: "internal"}
}

func (s *Service) serveRelayed(ctx context.Context, r relayed) (a relayedAnswer, err error) {
	c, err := s.connection(ctx, vault.Caller{Tenant: r.Connection.Tenant, Connection: r.Connection.ID, Actor: "relay"}, r.Connection)
	if err != nil {
		return a, err
	}
	server, ok := s.remote(c)
	if !ok {
		return a, fmt.Errorf("%w: %s", ErrNotHosted, c.Server)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, "https://remote.invalid/mcp", bytes.NewReader(r.Body))
	if err != nil {
		return a, err
	}
	req.Header = r.Header
	if req.Header == nil {
		req.Header = http.Header{}
	}
	resp, err := remoteTransport{s, c, server}.RoundTrip(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRelayed+1))
	switch {
	case err != nil:
		return a, cmp.Or(ctx.Err(), ErrLost)
	case len(body) > maxRelayed:
		return a, fmt.Errorf("%w: its answer has more than %d bytes", ErrRemote, maxRelayed)
	}
	return relayedAnswer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}
