// Package web is the HTTP face of Lanyard: the calls, the pages, and the one
// place where an error becomes a status, a code and words.
//
// Each of the four functions is a struct of what it needs, with a Mount: on a
// laptop one server mounts all of them, on AWS each has its own Lambda. What a
// function cannot do, its struct has no field for: [Connect] holds no vault.
//
// Who asks is a [Principal]: a tenant's API key, or a page session in the
// browser that it was given to. Requests that a browser makes by cookie must
// come from our own pages (Origin, Sec-Fetch-Site, and a token in every form).
package web

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/internal/token"
)

// maxBody bounds the bodies of our own calls, in bytes.
const maxBody = 256 << 10

// maxSeconds bounds the times that a call may name: ten years.
const maxSeconds = 10 * 365 * 24 * 60 * 60

// APIKeys knows whose API key a request carries.
type APIKeys interface {
	// Tenant returns the tenant of the key, or ErrUnauthorized.
	Tenant(ctx context.Context, key token.Secret) (string, error)
}

// Sessions keeps page sessions.
type Sessions interface {
	Session(ctx context.Context, cookie token.Secret, browser string) (flow.Session, error)
	// OpenSession stores one and returns the secret for its cookie. A site without
	// an Owner does not call it.
	OpenSession(ctx context.Context, s flow.Session) (flow.Session, token.Secret, error)
}

// Site is what every function's handlers share.
type Site struct {
	// BaseURL is the public URL, without a slash at its end. It is never taken
	// from a request.
	BaseURL  string
	Pages    *page.Pages
	Keys     APIKeys
	Sessions Sessions
	Tenants  flow.Tenants
	// Local says that this is somebody's own machine.
	Local bool
	// Owner signs a browser of this machine in as its user; empty: nobody.
	Owner string
	// Foreign tells a request of a program that is not the owner's, such as an
	// MCP server that we run; nil: none is.
	Foreign func(r *http.Request) bool
	Logger  *slog.Logger
}

// route makes a handler of a function that leaves its errors to be answered
// here, in the one way that errors are answered.
func (s *Site) route(f func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			s.problem(w, r, err)
		}
	}
}

// led makes a handler of an address that a browser is led to and that works once.
// Go's mux has GET mean HEAD, too: who looks only whether it is there, as some
// programs do with every link, uses nothing up.
func led(f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Cache-Control", "no-store")
			return
		}
		f(w, r)
	}
}

// Principal is who asks.
type Principal struct {
	Tenant string
	// User is set for a page session: it can act for that user only.
	User string
	// Browser is the hash of the browser's cookie; empty without one.
	Browser string
	Session flow.Session
	// Key is the API key presented; empty for a page session.
	Key token.Secret
}

// APIKey reports whether a tenant's backend asks.
func (p Principal) APIKey() bool { return p.Key != "" }

// Actor is the principal's name in the audit.
func (p Principal) Actor() string {
	if p.APIKey() {
		return "api_key"
	}
	return "page"
}

// For returns the user to act for: the session's own, or the one that the
// backend names.
func (p Principal) For(named string) (string, error) {
	switch {
	case p.APIKey() && named == "":
		return "", badRequest("user_id is missing", "Name the user of your product that this is for.")
	case p.APIKey() && len(named) > 256:
		return "", badRequest("user_id is longer than 256 bytes", "")
	case p.APIKey():
		return named, nil
	case named != "" && named != p.User:
		return "", errForbidden
	}
	return p.User, nil
}

// seed makes a creating call a function of its Idempotency-Key. It is secret
// because the API key is.
func (p Principal) seed(r *http.Request, call string) []byte {
	key := r.Header.Get("Idempotency-Key")
	if key == "" || !p.APIKey() {
		return nil
	}
	return p.derive(call, key)
}

// derive makes a secret of the API key and of what it is for.
func (p Principal) derive(parts ...string) []byte {
	mac := hmac.New(sha256.New, []byte(p.Key.Reveal()))
	mac.Write([]byte(strings.Join(parts, "\x00")))
	return mac.Sum(nil)
}

// secure reports whether the site is reached over https.
func (s *Site) secure() bool { return strings.HasPrefix(s.BaseURL, "https://") }

// cookieName: the prefix makes browsers refuse the cookie from anybody but
// this very host over https (RFC 6265bis §4.1.3.2).
func (s *Site) cookieName(name string) string {
	if s.secure() {
		return "__Host-lanyard-" + name
	}
	return "lanyard-" + name
}

func (s *Site) setCookie(w http.ResponseWriter, name string, value token.Secret, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: s.cookieName(name), Value: value.Reveal(), Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteLaxMode,
	})
}

// cookieLength is that of a [token.NewSecret].
const cookieLength = 43

// cookie returns the last cookie of that name that can be one of ours; "" if
// there is none.
func (s *Site) cookie(r *http.Request, name string) (value token.Secret) {
	for _, c := range r.CookiesNamed(s.cookieName(name)) {
		if len(c.Value) == cookieLength {
			value = token.Secret(c.Value)
		}
	}
	return value
}

