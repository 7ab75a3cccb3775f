package presets

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// ErrParameter is wrapped when a parameter of a provider is missing or has a
// value that the provider's file does not allow.
var ErrParameter = errors.New("parameter not usable")

// maxExtends bounds how many files an alias may go through.
const maxExtends = 4

// Resolve applies what p extends and then the variant (empty for none), key by
// key: mappings merge, lists and scalars replace. The result extends nothing,
// has no variants and has passed Check.
func (p Provider) Resolve(variant string, lookup func(id string) (Provider, bool)) (Provider, error) {
	merged := p
	for depth := 0; merged.Extends != ""; depth++ {
		parent, ok := lookup(merged.Extends)
		if !ok {
			return Provider{}, fmt.Errorf("provider %s extends %q, which does not exist", p.ID, merged.Extends)
		}
		if depth == maxExtends {
			return Provider{}, fmt.Errorf("provider %s extends itself, or through more than %d files", p.ID, maxExtends)
		}
		merged.Extends = ""
		next, err := overlay(parent, merged)
		if err != nil {
			return Provider{}, fmt.Errorf("provider %s extends %s: %w", p.ID, parent.ID, err)
		}
		next.Extends = parent.Extends
		merged = next
	}
	variants := merged.Variants
	merged.Variants = nil
	if variant != "" {
		over, ok := variants[variant]
		if !ok {
			names := slices.Sorted(maps.Keys(variants))
			return Provider{}, fmt.Errorf("provider %s has no variant %q (it has: %s)", p.ID, variant, strings.Join(names, ", "))
		}
		var err error
		if merged, err = overlay(merged, over); err != nil {
			return Provider{}, fmt.Errorf("provider %s, variant %s: %w", p.ID, variant, err)
		}
	}
	if problems := merged.Check(); len(problems) > 0 {
		return Provider{}, fmt.Errorf("provider %s: %s: %s", p.ID, problems[0].Path, problems[0].Message)
	}
	return merged, nil
}

// overlay merges two providers as the documents that they were read from. Zero
// values are not written, so only what over says replaces anything.
func overlay(base, over Provider) (Provider, error) {
	low, err := document(base)
	if err != nil {
		return Provider{}, err
	}
	high, err := document(over)
	if err != nil {
		return Provider{}, err
	}
	merge(low, high)
	data, err := yaml.Marshal(low)
	if err != nil {
		return Provider{}, err
	}
	var out Provider
	return out, yaml.UnmarshalWithOptions(data, &out, yaml.Strict())
}

func document(p Provider) (map[string]any, error) {
	data, err := yaml.Marshal(p)
	if err != nil {
		return nil, err
	}
	doc := map[string]any{}
	return doc, yaml.Unmarshal(data, &doc)
}

func merge(low, high map[string]any) {
	for key, value := range high {
		below, ok := low[key].(map[string]any)
		above, also := value.(map[string]any)
		if ok && also {
			merge(below, above)
			continue
		}
		low[key] = value
	}
}

// Inputs are where the values of parameters come from. They are kept apart so
// that nothing a person sends can stand in for what the deployment sets.
type Inputs struct {
	User       map[string]string
	Deployment map[string]string
	// Client is what was set with our client at the provider.
	Client map[string]string
	// Metadata of the tokens: what callback and token response gave.
	Metadata map[string]string
}

// Values are the parameters that have a value, each allowed by its pattern or
// enum. A parameter without a value is left out; [Expand] misses it where it is
// used. Names that the provider does not declare are ignored.
func (p Provider) Values(in Inputs) (map[string]string, error) {
	out := map[string]string{}
	for name, param := range p.Parameters {
		if param.Source == SourceDerived {
			continue
		}
		value := param.Default
		if given := param.given(name, in); given != "" {
			value = given
		}
		if value == "" && !slices.Contains(param.Enum, "") {
			continue
		}
		if err := param.Allows(value); err != nil {
			return nil, fmt.Errorf("%w: %s of %s: %w", ErrParameter, name, p.DisplayName, err)
		}
		out[name] = value
	}
	return out, p.derive(out)
}

// derive adds the parameters that follow from others.
func (p Provider) derive(values map[string]string) error {
	for name, param := range p.Parameters {
		for _, c := range param.Cases {
			if !c.applies(values) {
				continue
			}
			value, err := Expand(c.Value, values)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", name, p.DisplayName, err)
			}
			values[name] = value
			break
		}
	}
	return nil
}

func (c ParameterCase) applies(values map[string]string) bool {
	for name, pattern := range c.When {
		value, ok := values[name]
		if !ok || (Parameter{Pattern: pattern}).Allows(value) != nil {
			return false
		}
	}
	return true
}

// ClientParameters are the names of the parameters that are said with our client.
func (p Provider) ClientParameters() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(p.Parameters)) {
		if p.Parameters[name].Source == SourceClient {
			names = append(names, name)
		}
	}
	return names
}

// ClientValues are where our client is: the values of its parameters, whether
// they were set with it or are the provider's defaults. Where one is neither, nobody
// knows: that is [ErrParameter].
func (p Provider) ClientValues(set map[string]string) (map[string]string, error) {
	values, err := p.Values(Inputs{Client: set})
	if err != nil {
		return nil, err
	}
	var out map[string]string
	for _, name := range p.ClientParameters() {
		value, ok := values[name]
		if !ok {
			return nil, fmt.Errorf("%w: %s of %s has to be said with the client", ErrParameter, name, p.DisplayName)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out, nil
}

// AtDefaults are the values of a server's provider while nothing was set with our
// client there.
func (c *Catalogue) AtDefaults(s Server) (map[string]string, error) {
	p, ok := c.Provider(s.OAuthService)
	if !ok || !s.AtClient() {
		return nil, nil
	}
	p, err := p.Resolve("", c.Provider)
	if err != nil {
		return nil, err
	}
	return p.Values(Inputs{})
}

func (p Parameter) given(name string, in Inputs) string {
	switch p.Source {
	case SourceDeployment:
		return in.Deployment[name]
	case SourceClient, SourceDerived:
		return in.Client[name]
	case SourceCallback, SourceTokenResponse:
		return in.Metadata[name]
	case "", SourceUser:
		return in.User[name]
	}
	return "" // of a source that nobody knows: not what a person typed
}
