package authserver

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// How long things last.
const (
	requestLife = 30 * time.Minute
	codeLife    = time.Minute
	accessLife  = time.Hour
	// refreshLife is how long a client may rest; grantLife is the end however
	// busy it is.
	refreshLife = 90 * 24 * time.Hour
	grantLife   = 365 * 24 * time.Hour
	consentLife = 90 * 24 * time.Hour
)

// Catalogue knows the servers.
type Catalogue interface {
	Server(name string) (presets.Server, bool)
	Servers() []presets.Server
}

// Server is the authorization server. It must not be copied once it is used.
type Server struct {
	Store     Store
	Catalogue Catalogue
	// BaseURL is the public URL, without a slash at its end; it is the issuer.
	BaseURL string
	// Redirects are the redirect URIs with a scheme of their own that clients may
	// have; each is matched exactly. See [DefaultRedirects].
	Redirects []string
	// HTTP fetches what clients publish; nil: a client whose transport reaches
	// public addresses only.
	HTTP *http.Client
	// AllowLoopback lets it reach this machine, too.
	AllowLoopback bool
	Now           func() time.Time
	// Logger may be nil: silence.
	Logger *slog.Logger

	published published
}

func (s *Server) log() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

// The codes of errors: RFC 6749 §4.1.2.1 and §5.2, RFC 7591 §3.2.2, RFC 8707 §2,
// OpenID Connect Core §3.1.2.6.
const (
	invalidRequest        = "invalid_request"
	invalidClient         = "invalid_client"
	invalidGrant          = "invalid_grant"
	invalidScope          = "invalid_scope"
	invalidTarget         = "invalid_target"
	invalidRedirectURI    = "invalid_redirect_uri"
	invalidClientMetadata = "invalid_client_metadata"
	accessDenied          = "access_denied"
	unavailable           = "temporarily_unavailable"
)

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

// refuse makes an error of status 400. RFC 6749 allows neither quotes nor
// backslashes nor anything beyond ASCII in a description, so that what a client
// wrote has no place in one.
func refuse(code, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Description: fmt.Sprintf(format, args...)}
}

// tooMany says that no more are let in for now. OAuth has no code for that but
// the one of a server that is overloaded.
func tooMany(format string, args ...any) *Error {
	return &Error{Status: http.StatusTooManyRequests, Code: unavailable, Description: fmt.Sprintf(format, args...)}
}

// once refuses parameters that stand there twice (RFC 6749 §3.1, §3.2): which of
// the two counts, others might decide in another way. A resource may be repeated
// (RFC 8707 §2).
func once(q url.Values) *Error {
	for name, values := range q {
		if name != "resource" && len(values) > 1 {
			return refuse(invalidRequest, "a parameter is repeated; send each once")
		}
	}
	return nil
}

// User is a person who is signed in.
type User struct {
	Tenant, ID string
	// Servers are the only ones that their session is for; none: all.
	Servers []string
}

// Answer is that of the token endpoint (RFC 6749 §5.1). Every client gets a
// refresh token, also one that did not register for it: MCP clients count on it.
type Answer struct {
	AccessToken  token.Secret
	RefreshToken token.Secret
	ExpiresIn    time.Duration
	Scopes       []string
}
