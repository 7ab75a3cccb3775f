package main

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/presets"
)

// checkProvider finds a slip of the pen before it is stored. It returns the provider,
// if a preset has one.
func (c *cli) checkProvider(e cloud.ClientEntry) (presets.Provider, error) {
	id, variant := e.Provider, e.Variant
	none := func() error {
		if len(e.Parameters) > 0 {
			return usagef("--param is for a provider's client")
		}
		return nil
	}
	if id == flow.SignInClient {
		if variant != "" {
			return presets.Provider{}, usagef("--variant: there is one kind of client to sign in with")
		}
		return presets.Provider{}, none()
	}
	catalogue, err := c.catalogue()
	if err != nil {
		return presets.Provider{}, err
	}
	if s, ok := catalogue.Server(id); ok && s.Discovers() {
		if u, err := url.Parse(variant); err != nil || u.Host == "" {
			return presets.Provider{}, usagef("--issuer must be the URL of the authorization server that the client is registered at: %s says itself who grants access to it, and its client is for nobody else", id)
		}
		return presets.Provider{}, none()
	}
	p, ok := catalogue.Provider(id)
	if !ok {
		return presets.Provider{}, usagef("no preset knows a provider %q; those of your own are found in LANYARD_PRESETS", id)
	}
	if p, err = p.Resolve(variant, catalogue.Provider); err != nil {
		return presets.Provider{}, usagef("--variant: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Parameters)) {
		if !slices.Contains(p.ClientParameters(), name) {
			return presets.Provider{}, usagef("--param %s: there is nothing of that name to say of a client at %s%s", name, p.DisplayName, sayable(p))
		}
		if why := unfit(p.Parameters[name], e.Parameters[name]); why != "" {
			return presets.Provider{}, usagef("--param %s: %s", name, why)
		}
	}
	return p, nil
}

// sayable names what can be said of a client, for who said something else.
func sayable(p presets.Provider) string {
	if names := p.ClientParameters(); len(names) > 0 {
		return "; there is: " + strings.Join(names, ", ")
	}
	return ""
}

// settings are a client's parameters as they are set.
func settings(e cloud.ClientEntry) []string {
	out := []string{}
	for _, name := range slices.Sorted(maps.Keys(e.Parameters)) {
		out = append(out, name+"="+e.Parameters[name])
	}
	return out
}

// lines are a client's parameters as .env has them.
func lines(e cloud.ClientEntry) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(e.Parameters)) {
		fmt.Fprintf(&out, "  %s=%s\n", flow.ClientVariable(e.Provider, name), e.Parameters[name])
	}
	return out.String()
}

// unfit says why the value is not allowed, and what is; "" if it is.
func unfit(p presets.Parameter, value string) string {
	err := p.Allows(value)
	if err == nil {
		return ""
	}
	why := err.Error()
	if p.Help != "" {
		why += " (" + p.Help + ")"
	}
	return why
}
