package config

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

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
	getenv     func(string) string
	unfinished map[string]string
	// own are clients that are made here, by provider.
	own map[string]provider.Client
}

// Clients returns the registrations; own are added to them.
func (c Config) Clients(own map[string]provider.Client) *Clients {
	return &Clients{getenv: c.getenv, unfinished: c.unfinished, own: own}
}

// LeaveOutUnfinished makes clients count as not there that could only fail at the
// provider, after a person has consented: those without a secret that needs one,
// and those of which a variable holds what the documentation shows in its place.
// It says what each lacks. environ is as [os.Environ] has it; needsSecret tells of
// a client's name in the environment, such as GOOGLE, and its kind, whether its
// provider is known and wants a secret.
func (c *Config) LeaveOutUnfinished(environ []string, needsSecret func(name, variant string) (bool, error)) ([]string, error) {
	c.unfinished = map[string]string{}
	for _, variable := range environ {
		variable, _, _ = strings.Cut(variable, "=")
		name, isID := strings.CutSuffix(variable, "_CLIENT_ID")
		if !isID || c.getenv(variable) == "" {
			continue
		}
		secret := name + "_CLIENT_SECRET"
		switch {
		case placeholder(c.getenv(variable)):
			c.unfinished[name] = variable + " still holds a placeholder"
		case placeholder(c.getenv(secret)):
			c.unfinished[name] = secret + " still holds a placeholder"
		case c.getenv(secret) == "":
			needs, err := needsSecret(name, c.getenv(name+"_CLIENT_VARIANT"))
			if err != nil {
				return nil, err
			}
			if needs {
				c.unfinished[name] = secret + " is missing"
			}
		}
	}
	return slices.Sorted(maps.Values(c.unfinished)), nil
}

// placeholder reports what no id and no secret is (RFC 6749 appendix A: visible
// ASCII), but stands for one in what people copy.
func placeholder(value string) bool {
	return strings.Contains(value, "…") || strings.Trim(value, ".") == "" && value != ""
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
	if lack := c.unfinished[prefix]; !ok && lack != "" {
		return provider.Client{}, fmt.Errorf("%w: %s", flow.ErrNoClient, lack)
	}
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
