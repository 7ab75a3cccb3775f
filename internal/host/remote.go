package host

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// Errors of remote servers.
var (
	// ErrRemote wraps why a remote server gave no answer of use.
	ErrRemote = errors.New("the remote server cannot be used")
	// ErrRemoteScope: what the person granted is not enough for what was asked.
	ErrRemoteScope = errors.New("the remote server wants more access than was granted")
)

const (
	// remoteTTL is how long an access token should live that is sent to a remote
	// server: longer than a call takes to arrive.
	remoteTTL = time.Minute
	// remoteTimeout bounds an answer, its stream included.
	remoteTimeout = 15 * time.Minute
	// maxRemoteAnswer bounds an answer that is no stream, maxRemoteFailure the body
	// of one that failed, in bytes.
	maxRemoteAnswer  = 64 << 20
	maxRemoteFailure = 1 << 20
)

// remote is the preset of the connection's server, if that runs elsewhere.
func (s *Service) remote(c connection.Connection) (presets.Server, bool) {
	server, ok := s.Catalogue.Server(c.Server)
	return server, ok && server.Remote()
}

// upstream is where the requests of the connection's clients go.
func (s *Service) upstream(c connection.Connection) http.RoundTripper {
	server, ok := s.remote(c)
	switch {
	case !ok:
		return transport{service: s, conn: c}
	case s.Relay != nil:
		return relayTransport{s, c}
	}
	return remoteTransport{s, c, server}
}

// remoteTransport sends requests to a connection's remote server, with the
// provider's access token in place of what the client has shown us.
//
// A client of the era that has sessions knows ours. The server's own is kept in
// this process alone: where it is not known, one is begun with what the client
// said at initialize, as a runner does for a server that was started anew.
type remoteTransport struct {
	service *Service
	conn    connection.Connection
	server  presets.Server
}

var _ http.RoundTripper = remoteTransport{}

// remoteRequest is one request, as often as it has to be sent.
type remoteRequest struct {
	method string
	header http.Header
	body   []byte
	caller vault.Caller
}

// RoundTrip implements [http.RoundTripper].
func (tr remoteTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	body, err := whole(req)
	if err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	r := remoteRequest{method: req.Method, header: forRemote(req.Header), body: body, caller: vault.Caller{
		Tenant: tr.conn.Tenant, Connection: tr.conn.ID, Actor: actor(cmp.Or(req.Header.Get(task.ClientHeader), "lanyard")),
	}}
	if opens := req.Header.Get(task.SessionHeader); opens != "" {
		return tr.inSession(ctx, r, req.Header.Get(mcp.SessionHeader), opens)
	}
	// Without a session, or in one that the caller keeps itself.
	if id := req.Header.Get(mcp.SessionHeader); id != "" {
		r.header.Set(mcp.SessionHeader, id)
	}
	resp, err := tr.exchange(ctx, r)
	if err != nil {
		return nil, err
	}
	id := resp.Header.Get(mcp.SessionHeader)
	if resp, err = tr.judged(ctx, resp); err == nil && id != "" {
		resp.Header.Set(mcp.SessionHeader, id)
	}
	return resp, err
}

// forRemote are those of a client's headers that are for its server.
func forRemote(from http.Header) http.Header {
	out := http.Header{"User-Agent": {"lanyard"}}
	for name, values := range from {
		switch name = http.CanonicalHeaderKey(name); {
		case name == mcp.SessionHeader:
		case name == "Accept", name == "Content-Type", name == "Last-Event-Id", strings.HasPrefix(name, "Mcp-"):
			out[name] = values
		}
	}
	if out.Get("Accept") == "" {
		out.Set("Accept", "application/json, text/event-stream")
	}
	return out
}

// remoteTries is how often a request is sent whose token is not accepted: each
// time with another one, since a token may have been renewed again meanwhile.
const remoteTries = 3

// exchange sends the request, and again if the server does not accept the token
// and there is another: a request that was answered with 401 was not processed.
func (tr remoteTransport) exchange(ctx context.Context, r remoteRequest) (*http.Response, error) {
	s := tr.service
	access, err := s.remotes.token(ctx, tr, r.caller)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		resp, err := tr.send(ctx, r, access)
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			return resp, err
		}
		resp.Body.Close()
		if try == remoteTries {
			return nil, fmt.Errorf("%w: it accepts no access token, not even one that was renewed just now", ErrRemote)
		}
		refused := access.Hash()
		if access, err = s.remotes.doubt(ctx, tr, r.caller, access); err != nil {
			return nil, err
		}
		if access.Hash() == refused {
			return nil, fmt.Errorf("%w: it does not accept the access token, and there is no other", ErrRemote)
		}
	}
}

