package flow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// CallbackPath is the one redirect URI that is registered at providers.
const CallbackPath = "/mcp/oauth/callback"

// DefaultTenant is the one that a personal deployment has.
const DefaultTenant = "default"

var tenantForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// ValidTenant reports whether an id is fit for a tenant's: for keys, paths and the
// names of secrets.
func ValidTenant(id string) bool { return tenantForm.MatchString(id) }

// Tenant is what a flow has to know of one.
type Tenant struct {
	// ReturnURLs are where a person may be sent back to: exact URLs, or
	// prefixes that end in a slash.
	ReturnURLs []string
	// Confirm: a connection that began from a link or the API is pending until
	// the tenant's backend confirms who finished it.
	Confirm bool
	// SignIn is how its people sign in.
	SignIn SignIn
}

// Tenants knows the tenants.
type Tenants interface {
	// Tenant returns ErrTenant for one that is not there, or not any more. The
	// default tenant always is.
	Tenant(ctx context.Context, id string) (Tenant, error)
}

// Catalogue knows the presets.
type Catalogue interface {
	Server(name string) (presets.Server, bool)
	Provider(id string) (presets.Provider, bool)
}

// Clients knows our registrations at providers without their secrets.
type Clients interface {
	// Current returns the tenant's client that access is granted to from now on,
	// without its secret, or an error that wraps ErrNoClient.
	Current(ctx context.Context, tenant, provider string) (provider.Client, error)
}

// Starter is everything before the provider. It holds no secret.
type Starter struct {
	Store       Store
	Connections connection.Store
	Catalogue   Catalogue
	Clients     Clients
	Tenants     Tenants
	Engine      *provider.Engine
	// Finder is for servers that say themselves who grants access to them; nil:
	// none can be connected.
	Finder Finder
	// BaseURL is the public URL, without a slash at its end.
	BaseURL string
	// Deployment are the values of the providers' parameters that whoever runs
	// Lanyard sets.
	Deployment map[string]string
	Now        func() time.Time
}

// StartRequest asks for a flow.
type StartRequest struct {
	Tenant, UserID, Server string
	// Scopes replace the preset's own for its main scope parameter.
	Scopes            []string
	ReturnURL         string
	Parameters        map[string]string
	ConnectionID      string
	AllowOtherAccount bool
	Popup             bool
	// RequestID and Elicited: see [Flow].
	RequestID string
	Elicited  bool
	// Browser is the browser that asks, "" when a backend does.
	Browser string
	// Proven says that a page session asks whose person has shown who they are:
	// the machine's own user, or one who has signed in. Nobody has to confirm
	// that.
	Proven bool
	// Seed: see [LinkRequest].
	Seed []byte
}

