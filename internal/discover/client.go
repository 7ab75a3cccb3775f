package discover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/presets"
)

// Registration is a client that an authorization server has made for a tenant
// (RFC 7591). It has no secret.
type Registration struct {
	Tenant string `json:"tenant"`
	Issuer string `json:"issuer"`
	// ClientID is what the issuer calls it.
	ClientID string `json:"client_id"`
	// RedirectURI is the one that it was registered with.
	RedirectURI string    `json:"redirect_uri"`
	CreatedAt   time.Time `json:"created_at"`
}

// ErrNoRegistration: no client was registered for the tenant at the issuer.
var ErrNoRegistration = errors.New("no client was registered there")

// Registrations keeps them.
type Registrations interface {
	// Registration returns the tenant's at the issuer, or ErrNoRegistration.
	Registration(ctx context.Context, tenant, issuer string) (Registration, error)
	// PutRegistration keeps r in place of the one that its tenant has at its issuer.
	PutRegistration(ctx context.Context, r Registration) error
}

const (
	// registrationTTL is how long new connections use a registration: servers
	// forget clients, and tell only the person who is sent to them. What was granted
	// to it keeps it.
	registrationTTL = 30 * 24 * time.Hour
	// maxClientID bounds what a server may call us, in bytes.
	maxClientID = 1024
	clientName  = "Lanyard"
)

// client is our client at the issuer, in MCP's order: one that an operator has
// registered, our document, one that is registered now. public: it has no secret.
func (f *Finder) client(ctx context.Context, r flow.FindRequest, m metadata) (id string, public bool, err error) {
	if r.ClientID != "" && r.Issuer == "" {
		return "", false, fmt.Errorf("%w: the client %s is registered at an issuer that was not named: it has to be said that it is %s", flow.ErrNoClient, r.ClientID, m.Issuer)
	}
	if r.ClientID != "" && r.Issuer == m.Issuer {
		return r.ClientID, false, nil
	}
	if len(m.AuthMethods) > 0 && !slices.Contains(m.AuthMethods, presets.AuthNone) {
		return "", false, byHand(m, "it wants clients to have a secret, which is no business of those who connect")
	}
	if u := f.document(m.Issuer); m.Documents && u != "" {
		return u, true, nil
	}
	if m.RegistrationEndpoint == "" {
		return "", false, byHand(m, "it registers no clients by itself")
	}
	id, err = f.registered(ctx, r, m)
	return id, err == nil, err
}

// byHand tells an operator what to do.
func byHand(m metadata, why string) error {
	return fmt.Errorf("%w: register one at %s: %s", flow.ErrNoClient, m.Issuer, why)
}

func (f *Finder) document(issuer string) string {
	if f.Document != nil {
		return f.Document(issuer)
	}
	return DocumentURL(f.BaseURL, issuer)
}

// registered is the tenant's client at the issuer, made if there is none to use.
func (f *Finder) registered(ctx context.Context, r flow.FindRequest, m metadata) (string, error) {
	redirect, now := f.BaseURL+flow.CallbackPath+"/"+flow.IssuerKey(m.Issuer), f.Now().UTC()
	known, err := f.Registrations.Registration(ctx, r.Tenant, m.Issuer)
	switch {
	case err != nil && !errors.Is(err, ErrNoRegistration):
		return "", err
	case err == nil && known.RedirectURI == redirect && known.ClientID != r.Refused && now.Sub(known.CreatedAt) < registrationTTL:
		return known.ClientID, nil
	}
	u, err := url.Parse(m.RegistrationEndpoint)
	if err != nil {
		return "", err
	}
	near := f.AllowLoopback && provider.IsLoopback(r.Server.Hostname())
	id, err := fetcher{http: provider.GuardedClient(f.HTTP, near), near: near}.register(ctx, u, m, redirect)
	if err != nil {
		return "", err
	}
	made := Registration{Tenant: r.Tenant, Issuer: m.Issuer, ClientID: id, RedirectURI: redirect, CreatedAt: now}
	if err := f.Registrations.PutRegistration(ctx, made); err != nil {
		return "", fmt.Errorf("keep the client that was registered at %s: %w", m.Issuer, err)
	}
	return id, nil
}

// register has the issuer make a client without a secret (RFC 7591 §3.1).
func (f fetcher) register(ctx context.Context, u *url.URL, m metadata, redirect string) (string, error) {
	body, err := json.Marshal(metadataOf(redirect))
	if err != nil {
		return "", err
	}
	a, err := f.do(ctx, http.MethodPost, u, "application/json", body, maxDocument)
	if err != nil {
		return "", err
	}
	var said struct {
		ClientID    string `json:"client_id"`
		Method      string `json:"token_endpoint_auth_method"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	parsed := json.Unmarshal(a.body, &said) == nil
	switch {
	case a.status >= 500 || a.status == http.StatusTooManyRequests:
		return "", fmt.Errorf("%w: %s answered %d to our registration", flow.ErrProviderDown, u.Host, a.status)
	case a.status != http.StatusCreated && a.status != http.StatusOK:
		return "", byHand(m, strings.TrimSpace(fmt.Sprintf("it refuses to do it by itself, with %d %s", a.status, provider.Clean(said.Error+" "+said.Description))))
	case !parsed || said.ClientID == "" || len(said.ClientID) > maxClientID || strings.ContainsFunc(said.ClientID, func(r rune) bool { return r < ' ' || r > '~' }):
		return "", byHand(m, "it answers our registration with no client of use")
	case said.Method != "" && said.Method != presets.AuthNone:
		return "", byHand(m, "it made a client with a secret, which is no business of those who connect")
	}
	return said.ClientID, nil
}
