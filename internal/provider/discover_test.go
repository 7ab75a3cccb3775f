package provider

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/token"
)

const sites = acme + `
parameters: {site: {label: Site, pattern: '^([a-z]+)?$'}}
discovery:
  request: {url: https://acme.example/sites}
  items: data
  match: {host: "{site}.acme.example"}
  label: name
  metadata: {site_id: id, site_name: name, site_plan: plan}
`

// discover asks which of the places of a reply is meant.
func discover(t *testing.T, site, reply string) (map[string]string, error) {
	t.Helper()
	target := targetOf(decodeProvider(t, []byte(sites)))
	target.Params = map[string]string{"site": site}
	set := token.Set{Access: token.Access{Metadata: map[string]string{}, Tokens: map[string]token.Token{"": {AccessToken: "access-main"}}}}
	err := engineOver(&canned{body: reply}).Discover(t.Context(), target, Result{Set: set})
	return set.Access.Metadata, err
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	const one, two = `{"id": 1, "name": "One", "host": "One.acme.example"}`, `{"id": "2", "name": "Two", "host": "two.acme.example"}`
	for name, tt := range map[string]struct {
		site, items string
		id, said    string // one of them
	}{
		"the only one":           {"", one, "1", ""},
		"asked for":              {"two", one + "," + two, "2", ""},
		"in other letters":       {"one", one + "," + two, "1", ""},
		"several":                {"", one + "," + two, "", "granted access to One, Two: say which before connecting"},
		"another one":            {"three", one + "," + two, "", "granted access to One, Two, not to the one that was asked for"},
		"none":                   {"", "", "", "granted access to none"},
		"none, one asked for":    {"one", "", "", "granted access to none"},
		"twice the same":         {"", `{"id": 1, "name": "One", "scopes": ["a"]}, {"id": 1, "name": "One", "scopes": ["b"]}`, "1", ""},
		"nonsense beside it":     {"two", `null, 7, [], {"host": {}}, ` + two, "2", ""},
		"without a name":         {"three", `{"id": 3, "host": "x"}`, "", "granted access to one without a name, not"},
		"a name to deceive with": {"three", `{"id": 3, "name": "A\u202e\u0007B access-main", "host": "x"}`, "", "granted access to AB [redacted], not"},
	} {
		kept, err := discover(t, tt.site, `{"data": [`+tt.items+`]}`)
		if kept["site_id"] != tt.id || (err == nil) != (tt.said == "") {
			t.Errorf("%s: %v, %v", name, kept, err)
		}
		if tt.said != "" && (!errors.Is(err, ErrPlace) || !strings.Contains(err.Error(), tt.said)) {
			t.Errorf("%s: said %q", name, err)
		}
		if _, there := kept["site_plan"]; there {
			t.Errorf("%s: kept what was not there", name)
		}
	}
}

// TestDiscoverMany: however long the list, what is said of it is short.
func TestDiscoverMany(t *testing.T) {
	t.Parallel()
	var items []string
	for i := range 2 * maxPlaces {
		items = append(items, fmt.Sprintf(`{"id": %d, "name": "Place %[1]d", "host": "x"}`, i))
	}
	_, err := discover(t, "", `{"data": [`+strings.Join(items, ",")+`]}`)
	if !errors.Is(err, ErrPlace) || len(err.Error()) > 400 || !strings.Contains(err.Error(), fmt.Sprintf("%d more", maxPlaces-maxPlacesNamed)) {
		t.Errorf("%v", err)
	}
}

func TestDiscoverFails(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]Verdict{`{"data": {}}`: ProviderDown, `<html>`: ProviderDown, `{"data": null, "error": "insufficient_scope"}`: ScopeLost} {
		_, err := discover(t, "", reply)
		check(t, err, want, want == ProviderDown)
	}
	target := targetOf(decodeProvider(t, []byte(acme)))
	if err := engineOver(nil).Discover(t.Context(), target, Result{}); err != nil {
		t.Errorf("a provider of one place: %v", err)
	}
	target.Provider = decodeProvider(t, []byte(sites))
	if err := engineOver(nil).Discover(t.Context(), target, Result{}); !errors.Is(err, ErrTarget) {
		t.Errorf("without a token: %v", err)
	}
	stub := &canned{status: http.StatusUnauthorized}
	set := token.Set{Access: token.Access{Tokens: map[string]token.Token{"": {AccessToken: "access-main"}}}}
	check(t, engineOver(stub).Discover(t.Context(), target, Result{Set: set}), Reconnect, false)
}