// browserAge is how long a browser is remembered, in seconds.
const browserAge = 400 * 24 * 60 * 60

// browser returns the hash that stands for the browser, giving it a cookie if
// it has none.
func (s *Site) browser(w http.ResponseWriter, r *http.Request) (hash string, secret token.Secret) {
	secret = s.cookie(r, "browser")
	if secret == "" {
		secret = token.NewSecret()
		s.setCookie(w, "browser", secret, browserAge)
		// For the rest of this request the browser has it already.
		r.AddCookie(&http.Cookie{Name: s.cookieName("browser"), Value: secret.Reveal()})
	}
	return token.Hash(secret), secret
}

// known is browser for requests that must not make one.
func (s *Site) known(r *http.Request) string {
	if secret := s.cookie(r, "browser"); secret != "" {
		return token.Hash(secret)
	}
	return ""
}

// csrf is what our forms carry: only who can read the page knows it.
func csrf(browser token.Secret) string {
	mac := hmac.New(sha256.New, []byte(browser.Reveal()))
	mac.Write([]byte("lanyard form"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// principal returns who asks, or errSignIn.
func (s *Site) principal(r *http.Request) (Principal, error) {
	if key := bearer(r); key != "" {
		tenant, err := s.Keys.Tenant(r.Context(), key)
		return Principal{Tenant: tenant, Key: key}, err
	}
	cookie, browser := s.cookie(r, "session"), s.known(r)
	if cookie == "" || browser == "" {
		return Principal{}, flow.ErrNoSession
	}
	ses, err := s.Sessions.Session(r.Context(), cookie, browser)
	if err != nil {
		return Principal{}, err
	}
	if !safe(r.Method) && !s.sameOrigin(r) {
		return Principal{}, errCrossSite
	}
	return Principal{Tenant: ses.Tenant, User: ses.UserID, Browser: browser, Session: ses}, nil
}

// backend returns who asks if it is a tenant's backend.
func (s *Site) backend(r *http.Request) (Principal, error) {
	key := bearer(r)
	if key == "" {
		return Principal{}, errNoKey
	}
	tenant, err := s.Keys.Tenant(r.Context(), key)
	return Principal{Tenant: tenant, Key: key}, err
}

func bearer(r *http.Request) token.Secret {
	scheme, value, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return token.Secret(strings.TrimSpace(value))
}

func safe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// sameOrigin reports whether a browser says that one of our own pages sent the
// request. Browsers send Origin with every POST.
func (s *Site) sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return false
	}
	origin := r.Header.Get("Origin")
	return origin == s.BaseURL || origin == originOf(s.BaseURL)
}

func originOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// form parses a form of one of our pages and checks its token.
func (s *Site) form(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		return orTooLarge(err, badRequest("the form could not be read", "Go back and try again."))
	}
	secret := s.cookie(r, "browser")
	if secret == "" || !s.sameOrigin(r) || !hmac.Equal([]byte(r.PostForm.Get("csrf")), []byte(csrf(secret))) {
		return errCrossSite
	}
	return nil
}

// readJSON decodes a call's body strictly: an unknown key is a mistake that
// its sender wants to hear of.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	return readLargeJSON(w, r, into, maxBody)
}

// readLargeJSON is readJSON for a call whose body may be of so many bytes.
func readLargeJSON(w http.ResponseWriter, r *http.Request, into any, most int64) error {
	if ct, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); ct != "application/json" {
		return &Problem{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Heading: "That cannot be read",
			Message: "the body must be application/json", Next: "Send JSON, with the header Content-Type: application/json."}
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if errors.Is(err, io.EOF) {
		return nil // an empty body
	}
	if err != nil {
		return orTooLarge(err, badRequest("the body is not the JSON that this call takes: "+strings.TrimPrefix(err.Error(), "json: "), ""))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return orTooLarge(err, badRequest("the body goes on after its JSON", ""))
	}
	return nil
}

// orTooLarge is why a body could not be read: its size, or the other reason.
func orTooLarge(err, otherwise error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return tooLarge
	}
	return otherwise
}

// seconds is a duration that a call names in seconds; 0 leaves it to us.
func seconds(name string, n int) (time.Duration, error) {
	if n < 0 || n > maxSeconds {
		return 0, badRequest(fmt.Sprintf("%s is a number of seconds from 1 to %d", name, maxSeconds), "Leave it out for the usual time.")
	}
	return time.Duration(n) * time.Second, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone if this fails
}

// programs are the paths that programs call, beside those of the API.
var programs = []string{"/oauth/token", "/oauth/revoke", "/oauth/register", "/oauth/jwks"}

// wantsJSON reports whether to answer a program instead of a person.
func wantsJSON(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.URL.Path, "/.well-known/") || slices.Contains(programs, r.URL.Path)
}
