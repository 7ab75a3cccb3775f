package presets

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
)

// Feature is something of a provider's that is off until whoever registers the
// client turns it on there: at Google, an API.
type Feature struct {
	Name string `yaml:"name"`
	// URL is the provider's page to turn it on.
	URL string `yaml:"url"`
}

// Enabling is a feature that has to be on, and the servers that want it.
type Enabling struct {
	Feature
	Servers []Server
}

// ToEnable are the features that servers want of a provider, by name, each page
// once.
func ToEnable(provider string, servers []Server) []Enabling {
	var out []Enabling
	for _, s := range servers {
		if s.OAuthService != provider {
			continue
		}
		for _, f := range s.OAuthEnable {
			i := slices.IndexFunc(out, func(e Enabling) bool { return e.URL == f.URL })
			if i < 0 {
				i, out = len(out), append(out, Enabling{Feature: f})
			}
			out[i].Servers = append(out[i].Servers, s)
		}
	}
	slices.SortStableFunc(out, func(a, b Enabling) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (c *serverCheck) checkEnable() {
	c.refuse("oauth_service discover", "$.oauth_enable", c.Discovers() && len(c.OAuthEnable) > 0)
	for i, f := range c.OAuthEnable {
		path := fmt.Sprintf("$.oauth_enable[%d]", i)
		if f.Name == "" {
			c.add(path, "name is missing: what it is called at the provider")
		}
		if u, err := url.Parse(f.URL); err != nil || u.Scheme != "https" || u.Host == "" {
			c.add(path+".url", "must be an https URL: the provider's page to turn it on")
		}
		if slices.ContainsFunc(c.OAuthEnable[:i], func(o Feature) bool { return o.URL == f.URL }) {
			c.add(path+".url", "is there twice")
		}
	}
}
