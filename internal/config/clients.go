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
	"github.com/lanyardhq/lanyard/presets"
)

// Clients are the registrations at providers that the environment names:
// GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET and, where a provider has kinds of
// them, GOOGLE_CLIENT_VARIANT. Of a server that says itself who grants access to
// it, say notes, it is NOTES_CLIENT_ISSUER that tells where the client is
// registered. A parameter of the client has the same prefix: GITLAB_CLIENT_HOST.
type Clients struct {
	getenv     func(string) string
	unfinished map[string]string
	parameters func(providerID string) []string
	// own are clients that are made here, by provider.
	own map[string]provider.Client
}

// Clients returns the registrations; own are added to them. parameters names what
// is said with a client of a provider, beside its id and secret.
func (c Config) Clients(parameters func(providerID string) []string, own map[string]provider.Client) *Clients {
	return &Clients{getenv: c.getenv, unfinished: c.unfinished, parameters: parameters, own: own}
}

// ClientRules are what presets say of clients, by their name in the environment,
// such as GOOGLE, and their kind.
type ClientRules interface {
	// NeedsSecret reports whether the provider is known and wants a secret.
	NeedsSecret(name, variant string) (bool, error)
	// Unfit reports why the value cannot be that parameter of the client's; "" if it
	// can, or if a client of that provider has no parameters.
	Unfit(name, variant, parameter, value string) (string, error)
}

// LeaveOutUnfinished makes clients count as not there that could only fail at the
// provider, after a person has consented: those without a secret that needs one,
// those of which a variable holds what the documentation shows in its place, and
// those with a parameter that is not allowed. It says what each lacks. environ is
// as [os.Environ] has it.
func (c *Config) LeaveOutUnfinished(environ []string, rules ClientRules) ([]string, error) {
	c.unfinished = map[string]string{}
	for _, variable := range environ {
		variable, _, _ = strings.Cut(variable, "=")
		name, isID := strings.CutSuffix(variable, "_CLIENT_ID")
		if !isID || c.getenv(variable) == "" {
			continue
		}
		unfit, err := c.unfit(environ, name, rules)
		if err != nil {
			return nil, err
		}
		secret := name + "_CLIENT_SECRET"
		switch {
		case unfit != "":
			c.unfinished[name] = unfit
		case placeholder(c.getenv(variable)):
			c.unfinished[name] = variable + " still holds a placeholder"
		case placeholder(c.getenv(secret)):
			c.unfinished[name] = secret + " still holds a placeholder"
		case c.getenv(secret) == "":
			needs, err := rules.NeedsSecret(name, c.getenv(name+"_CLIENT_VARIANT"))
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

// unfit says which parameter of the client is not allowed, if one is not.
func (c *Config) unfit(environ []string, name string, rules ClientRules) (string, error) {
	for _, variable := range environ {
		variable, value, _ := strings.Cut(variable, "=")
		parameter, ok := strings.CutPrefix(variable, name+"_CLIENT_")
		parameter = strings.ToLower(parameter)
		if !ok || value == "" || slices.Contains(presets.ClientSettings, parameter) {
			continue
		}
		why, err := rules.Unfit(name, c.getenv(name+"_CLIENT_VARIANT"), parameter, value)
		if err != nil || why != "" {
			return variable + ": " + why, err
		}
	}
	return "", nil
}

// placeholder reports what no id and no secret is (RFC 6749 appendix A: visible
// ASCII), but stands for one in what people copy.
func placeholder(value string) bool {
	return strings.Contains(value, "…") || strings.Trim(value, ".") == "" && value != ""
}

// Current implements [flow.Clients].
func (c *Clients) Current(ctx context.Context, tenant, providerID string) (provider.Client, error) {
	client, err := c.Client(ctx, tenant, providerID, "")
	client.Secret = ""
	return client, err
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
		for _, name := range c.parameters(providerID) {
			if value := c.getenv(flow.ClientVariable(providerID, name)); value != "" {
				if client.Parameters == nil {
					client.Parameters = map[string]string{}
				}
				client.Parameters[name] = value
			}
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
