package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/presets"
)

// ErrPlace: the grant is for no place that was asked for, or for several of
// which nobody said which one. Its text names those that there are.
var ErrPlace = errors.New("which place of the provider is meant is not known")

const (
	// maxPlaces is how many places of a grant are looked at.
	maxPlaces = 1000
	// maxPlacesNamed is how many of them an error names.
	maxPlacesNamed = 10
)

// Discover asks which place of the provider fresh tokens are for, where its file
// says that they can be for several, and keeps what tells of it in the metadata
// of r. Without a place, [ErrPlace]: the grant is of no use, and the caller may
// revoke it.
func (e *Engine) Discover(ctx context.Context, t Target, r Result) error {
	d := t.Provider.Discovery
	if d == nil {
		return nil
	}
	access, ok := mainToken(r.Set.Access)
	if !ok {
		return fmt.Errorf("%w: no access token", ErrTarget)
	}
	c, err := e.apiCall(t, opAPI, d.Request, r.Set.Access.Metadata, access)
	if err != nil {
		return err
	}
	f, err := e.fill(t, r.Set.Access.Metadata)
	if err != nil {
		return err
	}
	reply, err := e.send(ctx, t.Provider, c)
	if err != nil {
		return err
	}
	items, ok := lookup(reply.doc, d.Items).([]any)
	if !ok {
		return c.failed(t.Provider, reply.status, reply.doc)
	}
	items = items[:min(maxPlaces, len(items))]
	wanted, err := f.wanted(d.Match)
	if err != nil {
		return err
	}
	secrets := r.Set.Secrets()
	var found []any
	for _, item := range items {
		// A place may be listed once for each product that is used there.
		if fits(item, wanted) && !slices.ContainsFunc(found, func(other any) bool { return samePlace(d.Metadata, item, other) }) {
			found = append(found, item)
		}
	}
	switch {
	case len(found) == 1:
	case len(items) == 0:
		return fmt.Errorf("%w: %s granted access to none", ErrPlace, t.Provider.DisplayName)
	case len(found) == 0:
		return fmt.Errorf("%w: %s granted access to %s, not to the one that was asked for", ErrPlace, t.Provider.DisplayName, places(items, d.Label, secrets))
	default:
		return fmt.Errorf("%w: %s granted access to %s: say which before connecting", ErrPlace, t.Provider.DisplayName, places(found, d.Label, secrets))
	}
	for name, path := range d.Metadata {
		if value, ok := text(lookup(found[0], path)); ok {
			r.Set.Access.Metadata[name] = clean(value, maxMetadata, secrets)
		}
	}
	return nil
}

// wanted are the values that an item has to have. What needs a parameter that
// has no value is not among them.
func (f fill) wanted(match map[string]string) (map[string]string, error) {
	out := map[string]string{}
	for path, template := range match {
		value, err := f.text(template)
		switch {
		case errors.Is(err, presets.ErrParameter):
		case err != nil:
			return nil, err
		default:
			out[path] = value
		}
	}
	return out, nil
}

func fits(item any, wanted map[string]string) bool {
	for path, value := range wanted {
		if got, ok := text(lookup(item, path)); !ok || !strings.EqualFold(got, value) {
			return false
		}
	}
	return true
}

// samePlace reports whether two items differ in nothing that is kept of them.
func samePlace(kept map[string]string, a, b any) bool {
	for _, path := range kept {
		one, _ := text(lookup(a, path))
		other, _ := text(lookup(b, path))
		if one != other {
			return false
		}
	}
	return true
}

// places are the names of the first items, for people.
func places(items []any, label string, secrets []string) string {
	var out []string
	for _, item := range items[:min(maxPlacesNamed, len(items))] {
		name, _ := text(lookup(item, label))
		out = append(out, orElse(clean(name, 100, secrets), "one without a name"))
	}
	if more := len(items) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return strings.Join(out, ", ")
}
