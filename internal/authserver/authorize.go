package authserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/token"
)

// maxState is how long a client's state may be, in bytes.
const maxState = 2 << 10

// challengeForm is that of a code_challenge by S256: 256 bits in base64url (RFC
// 7636 §4.2). Nothing of another length can ever match.
var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// Authorize checks an authorization request and binds it to the browser. Its
// errors are an [*Error], or that of a store.
//
// The client and its redirect URI come first: before both are found good, no
// error goes anywhere but to the person (RFC 6749 §4.1.2.1).
func (s *Server) Authorize(ctx context.Context, q url.Values, browser string) (Request, error) {
	for _, name := range []string{"client_id", "redirect_uri"} {
		if len(q[name]) > 1 {
			return Request{}, refuse(invalidRequest, "the client named itself or its address twice (%s)", name)
		}
	}
	c, err := s.client(ctx, q.Get("client_id"), false)
	if errors.Is(err, ErrNoClient) {
		return Request{}, &Error{Status: http.StatusBadRequest, Code: invalidClient, Description: err.Error()}
	}
	if err != nil {
		return Request{}, err
	}
	redirect, problem := s.redirect(c, q.Get("redirect_uri"))
	if problem != nil {
		return Request{}, problem
	}
	now := s.Now()
	r := Request{
		ID: token.NewID("req"), ClientID: c.ID, RedirectURI: redirect, Browser: browser,
		Status: Asked, CreatedAt: now, ExpiresAt: now.Add(requestLife),
	}
	if state := q["state"]; len(state) == 1 && len(state[0]) <= maxState {
		r.State = state[0]
	}
	if problem := s.read(q, &r); problem != nil {
		// RFC 9700 §4.11.2: a client that nobody here knows would make us lead from a
		// good address to its own, without a click.
		if c.Kind != Registered && !onThisMachine(redirect) {
			return Request{}, problem
		}
		problem.Redirect = s.answer(redirect, r.State, url.Values{"error": {problem.Code}, "error_description": {problem.Description}})
		return Request{}, problem
	}
	if err := s.Store.AddRequest(ctx, r); err != nil {
		return Request{}, fmt.Errorf("keep the authorization request: %w", err)
	}
	return r, nil
}

// read takes from an authorization request what does not concern who asks.
func (s *Server) read(q url.Values, r *Request) *Error {
	if problem := once(q); problem != nil {
		return problem
	}
	switch {
	case q.Get("request") != "":
		return refuse("request_not_supported", "request objects are not supported; send plain parameters")
	case q.Get("request_uri") != "":
		return refuse("request_uri_not_supported", "request objects are not supported; send plain parameters")
	case q.Get("response_type") == "":
		return refuse(invalidRequest, "response_type is missing; it has to be code")
	case q.Get("response_type") != "code":
		return refuse("unsupported_response_type", "response_type has to be code")
	case q.Get("response_mode") != "" && q.Get("response_mode") != "query":
		return refuse(invalidRequest, "response_mode has to be query")
	case len(q.Get("state")) > maxState:
		return refuse(invalidRequest, "state is longer than %d bytes", maxState)
	case q.Get("code_challenge") == "":
		return refuse(invalidRequest, "code_challenge is missing: PKCE is required")
	case q.Get("code_challenge_method") != "S256":
		return refuse(invalidRequest, "code_challenge_method has to be S256")
	case !challengeForm.MatchString(q.Get("code_challenge")):
		return refuse(invalidRequest, "code_challenge is none of S256: it has 43 characters of base64url")
	case slices.Contains(strings.Fields(q.Get("prompt")), "none"):
		return refuse("interaction_required", "a person has to be asked: prompt cannot be none")
	}
	t, problem := s.target(q["resource"])
	if problem != nil {
		return problem
	}
	r.Challenge = q.Get("code_challenge")
	r.Resource, r.Tenant, r.Server = t.resource, t.tenant, t.server
	r.Scopes = s.granted(t.server, q.Get("scope"))
	return nil
}