// Start begins a flow.
func (s *Starter) Start(ctx context.Context, r StartRequest) (Flow, error) {
	server, ok := s.Catalogue.Server(r.Server)
	if !ok {
		return Flow{}, fmt.Errorf("%w: %q", ErrServer, r.Server)
	}
	if server.AuthType != presets.TypeOAuth {
		return Flow{}, fmt.Errorf("%w: %s uses %s", ErrAuthType, server.DisplayName, server.AuthType)
	}
	if err := s.CheckReturnURL(ctx, r.Tenant, r.ReturnURL); err != nil {
		return Flow{}, err
	}
	tenant, err := s.Tenants.Tenant(ctx, r.Tenant)
	if err != nil {
		return Flow{}, err
	}
	scopes, err := askedScopes(server, r.Scopes)
	if err != nil {
		return Flow{}, err
	}
	now := s.Now().UTC()
	f := Flow{
		ID: token.NewID("flo"), Tenant: r.Tenant, UserID: r.UserID, Server: r.Server, Provider: server.ProviderID(),
		Scopes: scopes, ReturnURL: r.ReturnURL, Parameters: r.Parameters, ConnectionID: r.ConnectionID,
		AllowOtherAccount: r.AllowOtherAccount, Confirm: tenant.Confirm && !r.Proven, Popup: r.Popup,
		RequestID: r.RequestID, Elicited: r.Elicited, Browser: r.Browser, Status: Started, CreatedAt: now, ExpiresAt: now.Add(flowTTL),
	}
	if len(r.Seed) > 0 {
		f.ID = token.DeriveID("flo", r.Seed)
	}
	var old *connection.Connection
	if r.ConnectionID != "" {
		if old, err = s.reconnect(ctx, &f); err != nil {
			return Flow{}, err
		}
	}
	if server.Discovers() {
		err = s.find(ctx, &f, server, r.Scopes, old)
	} else if old != nil {
		f.keep(old.ScopesAsked)
	}
	if err != nil {
		return Flow{}, err
	}
	t, p, err := s.target(ctx, f)
	if err != nil {
		return Flow{}, err
	}
	if _, err := authorizationURL(t); err != nil {
		return Flow{}, err // a value is missing: say so where it can be typed
	}
	f.Parameters = declared(f.Parameters, server.Parameters, p.Parameters)
	if f.Found == nil {
		if f.ClientAt, err = p.ClientValues(t.Client.Parameters); err != nil {
			return Flow{}, err
		}
	}
	err = s.Store.PutFlow(ctx, f)
	if errors.Is(err, ErrExists) && len(r.Seed) > 0 {
		old, err := s.Store.GetFlow(ctx, f.ID)
		if err != nil || !sameRequest(old, f) {
			return Flow{}, fmt.Errorf("%w: this Idempotency-Key was used for another request", ErrExists)
		}
		return old, nil
	}
	return f, err
}

// sameRequest reports whether two flows were asked for in the same words.
func sameRequest(a, b Flow) bool {
	return a.Tenant == b.Tenant && a.UserID == b.UserID && a.Server == b.Server && a.ConnectionID == b.ConnectionID &&
		a.ReturnURL == b.ReturnURL && a.AllowOtherAccount == b.AllowOtherAccount && a.Popup == b.Popup &&
		maps.Equal(a.Parameters, b.Parameters) && slices.Equal(flatten(a.Scopes), flatten(b.Scopes))
}

// reconnect makes the flow renew a connection, which it returns: its parameters
// are kept, and what was granted before is asked for again with what is new.
func (s *Starter) reconnect(ctx context.Context, f *Flow) (*connection.Connection, error) {
	c, err := s.Connections.Get(ctx, connection.Key{Tenant: f.Tenant, ID: f.ConnectionID})
	if errors.Is(err, connection.ErrNotFound) || err == nil && (c.UserID != f.UserID || c.Server != f.Server || c.Status == connection.Deleting) {
		return nil, ErrConnection
	}
	if err != nil {
		return nil, err
	}
	if len(f.Parameters) == 0 {
		f.Parameters = c.Parameters
	}
	return &c, nil
}

// askedScopes groups the scopes of the preset by parameter; others replace
// those of the main one.
func askedScopes(server presets.Server, others []string) (map[string][]string, error) {
	out := map[string][]string{}
	for _, sc := range server.OAuthScopes {
		if len(others) > 0 && sc.Param == "" {
			continue
		}
		out[sc.Param] = append(out[sc.Param], sc.Scope)
	}
	for _, sc := range others {
		if sc == "" || len(sc) > 256 || strings.ContainsFunc(sc, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			return nil, ErrScope // RFC 6749 §3.3: scope-token
		}
		if !slices.Contains(out[""], sc) {
			out[""] = append(out[""], sc)
		}
	}
	return out, nil
}

func contains(scopes map[string][]string, scope string) bool {
	for _, list := range scopes {
		if slices.Contains(list, scope) {
			return true
		}
	}
	return false
}

