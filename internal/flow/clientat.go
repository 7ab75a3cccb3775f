package flow

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/presets"
)

// ClientParameters are the names of the parameters that are said with our client at
// a provider.
func ClientParameters(cat Catalogue, id string) []string {
	p, ok := cat.Provider(id)
	if ok && p.Extends != "" {
		resolved, err := p.Resolve("", cat.Provider)
		p, ok = resolved, err == nil
	}
	if !ok {
		return nil
	}
	return p.ClientParameters()
}

// CheckClientAt returns ErrMoved if our client at the provider is not where it was
// when something was granted to it, as at says: what was granted there must not be
// sent to where it is now, be the client's id the same.
func CheckClientAt(p presets.Provider, at map[string]string, client provider.Client) error {
	was, err := p.ClientValues(at)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMoved, err)
	}
	is, err := p.ClientValues(client.Parameters)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoClient, err)
	}
	if !maps.Equal(was, is) {
		return fmt.Errorf("%w: this is of %s, and the client is for %s now", ErrMoved, whereabouts(was), whereabouts(is))
	}
	return nil
}

// Elsewhere is why there is no client for a server although there is one at its
// provider: it is registered at another place, or nobody said where. It comes beside
// ErrNoClient.
type Elsewhere struct{ error }

// checkClient holds our client against the flow and its server.
func checkClient(server presets.Server, p presets.Provider, f Flow, client provider.Client) error {
	at, err := p.ClientValues(client.Parameters)
	if err == nil {
		err = server.Serves(p, at)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoClient, Elsewhere{err})
	}
	if f.ClientAt == nil {
		return nil // it has not begun
	}
	return CheckClientAt(p, f.ClientAt, client)
}

// HasClient reports why nobody can connect the server yet: its provider has no
// client of ours, or one that is registered elsewhere than the server is for.
func (s *Starter) HasClient(ctx context.Context, tenant string, server presets.Server) error {
	client, err := s.Clients.Current(ctx, tenant, server.OAuthService)
	if err != nil || len(ClientParameters(s.Catalogue, server.OAuthService)) == 0 {
		return err
	}
	_, p, err := TargetOf(s.Catalogue, server.OAuthService, nil, client, s.BaseURL, s.Deployment)
	if err != nil {
		return err
	}
	return checkClient(server, p, Flow{}, client)
}

// sameClientAt reports whether something was granted where our client was when the
// flow began. An account there is none anywhere else, whatever it is called.
func (s *Finisher) sameClientAt(f Flow, g connection.Granted) bool {
	if f.ClientAt == nil && g.ClientAt == nil {
		return true
	}
	p, ok := s.Catalogue.Provider(f.Provider)
	if !ok {
		return false
	}
	p, err := p.Resolve(g.Variant, s.Catalogue.Provider)
	if err != nil {
		return false
	}
	at, err := p.ClientValues(g.ClientAt)
	return err == nil && maps.Equal(at, f.ClientAt)
}

// whereabouts are the values of a client's parameters, for people.
func whereabouts(at map[string]string) string {
	var values []string
	for _, name := range slices.Sorted(maps.Keys(at)) {
		values = append(values, at[name])
	}
	return strings.Join(values, ", ")
}
