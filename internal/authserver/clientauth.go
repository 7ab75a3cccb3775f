package authserver

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/lanyardhq/lanyard/internal/token"
)

// badClient is the answer to a client that did not prove itself.
func badClient(description string) *Error {
	return &Error{Status: http.StatusUnauthorized, Code: invalidClient, Description: description}
}

// authenticate returns the client of a request to the token endpoint, or to that
// of revocation, after it has proved itself (RFC 6749 §2.3). A public client only
// says who it is: its code has a verifier, its refresh token is rotated.
func (s *Server) authenticate(ctx context.Context, form url.Values, authorization string) (Client, error) {
	if problem := once(form); problem != nil {
		return Client{}, problem
	}
	id, secret, assertion := form.Get("client_id"), token.Secret(form.Get("client_secret")), form.Get("client_assertion")
	if authorization != "" {
		user, password, ok := basic(authorization)
		switch {
		case !ok:
			return Client{}, badClient("the Authorization header is no Basic credential of a client")
		case secret != "" || assertion != "" || id != "" && id != user:
			return Client{}, refuse(invalidRequest, "the client proves itself in more than one way; use one")
		}
		id, secret = user, password
	}
	if secret != "" && assertion != "" {
		return Client{}, refuse(invalidRequest, "the client proves itself in more than one way; use one")
	}
	if assertion != "" {
		return s.byAssertion(ctx, id, assertion, form.Get("client_assertion_type"))
	}
	if id == "" {
		return Client{}, badClient("the client does not say who it is: client_id is missing")
	}
	c, err := s.client(ctx, id, true)
	switch {
	case errors.Is(err, ErrNoClient):
		return Client{}, badClient("there is no such client, or no more; register anew")
	case err != nil:
		return Client{}, err
	// Either way to send a secret is taken: clients are not exact about which one
	// they registered.
	case c.secretive() && token.Matches(secret, c.SecretHash):
		return c, nil
	case c.AuthMethod == AuthNone && secret == "":
		return c, nil
	}
	return Client{}, badClient("the client did not prove itself as it registered to")
}

// basic reads the header of HTTP Basic, of which OAuth has both parts
// form-encoded (RFC 6749 §2.3.1).
func basic(authorization string) (id string, secret token.Secret, ok bool) {
	scheme, rest, _ := strings.Cut(authorization, " ")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
	user, password, colon := strings.Cut(string(raw), ":")
	if !strings.EqualFold(scheme, "Basic") || err != nil || !colon {
		return "", "", false
	}
	id, err = url.QueryUnescape(user)
	if err != nil {
		return "", "", false
	}
	password, err = url.QueryUnescape(password)
	return id, token.Secret(password), err == nil && id != ""
}
