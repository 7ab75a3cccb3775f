package flow_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

// grants has each grant be for these sites from now on.
func (w *world) grants(names ...string) {
	var items []string
	for _, name := range names {
		items = append(items, fmt.Sprintf(`{"id": "id-%s", "name": "The %[1]s", "url": "https://%[1]s.acme.example"}`, name))
	}
	w.acme.sites = func(*http.Request, url.Values) (int, string) { return 200, "[" + strings.Join(items, ",") + "]" }
}

// atSites asks for the server that works with one site.
func (w *world) atSites() flow.StartRequest {
	r := w.request()
	r.Server = "sites"
	return r
}

// picks lets the person grant access, and pick a site of those that are offered.
func (w *world) picks(r flow.StartRequest, account, site string) connection.Connection {
	w.t.Helper()
	f, err := w.connect(r, account)
	if err == nil {
		f, err = w.fin.Pick(w.t.Context(), f.ID, "id-"+site, anna)
	}
	if err != nil {
		w.t.Fatalf("pick %s: %v", site, err)
	}
	return w.row(f.Result.ConnectionID)
}

func (w *world) wantSite(c connection.Connection, site string) {
	w.t.Helper()
	if got := w.open(c).Access.Metadata["site_id"]; got != "id-"+site || c.Place == nil || c.Place.ID != got {
		w.t.Errorf("site %q, row %+v, want %s", got, c.Place, site)
	}
}

// A grant for one place is that place's, and nobody is asked.
func TestOnePlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grants("north")
	first := w.connected(w.atSites(), "ada1")
	w.wantSite(first, "north")
	if first.DisplayLabel() != "ada1@acme.example · north.acme.example" || first.Proposal != nil {
		t.Errorf("label %q, %+v", first.DisplayLabel(), first.Proposal)
	}
	if again := w.connected(w.atSites(), "ada1"); again.ID != first.ID {
		t.Error("the same place of the same account became a second connection")
	}
	w.grants("south")
	if south := w.connected(w.atSites(), "ada1"); south.ID == first.ID {
		t.Error("another place of the same account is a connection of its own")
	}
}

// What cannot be used is given back.
func TestNoPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grants()
	f, err := w.connect(w.atSites(), "ada1")
	wantError(t, err, flow.ErrNoPlace)
	if want := "there: Acme named no site"; !strings.HasSuffix(f.Result.Detail, want) {
		t.Errorf("the person reads %q, want … %s", f.Result.Detail, want)
	}
	if ended := w.acme.ended(); f.Status != flow.Failed || len(ended) != 1 || len(w.rows()) != 0 {
		t.Errorf("%s, ended %v, %d connections", f.Status, ended, len(w.rows()))
	}
	w.acme.sites = func(*http.Request, url.Values) (int, string) { return 503, "" }
	_, err = w.connect(w.atSites(), "ada2")
	wantError(t, err, flow.ErrProviderDown)
}

// A reconnect keeps the place that the connection is for, as long as it may.
func TestReconnectKeepsThePlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grants("north", "south")
	south := w.picks(w.atSites(), "ada1", "south")
	r := w.atSites()
	r.ConnectionID, r.Scopes = south.ID, []string{"read", "write", "more"}
	again := w.connected(r, "ada1")
	w.wantSite(again, "south")
	if again.Set.AccessVersion == south.Set.AccessVersion {
		t.Error("nothing was renewed")
	}

	for _, left := range [][]string{{"north", "west"}, {"north"}} { // also where there is no choice: it is another place
		w.grants(left...)
		f, err := w.connect(r, "ada1")
		wantError(t, err, nil)
		o, err := w.fin.Offered(t.Context(), f.ID, anna)
		if err != nil || f.Status != flow.Picking || len(o.Places) != len(left) || o.Lost == nil || o.Lost.ID != "id-south" {
			t.Errorf("%s offers %+v: %v", f.Status, o, err)
		}
		w.wantSite(w.row(south.ID), "south")
	}
	if north := w.picks(r, "ada1", "north"); north.ID != south.ID {
		t.Error("a reconnect made another connection")
	} else {
		w.wantSite(north, "north")
	}
}

// Of many places the first are offered: the row that holds them stays small.
func TestManyPlaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprint("n", i))
	}
	w.grants(names...)
	f, err := w.connect(w.atSites(), "ada1")
	wantError(t, err, nil)
	if o, err := w.fin.Offered(t.Context(), f.ID, anna); err != nil || len(o.Places) != 50 || !o.More {
		t.Errorf("%d are offered: %v", len(o.Places), err)
	}
	_, err = w.fin.Pick(t.Context(), f.ID, "id-n50", anna)
	wantError(t, err, flow.ErrPlace)

	// One that the connection is for already is found behind them.
	last := w.picks(w.atSites(), "ada2", "n1")
	w.grants(append(names[2:], "n1")...)
	r := w.atSites()
	r.ConnectionID = last.ID
	w.wantSite(w.connected(r, "ada2"), "n1")

	for i := range names {
		names[i] = strings.Repeat("long", 250) + names[i]
	}
	w.grants(names...)
	f, err = w.connect(w.atSites(), "ada3")
	wantError(t, err, nil)
	if o, err := w.fin.Offered(t.Context(), f.ID, anna); err != nil || len(o.Places) > 40 || len(o.Places) < 20 {
		t.Errorf("%d long ones are offered: %v", len(o.Places), err)
	}
}
