package flow

import (
	"maps"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/presets"
)

// AskedParameter is one value that a person is asked for before connecting.
type AskedParameter struct {
	Name string
	presets.Parameter
}

// Asked are the parameters of the server and of its provider that a person
// fills in, by name.
func Asked(cat Catalogue, s presets.Server) []AskedParameter {
	all := map[string]presets.Parameter{}
	if p, ok := cat.Provider(s.OAuthService); ok {
		if resolved, err := p.Resolve("", cat.Provider); err == nil {
			maps.Copy(all, resolved.Parameters)
		}
	}
	maps.Copy(all, s.Parameters)
	var out []AskedParameter
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if src := all[name].Source; src == "" || src == presets.SourceUser {
			out = append(out, AskedParameter{name, all[name]})
		}
	}
	return out
}

// ClientVariable is how a parameter of a provider's client is named in the
// environment: GITLAB_CLIENT_HOST.
func ClientVariable(provider, parameter string) string {
	return EnvPrefix(provider) + "_CLIENT_" + strings.ToUpper(parameter)
}

// EnvPrefix is how a provider's client is named in the environment: google →
// GOOGLE, as in GOOGLE_CLIENT_ID.
func EnvPrefix(provider string) string {
	return strings.ToUpper(strings.ReplaceAll(provider, "-", "_"))
}
