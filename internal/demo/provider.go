package demo

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ProviderID is the id of the demo provider's preset.
const ProviderID = "demo"

// defaultAccessTTL is short, so that a newcomer sees a renewal happen.
const defaultAccessTTL = 5 * time.Minute

// Config is what a [Provider] needs to know.
type Config struct {
	// BaseURL is the origin that serves the provider, and its issuer:
	// http://127.0.0.1:8090. Plain http is accepted on loopback alone.
	// Requests for another host are refused. Required.
	BaseURL string
	// ClientID and ClientSecret are the one registered client. Required.
	ClientID, ClientSecret string
	// RedirectURIs are where that client may be sent back to; a request must
	// repeat one of them byte for byte. At least one is required.
	RedirectURIs []string
	// AccessTTL is how long an access token lives, in whole seconds; zero
	// means five minutes.
	AccessTTL time.Duration
	// DataFile keeps the state; one process at a time may use it. Empty keeps
	// the state in memory.
	DataFile string
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
	// Logger may be nil, for silence. No token or code is ever logged.
	Logger *slog.Logger
}

// Provider is the demo's authorization server and notes API.
type Provider struct {
	issuer     string
	host       string
	secure     bool // served over https
	clientID   string
	secretHash [sha256.Size]byte
	seed       []byte // of what successor derives
	drills     drills
	redirects  []string
	accessTTL  time.Duration
	store      *store
	now        func() time.Time
	log        *slog.Logger
	pages      *template.Template
	routes     http.Handler
}

// New checks the configuration and opens the data file, making it if needed.
func New(c Config) (*Provider, error) {
	base, err := parseBase(c.BaseURL)
	if err != nil {
		return nil, err
	}
	if c.ClientID == "" || c.ClientSecret == "" {
		return nil, errors.New("demo provider: a client id and a client secret are required")
	}
	if len(c.RedirectURIs) == 0 {
		return nil, errors.New("demo provider: at least one redirect URI is required")
	}
	for _, u := range c.RedirectURIs {
		if err := checkRedirectURI(u); err != nil {
			return nil, err
		}
	}
	if c.AccessTTL == 0 {
		c.AccessTTL = defaultAccessTTL
	}
	if c.AccessTTL < time.Second {
		return nil, fmt.Errorf("demo provider: access tokens must live a second at least, not %s", c.AccessTTL)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	pages, err := template.ParseFS(files, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("demo provider: parse the pages: %w", err)
	}
	st, err := openStore(c.DataFile, c.Clock())
	if err != nil {
		return nil, err
	}
	p := &Provider{
		issuer:     strings.TrimSuffix(c.BaseURL, "/"),
		host:       base.Host,
		secure:     base.Scheme == "https",
		clientID:   c.ClientID,
		secretHash: sha256.Sum256([]byte(c.ClientSecret)),
		seed:       make([]byte, sha256.Size),
		redirects:  slices.Clone(c.RedirectURIs),
		accessTTL:  c.AccessTTL.Truncate(time.Second),
		store:      st,
		now:        c.Clock,
		log:        c.Logger,
		pages:      pages,
	}
	_, _ = rand.Read(p.seed) // never fails (crypto/rand)
	p.routes = p.mount()
	return p, nil
}

func (p *Provider) mount() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.home)
	mux.HandleFunc("GET /style.css", style)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /authorize", p.decide)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /drill", p.byClient(p.showDrill))
	mux.HandleFunc("PUT /drill", p.byClient(p.startDrill))
	mux.HandleFunc("DELETE /drill", p.byClient(p.stopDrill))
	mux.HandleFunc("POST /revoke", p.revoke)
	mux.HandleFunc("POST /introspect", p.introspect)
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", p.metadata)
	mux.HandleFunc("GET /userinfo", p.bearer(scopeProfile, p.userinfo))
	mux.HandleFunc("GET /notes", p.bearer(scopeRead, p.listNotes))
	mux.HandleFunc("POST /notes", p.bearer(scopeWrite, p.addNote))
	mux.HandleFunc("DELETE /notes/{id}", p.bearer(scopeWrite, p.deleteNote))
	return mux
}

// ServeHTTP implements [http.Handler].
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: that would make a browser send "Origin: null" with our
	// own consent form, which the cross-origin check could not tell apart.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	// A page whose name was rebound to loopback must not become our origin.
	if !strings.EqualFold(r.Host, p.host) {
		p.message(w, http.StatusMisdirectedRequest, "Wrong address",
			"This demo provider answers at "+p.issuer+" only. Open it there.")
		return
	}
	p.routes.ServeHTTP(w, r)
}

func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("demo provider: base URL: %w", err)
	}
	if u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("demo provider: base URL %q must be a bare origin such as http://127.0.0.1:8090", u.Redacted())
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return u, nil
	}
	return nil, fmt.Errorf("demo provider: base URL %q must be on loopback (or https): whoever reaches it can be any of its people", raw)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkRedirectURI refuses what could never be sent safely: fragments
// (RFC 6749 §3.1.2), user info, and schemes that a browser would execute.
func checkRedirectURI(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("demo provider: redirect URI: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || strings.Contains(raw, "#") {
		return fmt.Errorf("demo provider: redirect URI %q must be an absolute http or https URL without user info or fragment", u.Redacted())
	}
	return nil
}
