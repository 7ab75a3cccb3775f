package flow_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/presets"
)

// at puts the client at a host; "" takes it back to the provider's default.
func (w *world) at(host string) {
	w.clientAt = nil
	if host != "" {
		w.clientAt = map[string]string{"host": host}
	}
}

func (w *world) forge() flow.StartRequest {
	r := w.request()
	r.Server = "forge"
	return r
}

// TestClientAt: a person is sent to where the client is, and nowhere else,
// whatever they type; the grant says where it was made.
func TestClientAt(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"", "git.acme.example"} {
		w := newWorld(t)
		w.at(host)
		want := "forge.example"
		if host != "" {
			want = host
		}
		var asked []string
		w.acme.answer = func(r *http.Request, form url.Values) (int, string) {
			asked = append(asked, r.URL.Host)
			return w.acme.token(form)
		}
		r := w.forge()
		r.Parameters = map[string]string{"host": "evil.example"}
		f := w.begin(r)
		consent, err := w.start.Consent(t.Context(), f.ID, anna)
		if err != nil || consent.ProviderHost != want {
			t.Errorf("the person is asked about %s, %v, want %s", consent.ProviderHost, err, want)
		}
		to, err := w.start.Authorize(t.Context(), f.ID, anna)
		if err != nil || !strings.HasPrefix(to, "https://"+want+"/authorize?") {
			t.Fatalf("they are sent to %s, %v", to, err)
		}
		f, err = w.fin.Finish(t.Context(), w.acme.grant(t, to, "ada1"), anna)
		if err != nil {
			t.Fatal(err)
		}
		c := w.row(f.Result.ConnectionID)
		if !maps.Equal(c.ClientAt, map[string]string{"host": want}) || len(c.Parameters) != 0 {
			t.Errorf("granted at %v, with %v", c.ClientAt, c.Parameters)
		}
		if len(asked) != 1 || asked[0] != want {
			t.Errorf("the code went to %v", asked)
		}
	}
}

// TestClientMovesMeanwhile: what one host has answered is not sent to another.
func TestClientMovesMeanwhile(t *testing.T) {
	t.Parallel()
	for _, move := range [][2]string{{"", "git.acme.example"}, {"git.acme.example", ""}, {"git.acme.example", "other.example"}} {
		w := newWorld(t)
		w.at(move[0])
		begun := w.begin(w.forge())
		answer := w.consent(w.begin(w.forge()), anna, "ada1")
		w.at(move[1])
		if _, err := w.start.Authorize(t.Context(), begun.ID, anna); err == nil {
			t.Errorf("%v: a person is sent elsewhere than they were told", move)
		} else {
			wantError(t, err, flow.ErrMoved)
		}
		f, err := w.fin.Finish(t.Context(), answer, anna)
		wantError(t, err, flow.ErrMoved)
		w.noSecret(err)
		if f.Status != flow.Failed || f.Result.Code != "client_moved" || w.acme.exchanges != 0 || len(w.rows()) != 0 {
			t.Errorf("%v: %s %s, %d exchanges, %d connections", move, f.Status, f.Result.Code, w.acme.exchanges, len(w.rows()))
		}
	}
	// Said in other words, it is the same host.
	w := newWorld(t)
	answer := w.consent(w.begin(w.forge()), anna, "ada1")
	w.at("forge.example")
	if _, err := w.fin.Finish(t.Context(), answer, anna); err != nil {
		t.Error(err)
	}
}

