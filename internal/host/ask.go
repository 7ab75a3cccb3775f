package host

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/presets"
)

// What a request needs and only its person can give is asked for in the middle
// of the conversation, in the way that the client has declared:
//
//	elicitation.url, modern era     the result input_required; the client calls again (multi round-trip requests)
//	elicitation.url, with sessions  the error -32042; the client calls again
//	signed in, and scopes missing   403 insufficient_scope; the client signs in for more, and calls again
//	none of these                   the result of a failed tool call, which holds the link
//
// The link leads to our own page, which proceeds for that person alone.

// Asker makes a link by which a person is asked. It implements none of the
// checks of who opens it: the page does.
type Asker interface {
	// Ask returns the address of our page. A question that is asked again while it
	// is open has the same one.
	Ask(ctx context.Context, q flow.Question) (url string, err error)
}

// errMissing: a user has no connection of the server that a tool belongs to.
var errMissing = fmt.Errorf("%w: there is none of this server", ErrNotConnected)

// errUnmet: what the person was asked for has not been given yet.
var errUnmet = errors.New("what was asked for was not given yet")

// ScopeError is what a remote server wants beside what was granted. It wraps
// [ErrRemoteScope].
type ScopeError struct{ Scopes []string }

func (e *ScopeError) Error() string {
	if len(e.Scopes) == 0 {
		return ErrRemoteScope.Error()
	}
	return ErrRemoteScope.Error() + ": " + strings.Join(e.Scopes, " ")
}

// Unwrap returns [ErrRemoteScope].
func (e *ScopeError) Unwrap() error { return ErrRemoteScope }

const (
	// metaChallenge is where ChatGPT looks for a challenge in the result of a tool
	// call (OpenAI, Apps SDK, authentication).
	metaChallenge = "mcp/www_authenticate"
	// maxAsked bounds how often a person is asked by one call.
	maxAsked = 5
)

// askable reports whether a request by this method may be answered by a question
// (MCP 2026-07-28, multi round-trip requests).
func askable(method string) bool {
	return method == "tools/call" || method == "prompts/get" || method == "resources/read"
}

// need is what only the person can give: a connection in working order, or, of
// one that works, scopes.
type need struct {
	scope  bool
	scopes []string
}

// needs is what the person has to give so that the error goes away.
func (x *exchange) needs(err error) (need, bool) {
	var scope *ScopeError
	var failed *Failure
	switch {
	case !askable(x.m.Method):
		return need{}, false
	case errors.Is(err, errMissing), errors.Is(err, errUnmet), errors.Is(err, refresh.ErrReconnect), errors.Is(err, task.ErrReconnect):
		return need{}, true
	case errors.As(err, &scope):
		return need{scope: true, scopes: scope.Scopes}, true
	case errors.As(err, &failed): // it may have failed for want of a token
		return x.found(false)
	}
	return need{}, false
}

// found is what the connection's row says that it needs now: of a request that
// failed as one does that was refused, scopes, too.
func (x *exchange) found(refused bool) (need, bool) {
	c, err := x.service.Connections.Get(x.r.Context(), x.Connection.Key)
	if err != nil {
		return need{}, false
	}
	if c.Status == connection.ReconnectNeeded {
		return need{}, true
	}
	lacking := slices.Clone(c.ScopesLost)
	if len(c.Scopes) > 0 { // the provider said what it granted
		lacking = append(lacking, flow.MissingScopes(c.ScopesAsked, c.Scopes)...)
	}
	slices.Sort(lacking)
	return need{scope: true, scopes: slices.Compact(lacking)}, refused && len(lacking) > 0
}

// refuse answers a request that failed, and asks for what it needs.
func (x *exchange) refuse(err error) {
	n, ok := x.needs(err)
	if !ok {
		x.fail(err)
		return
	}
	if errors.Is(err, errUnmet) {
		n, err = x.asked.need(), nil
	}
	x.askFor(n, err, nil)
}

