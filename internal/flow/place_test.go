package flow_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/flow"
)

// A grant that can be for several places is pinned to the one that was asked for.
func TestPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.acme.sites = func(*http.Request, url.Values) (int, string) {
		return 200, `[{"id": "1", "name": "north"}, {"id": "2", "name": "south"}]`
	}
	r := w.request()
	r.Server, r.Parameters = "sites", map[string]string{"site": "south"}
	south := w.connected(r, "ada1")
	if got := w.open(south).Access.Metadata["site_id"]; got != "2" {
		t.Errorf("site %q", got)
	}
	r.Parameters = map[string]string{"site": "north"}
	if north := w.connected(r, "ada1"); north.ID == south.ID {
		t.Error("another place of the same account is a connection of its own")
	}

	r.Parameters = nil
	f, err := w.connect(r, "ada2")
	wantError(t, err, flow.ErrParameter)
	if f.Status != flow.Failed || !strings.Contains(f.Result.Detail, "north, south: say which") {
		t.Errorf("%s: %q", f.Status, f.Result.Detail)
	}
	if ended := w.acme.ended(); len(ended) != 1 || ended[0] != "ada2" || len(w.rows()) != 2 {
		t.Errorf("ended %v, %d connections: what cannot be used is given back", ended, len(w.rows()))
	}

	w.acme.sites = func(*http.Request, url.Values) (int, string) { return 503, "" }
	_, err = w.connect(r, "ada3")
	wantError(t, err, flow.ErrProviderDown)
}

// What nobody filled in is no parameter: the connection is found again.
func TestPlaceLeftEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.acme.sites = func(*http.Request, url.Values) (int, string) { return 200, `[{"id": "1", "name": "north"}]` }
	r := w.request()
	r.Server = "sites"
	first := w.connected(r, "ada1")
	r.Parameters = map[string]string{"site": ""}
	if again := w.connected(r, "ada1"); again.ID != first.ID || len(again.Parameters) != 0 {
		t.Errorf("%s and %s, with %v", first.ID, again.ID, again.Parameters)
	}
}
