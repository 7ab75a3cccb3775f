package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/lanyardhq/lanyard/presets"
)

// ErrPlace: the grant is for no place of the provider at all.
var ErrPlace = errors.New("access was granted to no place of the provider")

const (
	// maxPlaces is how many places of a grant are looked at.
	maxPlaces = 1000
	// maxPlaceName bounds what a place is called, in characters.
	maxPlaceName = 100
)

// Place is one of the places of a provider that a grant is for. All of it is the
// provider's text, cleaned.
type Place struct {
	// ID identifies it for good; compare it, don't show it.
	ID string
	// Label tells it from other places, Name is what people call it, if something
	// else.
	Label, Name string
	// Metadata is what is kept of it beside the tokens.
	Metadata map[string]string
}

// Discover asks which places of the provider fresh tokens are for, where its file
// says that they can be for several; else there are none. A grant that is for no
// place is [ErrPlace]: it is of no use, and the caller may revoke it.
func (e *Engine) Discover(ctx context.Context, t Target, r Result) ([]Place, error) {
	d := t.Provider.Discovery
	if d == nil {
		return nil, nil
	}
	access, ok := mainToken(r.Set.Access)
	if !ok {
		return nil, fmt.Errorf("%w: no access token", ErrTarget)
	}
	c, err := e.apiCall(t, opAPI, d.Request, r.Set.Access.Metadata, access)
	if err != nil {
		return nil, err
	}
	reply, err := e.send(ctx, t.Provider, c)
	if err != nil {
		return nil, err
	}
	items, ok := lookup(reply.doc, d.Items).([]any)
	if !ok {
		return nil, c.failed(t.Provider, reply.status, reply.doc)
	}
	secrets, seen := r.Set.Secrets(), map[string]bool{}
	var found []Place
	for _, item := range items[:min(maxPlaces, len(items))] {
		// A place may be listed once for each product that is used there.
		if p := placeOf(*d, item, secrets); p.ID != "" && !seen[p.ID] {
			seen[p.ID] = true
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: %s named no %s", ErrPlace, t.Provider.DisplayName, d.Kind)
	}
	return found, nil
}

// placeOf reads one item of the reply. Without an id it is no place.
func placeOf(d presets.Discovery, item any, secrets []string) Place {
	read := func(path string, most int) string {
		if path == "" {
			return "" // not the item itself
		}
		value, _ := text(lookup(item, path))
		return clean(value, most, secrets)
	}
	p := Place{ID: read(d.ID, maxMetadata), Label: strings.TrimPrefix(read(d.Label, maxPlaceName), "https://"), Name: read(d.Name, maxPlaceName), Metadata: map[string]string{}}
	for name, path := range d.Metadata {
		if value, ok := text(lookup(item, path)); ok {
			p.Metadata[name] = clean(value, maxMetadata, secrets)
		}
	}
	return p
}