// askFor asks for what the request needs, of which cause tells; nil: nothing more
// than n does. The server's own answer, if there is one, is what a client gets
// that cannot be asked, with the link in it.
func (x *exchange) askFor(n need, cause error, own []byte) {
	text := x.want(n)
	elicits := x.elicits()
	if !elicits && own == nil && x.stepUp(n, text) {
		return
	}
	var url string
	err := errors.New("there is nobody to ask")
	if x.service.Asker != nil {
		url, err = x.service.Asker.Ask(x.r.Context(), x.question(n))
	}
	switch {
	case err != nil:
		x.service.Logger.InfoContext(x.r.Context(), "a person could not be asked", "server", x.Connection.Server, "connection", x.Connection.ID, "err", err)
		x.plain(n, cmp.Or(cause, n.error()), own)
	case elicits && x.version == "":
		id := url[strings.LastIndexByte(url, '/')+1:]
		x.finish(http.StatusOK, (&mcp.Refusal{Code: mcp.CodeURLElicitation, Text: text, Data: map[string]any{
			"elicitations": []any{map[string]string{"mode": "url", "elicitationId": id, "url": url, "message": text}}}}).Answer(x.id()))
	case elicits && x.asked.Asked < maxAsked:
		x.inputRequired(n, url, text)
	default:
		x.link(n, text+" Open "+url+" in a browser, then try again.", own)
	}
}

// error is the need as the error that it comes from.
func (n need) error() error {
	if n.scope {
		return &ScopeError{n.scopes}
	}
	return refresh.ErrReconnect
}

// want says to the person what is wanted.
func (x *exchange) want(n need) string {
	switch title := x.title(); {
	case n.scope && len(n.scopes) > 0:
		return title + " needs more access than was granted: " + strings.Join(n.scopes, ", ") + "."
	case n.scope:
		return title + " needs more access than was granted."
	case x.Connection.ID == "":
		return title + " is not connected."
	default:
		return title + " needs to be connected again: its access has ended."
	}
}

// question is what the person is asked, and the same each time.
func (x *exchange) question(n need) flow.Question {
	q := flow.Question{Tenant: x.Tenant, UserID: x.User, Server: x.Connection.Server, ConnectionID: x.Connection.ID, Scopes: n.scopes}
	mac := hmac.New(sha256.New, x.service.BearerKey)
	fmt.Fprintf(mac, "question %q %q %q %q %q", q.Tenant, q.UserID, q.Server, q.ConnectionID, q.Scopes)
	q.Seed = mac.Sum(nil)
	return q
}

// inputRequired answers a modern client's request with the question.
func (x *exchange) inputRequired(n need, url, text string) {
	c, err := x.describe()
	if err != nil {
		x.fail(err)
		return
	}
	c.Scopes, c.Asked, c.Expires = n.scopes, x.asked.Asked+1, x.service.Now().Add(askTTL).Unix()
	if n.scope {
		c.Since = x.Connection.ConnectedAt.UnixNano()
	}
	result, err := json.Marshal(map[string]any{"resultType": "input_required", "requestState": x.service.sealState(c),
		"inputRequests": map[string]any{askKey: map[string]any{"method": "elicitation/create", "params": map[string]string{"mode": "url", "url": url, "message": text}}}})
	if err != nil {
		panic(err) // it is plain data
	}
	x.finish(http.StatusOK, mcp.Reply(x.id(), result))
}

// elicits reports whether the client has declared that it shows its person a
// link. One that declared elicitation alone shows forms only.
func (x *exchange) elicits() bool {
	raw, at, path := x.m.Raw, x.m.Params, []string{"_meta", mcp.MetaCapabilities}
	if x.version == "" {
		if x.session == nil {
			return false
		}
		raw, at, path = x.session.params, mcp.Span{End: len(x.session.params)}, []string{"capabilities"}
	}
	found, err := mcp.Lookup(raw, at, append(path, "elicitation", "url")...)
	return err == nil && found.Present() && raw[found.Start] == '{'
}

// stepUp answers a client that has signed in with a challenge for more scopes,
// where that can help and HTTP still allows it (MCP, authorization, scope
// challenge).
func (x *exchange) stepUp(n need, text string) bool {
	s := x.service
	server, _ := s.Catalogue.Server(x.Connection.Server)
	known := func(scope string) bool {
		return slices.ContainsFunc(server.OAuthScopes, func(o presets.OAuthScope) bool { return o.Scope == scope })
	}
	more := slices.DeleteFunc(slices.Clone(n.scopes), func(scope string) bool { return slices.Contains(x.Scopes, scope) || !known(scope) })
	if !s.StepUp || x.Challenge == nil || x.Application == "" || x.Server == "" || x.begun || len(more) == 0 {
		return false
	}
	x.w.Header().Set("WWW-Authenticate", x.challenge(n))
	x.finish(http.StatusForbidden, mcp.Failure(x.id(), mcp.CodeServer, text))
	return true
}
