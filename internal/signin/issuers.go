package signin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
)

const (
	// discoveryTTL is how long what an issuer says of itself is used.
	discoveryTTL = time.Hour
	// requestTimeout bounds each request to an issuer.
	requestTimeout = 8 * time.Second
	// maxAnswer bounds an issuer's answers, in bytes.
	maxAnswer = 1 << 20
)

// Issuers knows the OpenID Connect issuers by what they publish (OpenID Connect
// Discovery 1.0). It is safe for concurrent use.
type Issuers struct {
	// AllowLoopback lets an issuer be on this machine, and there plain http.
	AllowLoopback bool
	Now           func() time.Time
	Logger        *slog.Logger

	mu    sync.Mutex
	known map[string]*issuer
}

// issuer is one of them.
type issuer struct {
	*oidc.Provider
	read time.Time
	// AuthMethods are how a client may prove itself at the token endpoint; none:
	// client_secret_basic.
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	// Names: its answers name it (RFC 9207 §3).
	Names   bool   `json:"authorization_response_iss_parameter_supported"`
	JWKSURI string `json:"jwks_uri"`
}

// find returns the issuer of that name; ErrIssuerDown if it cannot be asked, or
// does not publish what it should.
func (i *Issuers) find(ctx context.Context, name string) (*issuer, error) {
	i.mu.Lock()
	known := i.known[name]
	i.mu.Unlock()
	if known != nil && i.Now().Sub(known.read) < discoveryTTL {
		return known, nil
	}
	found, err := i.discover(ctx, name)
	if err != nil {
		// Its words are not for a person, and may hold anything.
		i.Logger.WarnContext(ctx, "an issuer was not found", "issuer", name, "err", provider.Clean(err.Error()))
		return nil, ErrIssuerDown
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known == nil {
		i.known = map[string]*issuer{}
	}
	i.known[name] = found
	return found, nil
}

func (i *Issuers) discover(ctx context.Context, name string) (*issuer, error) {
	if err := i.check(name); err != nil {
		return nil, err
	}
	p, err := oidc.NewProvider(i.guarded(ctx), name)
	if err != nil {
		return nil, err
	}
	out := &issuer{Provider: p, read: i.Now()}
	if err := p.Claims(out); err != nil {
		return nil, err
	}
	// The browser goes to the first, our requests to the others.
	for _, raw := range []string{p.Endpoint().AuthURL, p.Endpoint().TokenURL, out.JWKSURI} {
		if err := i.check(raw); err != nil {
			return nil, fmt.Errorf("it publishes an address that cannot be used: %w", err)
		}
	}
	if raw := p.UserInfoEndpoint(); raw != "" {
		if err := i.check(raw); err != nil {
			return nil, fmt.Errorf("its userinfo endpoint cannot be used: %w", err)
		}
	}
	return out, nil
}

func (i *Issuers) check(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("it is no address")
	}
	return provider.CheckURL(u, i.AllowLoopback)
}

// guarded is the context with the client that package oidc, and x/oauth2, ask
// issuers with: it reaches public addresses alone and follows no redirect.
func (i *Issuers) guarded(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, &http.Client{
		Transport:     bounded{provider.GuardedTransport(i.AllowLoopback)},
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
}

// bounded cuts answers off that are too long, so that they do not decode.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// client is our registration at the issuer. The method is chosen from what the
// issuer publishes, never tried out: a second try would spend the code.
func (i *issuer) client(id string, secret token.Secret, baseURL string) *oauth2.Config {
	endpoint := i.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if secret == "" || len(i.AuthMethods) > 0 && !slices.Contains(i.AuthMethods, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{ClientID: id, ClientSecret: secret.Reveal(), Endpoint: endpoint, RedirectURL: baseURL + CallbackPath,
		Scopes: []string{oidc.ScopeOpenID, oidc.ScopeEmail}}
}