// send sends the request once. What cannot be sent says so; whatever else fails
// may have arrived.
func (tr remoteTransport) send(ctx context.Context, r remoteRequest, access token.Access) (*http.Response, error) {
	s := tr.service
	in, err := s.inputs(tr.conn, tr.server)
	if err != nil {
		return nil, tr.unusable(ctx, err)
	}
	endpoint, err := tr.server.Endpoint(in)
	if err == nil {
		err = provider.CheckURL(endpoint, s.AllowLoopback)
	}
	if err != nil {
		return nil, tr.unusable(ctx, err)
	}
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	var reached atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { reached.Store(true) }})
	req, err := http.NewRequestWithContext(traced, r.method, endpoint.String(), bytes.NewReader(r.body))
	if err != nil {
		cancel()
		return nil, tr.unusable(ctx, errors.New("the request cannot be built"))
	}
	req.Header = r.header.Clone()
	if t := access.Tokens[""].AccessToken; t != "" {
		req.Header.Set("Authorization", "Bearer "+t.Reveal())
	} else if tr.server.AuthType == presets.TypeOAuth {
		cancel()
		return nil, tr.unusable(ctx, errors.New("the grant has no access token of its own"))
	}
	resp, err := s.remotes.http(s.AllowLoopback).RoundTrip(req) // which follows no redirect
	switch {
	case err == nil:
		resp.Body = &counted{ReadCloser: resp.Body, done: cancel}
		if r.method == http.MethodPost && streamed(resp) {
			resp.Body = &answered{ReadCloser: resp.Body}
		}
		return resp, nil
	case req.Context().Err() != nil:
		err = req.Context().Err()
	case reached.Load():
		s.Logger.WarnContext(ctx, "a request to a remote server was lost", "server", tr.server.Name, "connection", tr.conn.ID, "err", err)
		err = ErrLost
	default:
		err = tr.unusable(ctx, err)
	}
	cancel()
	return nil, err
}

// unusable: the cause may name addresses, so it is for the log.
func (tr remoteTransport) unusable(ctx context.Context, cause error) error {
	tr.service.Logger.WarnContext(ctx, "a remote server cannot be reached", "server", tr.server.Name, "connection", tr.conn.ID, "err", cause)
	if errors.Is(cause, provider.ErrForbiddenAddress) {
		return fmt.Errorf("%w: its address is not one on the public internet", ErrRemote)
	}
	return fmt.Errorf("%w: it cannot be reached", ErrRemote)
}

// judged is an answer as its client may have it, or an error in our words. Of
// the server's headers the client gets none but those that describe the body.
func (tr remoteTransport) judged(ctx context.Context, resp *http.Response) (*http.Response, error) {
	header := http.Header{}
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if v := resp.Header.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	challenge := resp.Header.Values("Www-Authenticate")
	resp.Header, resp.Trailer, resp.ContentLength = header, nil, -1
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		if kind != "text/event-stream" {
			resp.Body = &bounded{ReadCloser: resp.Body, left: maxRemoteAnswer}
		}
		return resp, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRemoteFailure))
	if scope, more := wantsScope(challenge); resp.StatusCode == http.StatusForbidden && more {
		return nil, &ScopeError{scope}
	}
	// What says in MCP's own words what is wrong is for the client.
	failed := resp.StatusCode >= 400 && resp.StatusCode < 600
	if m, err := mcp.Parse(body); failed && err == nil && m.Response() && json.Valid(body) && kind == "application/json" {
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		return resp, nil
	}
	switch {
	case resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusNotFound:
		resp.Body, resp.ContentLength = http.NoBody, 0
		return resp, nil
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, fmt.Errorf("%w: it sends elsewhere, which is not followed: its preset must name the endpoint itself", ErrRemote)
	case resp.StatusCode == http.StatusTooManyRequests:
		return nil, fmt.Errorf("%w: it asks for fewer requests", ErrRemote)
	}
	tr.service.Logger.InfoContext(ctx, "a remote server refused a request", "server", tr.server.Name, "connection", tr.conn.ID, "status", resp.StatusCode)
	return nil, fmt.Errorf("%w: it answered %d", ErrRemote, resp.StatusCode)
}

// maxScopes bounds how many scopes are taken from a challenge, maxScope each, in
// bytes.
const (
	maxScopes = 32
	maxScope  = 256
)

// wantsScope reads a challenge for insufficient_scope (RFC 6750 §3.1) and
// returns the scopes that it asks for.
func wantsScope(challenges []string) (scopes []string, more bool) {
	all := strings.Join(challenges, ", ")
	if !strings.Contains(all, "insufficient_scope") {
		return nil, false
	}
	_, rest, ok := strings.Cut(all, `scope="`)
	text, _, closed := strings.Cut(rest, `"`)
	if !ok || !closed {
		return nil, true
	}
	for scope := range strings.FieldsSeq(text) {
		if token := !strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }); token && len(scope) <= maxScope && len(scopes) < maxScopes {
			scopes = append(scopes, scope)
		}
	}
	return scopes, true
}

// bounded fails where a body is too large to be an answer.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the remote server's answer is too large")
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// doubtOf is what is known of a token that a remote server refused.
func doubtOf(refused token.Access, quiet bool) refresh.Doubt {
	return refresh.Doubt{Refused: refused.Hash(), Quiet: quiet}
}