// flatten lists the scopes of all parameters, sorted.
func flatten(scopes map[string][]string) []string {
	var out []string
	for _, list := range scopes {
		out = append(out, list...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Consent is what our consent page shows.
type Consent struct {
	Flow     Flow
	Server   presets.Server
	Provider presets.Provider
	// ProviderHost and ProviderOrigin are where the person goes next.
	ProviderHost, ProviderOrigin string
	// Asked are the scopes of all parameters.
	Asked []string
	// Reconnect is the label of the account to connect again, if any.
	Reconnect string
}

// Consent returns what a person is asked, if the flow is open to the browser.
// It changes nothing: a preview of the URL in a chat must not use it up.
func (s *Starter) Consent(ctx context.Context, id, browser string) (Consent, error) {
	f, err := s.open(ctx, id, browser)
	if err != nil {
		return Consent{}, err
	}
	t, p, err := s.target(ctx, f)
	if err != nil {
		return Consent{}, err
	}
	server, _ := s.Catalogue.Server(f.Server)
	c := Consent{Flow: f, Server: server, Provider: p, Asked: flatten(f.Scopes)}
	u, err := authorizationURL(t)
	if err != nil {
		return Consent{}, err
	}
	c.ProviderHost, c.ProviderOrigin = u.Host, u.Scheme+"://"+u.Host
	// Not for somebody who merely has the address.
	if f.ConnectionID != "" && f.Browser != "" {
		conn, err := s.Connections.Get(ctx, connection.Key{Tenant: f.Tenant, ID: f.ConnectionID})
		if err == nil {
			c.Reconnect = conn.DisplayLabel()
		}
	}
	return c, nil
}

// Authorize is the person's consent on our page: it binds the flow to the
// browser, mints the state and returns the provider's authorization URL.
func (s *Starter) Authorize(ctx context.Context, id, browser string) (string, error) {
	f, err := s.bind(ctx, id, browser)
	if err != nil {
		return "", err
	}
	t, _, err := s.target(ctx, f)
	if err != nil {
		return "", err
	}
	state, verifier := token.NewSecret(), oauth2.GenerateVerifier()
	err = s.Store.PutState(ctx, State{
		Hash: token.Hash(state), Tenant: f.Tenant, FlowID: f.ID, Browser: browser, Verifier: verifier,
		ClientID: t.Client.ID, Variant: t.Client.Variant, ExpiresAt: s.Now().UTC().Add(stateTTL),
	})
	if err != nil {
		return "", fmt.Errorf("store the state: %w", err)
	}
	return s.Engine.AuthorizeURL(t, provider.AuthorizeRequest{State: state.Reveal(), Verifier: verifier, Scopes: f.Scopes})
}

// bind makes the flow the browser's, unless another one was first.
func (s *Starter) bind(ctx context.Context, id, browser string) (Flow, error) {
	if browser == "" {
		return Flow{}, ErrNoSession // nothing that the state could be bound to
	}
	for {
		f, err := s.open(ctx, id, browser)
		if err != nil {
			return Flow{}, err
		}
		f.Browser, f.Status = browser, Authorized
		f, err = s.Store.UpdateFlow(ctx, f)
		if !errors.Is(err, ErrChanged) {
			return f, err
		}
		// Somebody pressed the button at the same moment: another browser, or
		// this one twice.
	}
}

// Cancel ends a flow that the person does not want.
func (s *Starter) Cancel(ctx context.Context, id, browser string) (Flow, error) {
	if browser == "" {
		return Flow{}, ErrNoSession
	}
	f, err := s.open(ctx, id, browser)
	if err != nil {
		return Flow{}, err
	}
	f.Browser, f.Status = browser, Denied
	f.Result = Result{Code: ErrDenied.Code, Detail: "cancelled before going to the provider"}
	return s.Store.UpdateFlow(ctx, f)
}

// open returns the flow if it has not ended and the browser may take its next
// step: nobody has claimed it, or this browser has.
func (s *Starter) open(ctx context.Context, id, browser string) (Flow, error) {
	f, err := s.Store.GetFlow(ctx, id)
	if err != nil {
		return Flow{}, err
	}
	switch {
	case f.Browser != "" && f.Browser != browser:
		return Flow{}, ErrFlowClaimed
	case f.Status != Started && f.Status != Authorized:
		return Flow{}, ErrFlowEnded
	case s.Now().After(f.ExpiresAt):
		return Flow{}, ErrFlowExpired
	}
	return f, nil
}
