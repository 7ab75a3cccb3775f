package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// Catalogue knows the servers.
type Catalogue interface {
	Server(name string) (presets.Server, bool)
	Servers() []presets.Server
}

// Server is the authorization server.
type Server struct {
	Store     Store
	Catalogue Catalogue
	// BaseURL is the public URL, without a slash at its end; it is the issuer.
	BaseURL string
	// Redirects are the redirect URIs with a scheme of their own that clients may
	// have; each is matched exactly.
	Redirects []string
	// HTTP fetches what clients publish; nil: a client whose transport reaches
	// public addresses only.
	HTTP *http.Client
	// AllowLoopback lets it reach this machine, too.
	AllowLoopback bool
	Now           func() time.Time
	Logger        *slog.Logger
}

// Error is an answer in the words of OAuth (RFC 6749 §4.1.2.1, §5.2; RFC 7591
// §3.2.2).
type Error struct {
	Status      int // of HTTP, where it is not a redirect
	Code        string
	Description string
	// Redirect, where it is set, is where the browser takes the error, in its
	// parameters. Where it is not, the error is shown to the person: the client or
	// its redirect URI was not found good.
	Redirect string
}

func (e *Error) Error() string { return e.Description }

// User is a person who is signed in.
type User struct {
	Tenant, ID string
	// Servers are the only ones that their session is for; none: all.
	Servers []string
}

// Answer is that of the token endpoint (RFC 6749 §5.1).
type Answer struct {
	AccessToken  token.Secret
	RefreshToken token.Secret
	ExpiresIn    time.Duration
	Scopes       []string
}

var errSkeleton = errors.New("skeleton")

// Authorize checks an authorization request and binds it to the browser. Its
// errors are an [*Error], or that of a store.
func (s *Server) Authorize(ctx context.Context, q url.Values, browser string) (Request, error) {
	return Request{}, errSkeleton
}

// Request returns a request that is under way in that browser, and its client.
// ErrNoRequest of one that is not there, expired, or another browser's: nobody
// learns which.
func (s *Server) Request(ctx context.Context, id, browser string) (Request, Client, error) {
	return Request{}, Client{}, errSkeleton
}

// Remembered reports whether the user has allowed the client the same before, and
// need not be asked again: never a client whose redirect any program of the
// machine could take.
func (s *Server) Remembered(ctx context.Context, r Request, c Client, u User) (bool, error) {
	return false, errSkeleton
}

// Allow is the person's consent: it remembers it, and with it the flow that
// makes the connection, or the connection that was chosen.
func (s *Server) Allow(ctx context.Context, id, browser string, u User, flowID, connectionID string) (Request, error) {
	return Request{}, errSkeleton
}

// Finish mints the code of a request that was allowed by that user, and returns
// where the browser takes it.
func (s *Server) Finish(ctx context.Context, id, browser string, u User, connectionID string) (string, error) {
	return "", errSkeleton
}

// Deny ends a request and returns where the browser takes the refusal.
func (s *Server) Deny(ctx context.Context, id, browser string) (string, error) {
	return "", errSkeleton
}

// Token is the token endpoint: form is the request's body, authorization its
// header of that name.
func (s *Server) Token(ctx context.Context, form url.Values, authorization string) (Answer, error) {
	return Answer{}, errSkeleton
}

// Revoke is the revocation endpoint (RFC 7009): either token ends the whole
// grant. A token that is none succeeds.
func (s *Server) Revoke(ctx context.Context, form url.Values, authorization string) error {
	return errSkeleton
}

// Register is the registration endpoint (RFC 7591). viewer is whose address it
// came from, which bounds how many come from one.
func (s *Server) Register(ctx context.Context, body []byte, viewer string) (json.RawMessage, error) {
	return nil, errSkeleton
}

// Check returns the grant of an access token that is good at the resource, which
// is the exact URL of an endpoint; else ErrNoGrant.
func (s *Server) Check(ctx context.Context, bearer token.Secret, resource string) (Grant, error) {
	return Grant{}, errSkeleton
}

// Metadata is the document of RFC 8414; openID adds what OpenID Connect
// Discovery wants beside.
func (s *Server) Metadata(openID bool) json.RawMessage { return nil }

// ResourceMetadata is the document of RFC 9728 of the endpoint at a path, such as
// /mcp/slack or /t/acme/mcp/slack; false: nothing stands there.
func (s *Server) ResourceMetadata(path string) (json.RawMessage, bool) { return nil, false }

// Endpoint is what stands at the path of an MCP endpoint: server "" is all
// servers of a person.
func (s *Server) Endpoint(path string) (tenant, server string, ok bool) { return "", "", false }

// Challenge is what WWW-Authenticate says to whoever comes to an endpoint without
// a good token (RFC 9728 §5.1), code being empty where there was none, else
// invalid_token or insufficient_scope.
func (s *Server) Challenge(path, code, description string, scopes []string) string { return "" }

// Accepts reports whether a bearer has the form of one of our access tokens.
func Accepts(bearer token.Secret) bool { return false }
