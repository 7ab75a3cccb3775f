package provider

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/token"
)

const sites = acme + `
discovery:
  request: {url: https://acme.example/sites}
  kind: site
  items: data
  id: id
  label: url
  name: name
  metadata: {site_id: id, site_plan: plan}
`

// discover asks which places a reply names.
func discover(t *testing.T, reply string) ([]Place, error) {
	t.Helper()
	set := token.Set{Access: token.Access{Metadata: map[string]string{}, Tokens: map[string]token.Token{"": {AccessToken: "access-main"}}}}
	places, err := engineOver(&canned{body: reply}).Discover(t.Context(), targetOf(decodeProvider(t, []byte(sites))), Result{Set: set})
	if len(set.Access.Metadata) > 0 {
		t.Errorf("%v is kept, and nobody has picked a place", set.Access.Metadata)
	}
	return places, err
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	const one, two = `{"id": 1, "name": "One", "url": "https://one.acme.example"}`, `{"id": "2", "name": "Two", "url": "two.acme.example", "plan": "free"}`
	first := Place{"1", "one.acme.example", "One", map[string]string{"site_id": "1"}}
	second := Place{"2", "two.acme.example", "Two", map[string]string{"site_id": "2", "site_plan": "free"}}
	for name, tt := range map[string]struct {
		items string
		want  []Place
	}{
		"one":                {one, []Place{first}},
		"several, in order":  {two + "," + one, []Place{second, first}},
		"none":               {"", nil},
		"the same twice":     {one + `, {"id": "1", "name": "Renamed", "url": "x"}`, []Place{first}},
		"nonsense beside it": {`null, 7, [], {}, {"id": {}}, {"id": ""}, {"id": "\u0007"}, {"name": "nameless"}, ` + two, []Place{second}},
		"a name to deceive with": {`{"id": "access-main", "name": "A\u202e\u0007B  access-main\n", "url": "https://access-main"}`,
			[]Place{{"[redacted]", "[redacted]", "AB [redacted]", map[string]string{"site_id": "[redacted]"}}}},
		"without a name": {`{"id": 3}`, []Place{{"3", "", "", map[string]string{"site_id": "3"}}}},
	} {
		places, err := discover(t, `{"data": [`+tt.items+`]}`)
		if !reflect.DeepEqual(places, tt.want) || errors.Is(err, ErrPlace) != (tt.want == nil) || err != nil && tt.want != nil {
			t.Errorf("%s: %+v, %v", name, places, err)
		}
	}
}

// TestDiscoverMany: of a list without end, the beginning is read, and nothing in
// it is long.
func TestDiscoverMany(t *testing.T) {
	t.Parallel()
	items := []string{fmt.Sprintf(`{"id": "first", "name": %q, "url": %[1]q, "plan": %[1]q}`, strings.Repeat("x", 5*maxMetadata))}
	for i := range 2 * maxPlaces {
		items = append(items, fmt.Sprintf(`{"id": %d}`, i))
	}
	places, err := discover(t, `{"data": [`+strings.Join(items, ",")+`]}`)
	if err != nil || len(places) != maxPlaces {
		t.Fatalf("%d places, %v", len(places), err)
	}
	if p := places[0]; len([]rune(p.Name)) != maxPlaceName || len([]rune(p.Label)) != maxPlaceName || len([]rune(p.Metadata["site_plan"])) != maxMetadata {
		t.Errorf("%d, %d and %d characters are kept of it", len(p.Name), len(p.Label), len(p.Metadata["site_plan"]))
	}
}

func TestDiscoverFails(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]Verdict{`{"data": {}}`: ProviderDown, `<html>`: ProviderDown, `{"data": null, "error": "insufficient_scope"}`: ScopeLost} {
		_, err := discover(t, reply)
		check(t, err, want, want == ProviderDown)
	}
	target := targetOf(decodeProvider(t, []byte(acme)))
	if places, err := engineOver(nil).Discover(t.Context(), target, Result{}); err != nil || places != nil {
		t.Errorf("a provider of one place: %v, %v", places, err)
	}
	target.Provider = decodeProvider(t, []byte(sites))
	if _, err := engineOver(nil).Discover(t.Context(), target, Result{}); !errors.Is(err, ErrTarget) {
		t.Errorf("without a token: %v", err)
	}
	stub := &canned{status: http.StatusUnauthorized}
	set := token.Set{Access: token.Access{Tokens: map[string]token.Token{"": {AccessToken: "access-main"}}}}
	_, err := engineOver(stub).Discover(t.Context(), target, Result{Set: set})
	check(t, err, Reconnect, false)
}
