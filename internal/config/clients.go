package config

import (
	"cmp"
	"context"
	"fmt"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Clients are the registrations at providers that the environment names:
// GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET and, where a provider has kinds of
// them, GOOGLE_CLIENT_VARIANT. Of a server that says itself who grants access to
// it, say notes, it is NOTES_CLIENT_ISSUER that tells where the client is
// registered.
type Clients struct {
	getenv func(string) string
	// own are clients that are made here, by provider.
	own map[string]provider.Client
}

// Clients returns the registrations; own are added to them.
func (c Config) Clients(own map[string]provider.Client) *Clients {
	return &Clients{getenv: c.getenv, own: own}
}

// ClientID implements [flow.Clients].
func (c *Clients) ClientID(ctx context.Context, tenant, providerID string) (string, string, error) {
	client, err := c.Client(ctx, tenant, providerID, "")
	return client.ID, client.Variant, err
}

// Client implements [flow.Secrets].
func (c *Clients) Client(_ context.Context, _, providerID, id string) (provider.Client, error) {
	client, ok := c.own[providerID]
	prefix := flow.EnvPrefix(providerID)
	if !ok {
		client = provider.Client{
			ID: c.getenv(prefix + "_CLIENT_ID"), Secret: token.Secret(c.getenv(prefix + "_CLIENT_SECRET")),
			Variant: cmp.Or(c.getenv(prefix+"_CLIENT_VARIANT"), c.getenv(prefix+"_CLIENT_ISSUER")),
		}
	}
	if client.ID == "" {
		return provider.Client{}, fmt.Errorf("%w: set %s_CLIENT_ID and %s_CLIENT_SECRET", flow.ErrNoClient, prefix, prefix)
	}
	if id != "" && id != client.ID {
		return provider.Client{}, fmt.Errorf("%w: this was granted to another client than %s_CLIENT_ID now names; put that one back, or reconnect", flow.ErrNoClient, prefix)
	}
	return client, nil
}
