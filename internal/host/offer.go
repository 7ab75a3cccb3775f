package host

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/presets"
)

const (
	// freshWithin is how long a server that runs may take to say what it offers,
	// before what is known of it is said instead.
	freshWithin = 2 * time.Second
	// aheadWithin bounds starting a task where a request waits for that.
	aheadWithin = 5 * time.Second
)

// listed reports whether the method asks for a list of what a server offers.
func listed(method string) bool {
	_, name := mcp.Catalogue{}.List(method)
	return name != ""
}

// offer answers a request for what the server is or offers: a list by the
// server itself if it runs, and otherwise, like what it said when it was
// initialized, from the catalogue. A server of which that is not known is
// started, and waited for.
func (x *exchange) offer() {
	ctx := x.r.Context()
	up, early := x.service.state(ctx, x.Connection)
	if x.Refused != nil {
		up, early = false, false
	}
	if listed(x.m.Method) && up && x.ask() {
		return
	}
	known := x.service.catalogue(ctx, x.Connection)
	if result := known.Answer(x.m, x.version); result != nil {
		x.finishAndStart(mcp.Reply(x.id(), result), early)
		return
	}
	if known.Lacks(x.m.Method) {
		x.lacks("the server")
		return
	}
	x.call()
}

// lacks answers a request for what somebody does not have.
func (x *exchange) lacks(who string) {
	status := http.StatusOK
	if x.version != "" {
		status = http.StatusNotFound // MCP 2026-07-28, Streamable HTTP
	}
	x.finish(status, mcp.Failure(x.id(), mcp.CodeNoMethod, who+" does not offer "+x.m.Method))
}

// ask has the running server answer. It reports false if that did not come in
// time or is no answer, and nothing was written.
func (x *exchange) ask() bool {
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	late := time.AfterFunc(freshWithin, cancel)
	defer late.Stop()
	resp, err := x.send(ctx, x.service.asItIs(x.Connection), http.MethodPost)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	if streamed(resp) {
		if !late.Stop() {
			return false
		}
		x.pass(resp)
		return true
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	// Of the modern era, what it cannot answer has a status of its own.
	answered := resp.StatusCode == http.StatusOK || x.version != "" && (resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusNotFound)
	if m, parseErr := mcp.Parse(body); err != nil || parseErr != nil || !answered || !m.Response() || len(body) > maxAnswer {
		return false
	}
	x.finish(resp.StatusCode, body)
	return true
}

// finishAndStart writes the answer and, if so wanted, has the server started.
// The answer does not wait for that, as far as the client and the platform allow
// it.
func (x *exchange) finishAndStart(answer []byte, start bool) {
	switch {
	case !start:
		x.finish(http.StatusOK, answer)
	case !x.service.Inline:
		x.finish(http.StatusOK, answer)
		x.service.background(func() { x.service.start(x.r.Context(), x.Connection) })
	case x.streams:
		x.event(answer)
		x.service.start(x.r.Context(), x.Connection)
	default:
		x.service.start(x.r.Context(), x.Connection)
		x.finish(http.StatusOK, answer)
	}
}

// start begins a task that nobody waits for yet.
func (s *Service) start(ctx context.Context, c connection.Connection) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), aheadWithin)
	defer cancel()
	if err := s.begin(ctx, c); err != nil {
		s.Logger.WarnContext(ctx, "a task was not started ahead of its first call", "server", c.Server, "connection", c.ID, "err", err)
	}
}

// hosted reports whether the connection's server is one that runs in a task.
func (s *Service) hosted(c connection.Connection) bool {
	server, ok := s.Catalogue.Server(c.Server)
	return ok && server.Server.Registry != presets.RegistryRemote
}

// state says whether the connection's server can be asked now, and otherwise
// whether it should be started before something needs it. One that failed should
// not: it would fail at each list.
func (s *Service) state(ctx context.Context, c connection.Connection) (up, early bool) {
	if !s.hosted(c) {
		return true, false
	}
	t, err := s.Store.TaskOf(ctx, c.Key)
	switch {
	case errors.Is(err, ErrNoTask):
		early = true
	case err != nil:
	case superseded(t, c):
		early = true
	case t.State == TaskReady:
		up = true
	case t.State != TaskFailed:
		early = s.replaceable(t)
	}
	return up, early && !s.OnlyForCalls
}

// running reports whether the connection's server can be asked without being
// started.
func (x *exchange) running() bool {
	up, _ := x.service.state(x.r.Context(), x.Connection)
	return up
}
