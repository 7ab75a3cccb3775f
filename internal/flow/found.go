package flow

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/presets"
)

// Finder finds who grants access to a remote server that says so itself, and
// makes us a client there. It is package discover.
type Finder interface {
	// Find returns ErrDiscovery for a server that does not say, or says what must
	// not be believed; ErrProviderDown when it cannot be asked now; and ErrNoClient
	// beside what was found when an operator has to register us by hand.
	Find(ctx context.Context, r FindRequest) (Found, error)
}

// FindRequest asks a [Finder].
type FindRequest struct {
	Tenant string
	// Server is the remote server's endpoint.
	Server *url.URL
	// ClientID is the client that an operator has registered, and Issuer where;
	// empty: none.
	ClientID, Issuer string
	// Anew: what was read a while ago will not do.
	Anew bool
	// Refused is a client that its authorization server does not know any more.
	Refused string
}

// Found is what a [Finder] found.
type Found struct {
	connection.Found
	// ClientID is our client there.
	ClientID string
	// Scopes are those that the server wants; none: it does not say.
	Scopes []string
}

// IssuerKey stands for an issuer in our own paths: whoever answers at the
// redirect URI of one issuer cannot be another (RFC 9700 §4.4.2.2).
func IssuerKey(issuer string) string {
	sum := sha256.Sum256([]byte(issuer))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// RedirectURI is where the issuer sends a person back. That of a client which is
// made for one issuer is that issuer's own; operators register the one that they
// know from other providers.
func RedirectURI(baseURL string, f *connection.Found) string {
	if f == nil || !f.Public {
		return baseURL + CallbackPath
	}
	return baseURL + CallbackPath + "/" + IssuerKey(f.Issuer)
}

// find makes the flow's provider and client those that its server names.
func (s *Starter) find(ctx context.Context, f *Flow, server presets.Server, scopes []string, old *connection.Connection) error {
	found, err := s.Find(ctx, f.Tenant, server, f.Parameters, old)
	if err != nil {
		return err
	}
	f.ClientID, f.Found = found.ClientID, &found.Found
	if len(scopes) == 0 && len(server.OAuthScopes) == 0 {
		f.Scopes[""] = slices.Clone(found.Scopes)
	}
	// What another issuer granted before means nothing here.
	if old != nil && old.Found != nil && old.Found.Issuer == found.Issuer {
		f.keep(old.ScopesAsked)
	}
	// Alone it would stand for no access at all, in place of what there is by
	// default.
	f.Found.Offline = f.Found.Offline && len(f.Scopes[""]) > 0
	return nil
}

// keep adds scopes to those that are asked for.
func (f *Flow) keep(scopes []string) {
	for _, scope := range scopes {
		if !contains(f.Scopes, scope) {
			f.Scopes[""] = append(f.Scopes[""], scope)
		}
	}
}

// Find returns who grants access to a server that names it itself. old is the
// connection to be renewed, if any. What was found is returned beside ErrNoClient,
// too, for whoever tells an operator what to register.
func (s *Starter) Find(ctx context.Context, tenant string, server presets.Server, parameters map[string]string, old *connection.Connection) (Found, error) {
	if s.Finder == nil {
		return Found{}, fmt.Errorf("%w: %s names who grants access only when it is asked", ErrServer, server.DisplayName)
	}
	if err := checkParameters(server, parameters); err != nil {
		return Found{}, err
	}
	endpoint, err := server.Endpoint(presets.Inputs{User: parameters, Deployment: s.Deployment})
	if err != nil {
		return Found{}, fmt.Errorf("%w: %w", ErrParameter, err)
	}
	r := FindRequest{Tenant: tenant, Server: endpoint}
	client, err := s.Clients.Current(ctx, tenant, server.ProviderID())
	r.ClientID, r.Issuer = client.ID, client.Variant
	if err != nil && !errors.Is(err, ErrNoClient) {
		return Found{}, err
	}
	if old != nil {
		r.Anew = true
		if failure := old.Failure; failure != nil && (failure.Code == "invalid_client" || failure.Code == "unauthorized_client") {
			r.Refused = old.ClientID
		}
	}
	found, err := s.Finder.Find(ctx, r)
	if errors.Is(err, ErrProviderDown) {
		err = &Unanswered{Server: server.DisplayName, err: err}
	}
	return found, err
}

// Unanswered is ErrProviderDown of a server that could not be asked who grants
// access to it.
type Unanswered struct {
	// Server is its name for people.
	Server string
	err    error
}

func (u *Unanswered) Error() string { return u.err.Error() }
func (u *Unanswered) Unwrap() error { return u.err }

// Why says who did not answer, in our own words: which host could not be reached,
// or what its status was.
func (u *Unanswered) Why() string {
	return strings.TrimPrefix(u.err.Error(), ErrProviderDown.Error()+": ")
}

// ClientOf is the client that something was granted to, where who granted it was
// found.
func ClientOf(ctx context.Context, secrets Secrets, tenant, providerID, id string, f connection.Found) (provider.Client, error) {
	if f.Public {
		return provider.Client{ID: id}, nil
	}
	c, err := secrets.Client(ctx, tenant, providerID, id)
	if err != nil {
		return c, err
	}
	if c.Variant != f.Issuer { // its secret is for nobody else
		return provider.Client{}, fmt.Errorf("%w: the client %s is registered at another issuer than %s", ErrNoClient, id, f.Issuer)
	}
	return c, nil
}

// FoundTarget is the provider that was found, for one client.
func FoundTarget(server presets.Server, id string, f connection.Found, client provider.Client, baseURL string) provider.Target {
	return provider.Target{Provider: FoundProvider(server, id, f), Client: client, RedirectURI: RedirectURI(baseURL, &f)}
}

// FoundProvider is what the engine has to know of an authorization server that
// was found: it does everything by the RFCs. Nothing in it may be a template; the
// finder lets no brace pass.
func FoundProvider(server presets.Server, id string, f connection.Found) presets.Provider {
	resource := map[string]string{"resource": f.Resource}
	p := presets.Provider{
		ID: id, DisplayName: cmp.Or(server.DisplayName, hostOf(f.Issuer)),
		AuthorizationEndpoint: f.AuthorizationEndpoint, TokenEndpoint: f.TokenEndpoint, Issuer: f.Issuer,
		ClientAuth: presets.ClientAuth{Methods: []string{cmp.Or(f.Auth, presets.AuthBasic), presets.AuthNone}},
		PKCE:       presets.PKCE{Mode: "required"},
		// RFC 8707: in each of the requests.
		AuthorizationParams: presets.AuthorizationParams{Fixed: resource},
		Requests:            presets.Requests{Code: presets.TokenRequest{Params: resource}, Refresh: presets.TokenRequest{Params: resource}},
	}
	if f.ISS {
		p.Callback.ISS = "required"
	}
	if f.Offline {
		p.Scope.Offline = []string{"offline_access"}
	}
	if f.RevocationEndpoint != "" {
		p.Revocation = presets.Revocation{Mode: "rfc7009", Endpoint: f.RevocationEndpoint, Revokes: presets.RevokesToken}
	}
	if f.Public {
		// Nobody can put back a client that the server has forgotten; whoever connects
		// again gets a new one.
		p.Errors = []presets.ErrorRule{{When: presets.ErrorMatch{Code: []string{"invalid_client", "unauthorized_client"}, Request: []string{"refresh"}},
			Class: presets.ClassReauthorize}}
	}
	return p
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the authorization server"
	}
	return u.Host
}