// TestReconnectWhereTheClientIs: an account of another host is another one, be its
// number the same; the connection that is to be renewed takes it.
func TestReconnectWhereTheClientIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.connected(w.forge(), "ada1")
	if again := w.connected(w.forge(), "ada1"); again.ID != first.ID {
		t.Error("the same account of the same host is found again")
	}
	// A row of before it was noted where it was made: at the default.
	if _, err := w.store.Update(t.Context(), first.Key, func(c *connection.Connection) error { c.ClientAt = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	if again := w.connected(w.forge(), "ada1"); again.ID != first.ID || again.ClientAt["host"] != "forge.example" {
		t.Errorf("a row that does not say where it was made: %s, at %v", again.ID, again.ClientAt)
	}

	w.at("git.acme.example")
	beside := w.connected(w.forge(), "ada1")
	if beside.ID == first.ID || w.row(first.ID).ClientAt["host"] != "forge.example" {
		t.Error("number ada1 of another host is taken for the account of the first")
	}
	r := w.forge()
	r.ConnectionID = first.ID
	renewed := w.connected(r, "someone2")
	if renewed.ID != first.ID || renewed.ClientAt["host"] != "git.acme.example" || renewed.Account.Subject != "someone2" {
		t.Errorf("%s at %v, of %s", renewed.ID, renewed.ClientAt, renewed.Account.Subject)
	}
	// From now on it is that account's.
	_, err := w.connect(r, "ada1")
	wantError(t, err, flow.ErrOtherAccount)
}

// TestServerElsewhere: a server that is for the default alone gets no token of
// another host.
func TestServerElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.request()
	r.Server = "forge-main"
	w.begin(r)
	server, _ := catalogue{}.Server("forge-main")
	if err := w.start.HasClient(t.Context(), tenant, server); err != nil {
		t.Error(err)
	}
	w.at("git.acme.example")
	_, err := w.start.Start(t.Context(), r)
	wantError(t, err, flow.ErrNoClient)
	if !strings.Contains(err.Error(), "git.acme.example") || !strings.Contains(err.Error(), "forge.example") {
		t.Errorf("it does not say what is wrong: %v", err)
	}
	_, err = w.start.Preview(t.Context(), r)
	wantError(t, err, flow.ErrNoClient)
	wantError(t, w.start.HasClient(t.Context(), tenant, server), flow.ErrNoClient)
	w.at("evil.example/x")
	_, err = w.start.Start(t.Context(), w.forge())
	wantError(t, err, flow.ErrParameter)
}

// TestClientNowhere: where there is no default, a client that does not say where it
// is counts as none, and the operator reads what to say.
func TestClientNowhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.request()
	r.Server = "lone"
	server, _ := catalogue{}.Server("lone")
	_, err := w.start.Start(t.Context(), r)
	for what, err := range map[string]error{"start": err, "has client": w.start.HasClient(t.Context(), tenant, server)} {
		wantError(t, err, flow.ErrNoClient)
		if !strings.Contains(err.Error(), "host") || !strings.Contains(err.Error(), "has to be said with the client") {
			t.Errorf("%s: it does not say what is wrong: %v", what, err)
		}
	}
	w.at("git.acme.example")
	if err := w.start.HasClient(t.Context(), tenant, server); err != nil {
		t.Error(err)
	}
	if c := w.connected(r, "ada1"); c.ClientAt["host"] != "git.acme.example" {
		t.Errorf("granted at %v", c.ClientAt)
	}
}

// TestCheckClientAt: the host counts, and not how it was said.
func TestCheckClientAt(t *testing.T) {
	t.Parallel()
	p, _ := catalogue{}.Provider("forge")
	plain, _ := catalogue{}.Provider("acme")
	host := func(h string) map[string]string { return map[string]string{"host": h} }
	for _, tt := range []struct {
		at, now map[string]string
		moved   bool
	}{
		{nil, nil, false}, {nil, host("forge.example"), false}, {host("forge.example"), nil, false}, {host("a.example"), host("a.example"), false},
		{nil, host("a.example"), true}, {host("a.example"), nil, true}, {host("a.example"), host("b.example"), true},
		{host("not allowed any more/"), host("a.example"), true},
	} {
		err := flow.CheckClientAt(p, tt.at, provider.Client{ID: "same", Parameters: tt.now})
		if moved := err != nil; moved != tt.moved {
			t.Errorf("from %v to %v: %v", tt.at, tt.now, err)
		}
		if tt.moved {
			wantError(t, err, flow.ErrMoved)
		}
		if err := flow.CheckClientAt(plain, tt.at, provider.Client{Parameters: tt.now}); err != nil {
			t.Errorf("a provider at one host: %v", err)
		}
	}
}

// sitesOfForge is a catalogue whose forge has several sites at each host.
type sitesOfForge struct{ catalogue }

func (c sitesOfForge) Provider(id string) (presets.Provider, bool) {
	p, ok := c.catalogue.Provider(id)
	if id == "forge" {
		sites, _ := c.catalogue.Provider("sites")
		p.Discovery = sites.Discovery
	}
	return p, ok
}

// TestPlaceWhereTheClientIs: a place of another host is another one, be its id the same.
func TestPlaceWhereTheClientIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start.Catalogue, w.fin.Catalogue = sitesOfForge{}, sitesOfForge{}
	w.grants("north", "south")
	c := w.picks(w.forge(), "ada1", "north")
	w.at("git.acme.example")
	r := w.forge()
	r.ConnectionID = c.ID
	f, err := w.connect(r, "ada1")
	wantError(t, err, nil)
	if f.Status != flow.Picking {
		t.Errorf("nobody was asked: the flow is %s", f.Status)
	}
	w.wantSite(w.row(c.ID), "north")
}
