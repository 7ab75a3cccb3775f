package flow

import "context"

// Preview is what a person is asked before the flow of the request is begun:
// [Starter.Consent] of one that does not exist yet. It stores nothing. Scopes
// and the connection to renew are not looked at.
func (s *Starter) Preview(ctx context.Context, r StartRequest) (Consent, error) {
	server, ok := s.Catalogue.Server(r.Server)
	if !ok {
		return Consent{}, ErrServer
	}
	t, p, err := s.target(ctx, Flow{Tenant: r.Tenant, Server: r.Server, Provider: server.OAuthService, Parameters: r.Parameters})
	if err != nil {
		return Consent{}, err
	}
	u, err := authorizationURL(t)
	if err != nil {
		return Consent{}, err
	}
	return Consent{Server: server, Provider: p, ProviderHost: u.Host, ProviderOrigin: u.Scheme + "://" + u.Host}, nil
}
