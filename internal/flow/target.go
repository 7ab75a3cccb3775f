package flow

import (
	"cmp"
	"context"
	"fmt"
	"net/url"

	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/presets"
)

// target is the provider as the flow needs it, and its resolved preset.
func (s *Starter) target(ctx context.Context, f Flow) (provider.Target, presets.Provider, error) {
	if f.Found != nil {
		return newTarget(s.Catalogue, f, provider.Client{ID: f.ClientID}, s.BaseURL, s.Deployment)
	}
	client, err := s.Clients.Current(ctx, f.Tenant, f.Provider)
	if err != nil {
		return provider.Target{}, presets.Provider{}, err
	}
	return newTarget(s.Catalogue, f, client, s.BaseURL, s.Deployment)
}

// newTarget puts together what the engine has to know. Parameters that do not
// fit their pattern are ErrParameter.
func newTarget(cat Catalogue, f Flow, client provider.Client, baseURL string, deployment map[string]string) (provider.Target, presets.Provider, error) {
	server, ok := cat.Server(f.Server)
	if !ok {
		return provider.Target{}, presets.Provider{}, fmt.Errorf("%w: %q", ErrServer, f.Server)
	}
	if err := checkParameters(server, f.Parameters); err != nil {
		return provider.Target{}, presets.Provider{}, err
	}
	if f.Found != nil {
		t := FoundTarget(server, f.Provider, *f.Found, client, baseURL)
		return t, t.Provider, nil
	}
	t, p, err := TargetOf(cat, f.Provider, f.Parameters, client, baseURL, deployment)
	if err != nil {
		return t, p, err
	}
	return t, p, checkClient(server, p, f, client)
}

// checkParameters holds what a person typed against the server's patterns.
func checkParameters(server presets.Server, given map[string]string) error {
	for name, p := range server.Parameters {
		if p.Source == presets.SourceDeployment || p.Source == presets.SourceClient {
			continue
		}
		if err := p.Allows(cmp.Or(given[name], p.Default)); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrParameter, name, err)
		}
	}
	return nil
}

// authorizationURL is where the target's provider asks a person.
func authorizationURL(t provider.Target) (*url.URL, error) {
	values, err := t.Provider.Values(presets.Inputs{User: t.Params, Deployment: t.Deployment, Client: t.Client.Parameters})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrParameter, err)
	}
	u, err := presets.ExpandURL(t.Provider.AuthorizationEndpoint, values)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrParameter, err)
	}
	return u, nil
}

// TargetOf resolves a provider for one client and one person's parameters.
func TargetOf(cat Catalogue, id string, parameters map[string]string, client provider.Client, baseURL string, deployment map[string]string) (provider.Target, presets.Provider, error) {
	p, ok := cat.Provider(id)
	if !ok {
		return provider.Target{}, p, fmt.Errorf("%w: provider %q", ErrServer, id)
	}
	p, err := p.Resolve(client.Variant, cat.Provider)
	if err != nil {
		return provider.Target{}, p, err
	}
	t, err := TargetAt(p, parameters, client, baseURL, deployment)
	return t, p, err
}

// TargetAt is TargetOf of a provider that is resolved for the client already.
func TargetAt(p presets.Provider, parameters map[string]string, client provider.Client, baseURL string, deployment map[string]string) (provider.Target, error) {
	if _, err := p.Values(presets.Inputs{User: parameters, Deployment: deployment, Client: client.Parameters}); err != nil {
		return provider.Target{}, fmt.Errorf("%w: %w", ErrParameter, err)
	}
	return provider.Target{
		Provider: p, Client: client, RedirectURI: baseURL + CallbackPath, Params: parameters, Deployment: deployment,
	}, nil
}

// declared keeps the parameters that a person is asked for and that were filled in:
// those of a link are meant for several servers. What is not a person's to say,
// such as where our client is, is kept for nobody.
func declared(given map[string]string, by ...map[string]presets.Parameter) map[string]string {
	var out map[string]string
	for name, value := range given {
		for _, parameters := range by {
			if p, ok := parameters[name]; ok && value != "" && (p.Source == "" || p.Source == presets.SourceUser) {
				if out == nil {
					out = map[string]string{}
				}
				out[name] = value
			}
		}
	}
	return out
}
