package flow_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

func TestReconnectKeepsTheID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.acme.scopes = "read write extra"
	r := w.request()
	r.Scopes = []string{"read", "extra"}
	old := w.connected(r, "ada1")
	again := w.request()
	again.ConnectionID = old.ID
	f := w.begin(again)
	if !slices.Contains(f.Scopes[""], "extra") || !slices.Contains(f.Scopes[""], "write") {
		t.Errorf("asked for %v: what was granted before is lost", f.Scopes)
	}
	// Whose account it is, is told to the browser that has the flow alone.
	if c, err := w.start.Consent(t.Context(), f.ID, anna); err != nil || c.Reconnect != "" {
		t.Errorf("whoever has the address is told %q: %v", c.Reconnect, err)
	}
	claimed := again
	claimed.Browser = anna
	c, err := w.start.Consent(t.Context(), w.begin(claimed).ID, anna)
	if err != nil || c.Reconnect != "ada1@acme.example" {
		t.Errorf("consent says %q: %v", c.Reconnect, err)
	}
	f, err = w.fin.Finish(t.Context(), w.consent(f, anna, "ada1"), anna)
	wantError(t, err, nil)
	row := w.row(old.ID)
	if f.Result.ConnectionID != old.ID || row.Set.GrantVersion == old.Set.GrantVersion || len(row.Retired) != 1 || len(w.rows()) != 1 {
		t.Errorf("reconnected to %s, %d retired, %d rows", f.Result.ConnectionID, len(row.Retired), len(w.rows()))
	}
	w.open(row)
	if got := w.acme.ended(); len(got) != 0 {
		t.Errorf("revoked %v", got)
	}
}

// Reconnecting with another account is refused, and what that account granted
// is given back, unless the flow allows it.
func TestReconnectWithAnotherAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.connected(w.request(), "ada1")
	r := w.request()
	r.ConnectionID = old.ID
	f, err := w.connect(r, "ada2")
	wantError(t, err, flow.ErrOtherAccount)
	if !strings.Contains(f.Result.Detail, "ada1@acme.example") || !strings.Contains(f.Result.Detail, "ada2@acme.example") || f.Result.Code != "other_account" {
		t.Errorf("the person is told %+v", f.Result)
	}
	row := w.row(old.ID)
	if row.Revision != old.Revision || row.Set.GrantVersion != old.Set.GrantVersion {
		t.Error("the refused account changed the row")
	}
	w.open(row)
	if got := w.acme.ended(); !slices.Equal(got, []string{"ada2"}) {
		t.Errorf("revoked %v, want ada2", got)
	}
	r.AllowOtherAccount = true
	if f, err = w.connect(r, "ada2"); err != nil || w.row(old.ID).Account.Subject != "ada2" || f.Result.ConnectionID != old.ID {
		t.Errorf("allowed: %v", err)
	}
}

// Where revoking ends a whole grant, a refused one stays while another
// connection lives from it.
func TestRefusedGrantSparesASibling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.connected(w.request(), "ada1")
	mail := w.request()
	mail.Server = "mail"
	w.connected(mail, "ada2")
	r := w.request()
	r.ConnectionID = old.ID
	_, err := w.connect(r, "ada2")
	wantError(t, err, flow.ErrOtherAccount)
	if got := w.acme.ended(); len(got) != 0 {
		t.Errorf("revoked %v under the feet of a sibling", got)
	}
}

// An account whose identity is not learned is not taken for the one to reconnect.
func TestReconnectWithoutIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.connected(w.request(), "ada1")
	w.acme.identity = func(*http.Request, url.Values) (int, string) { return 500, "" }
	r := w.request()
	r.ConnectionID = old.ID
	_, err := w.connect(r, "ada1")
	wantError(t, err, flow.ErrAccount)
	if got := w.acme.ended(); len(got) != 0 {
		t.Errorf("revoked %v, which may be the grant in force", got)
	}
}

func TestSameAccountReusesItsConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.connected(w.request(), "ada1")
	if again := w.connected(w.request(), "ada1"); again.ID != first.ID {
		t.Error("a second connection for one account")
	}
	if other := w.connected(w.request(), "ada2"); other.ID == first.ID {
		t.Error("one connection for two accounts")
	}
	eve := w.request()
	eve.UserID = "eve"
	if hers := w.connected(eve, "ada1"); hers.ID == first.ID {
		t.Error("one connection for two users")
	}
	mail := w.request()
	mail.Server = "mail"
	if c := w.connected(mail, "ada1"); c.ID == first.ID {
		t.Error("one connection for two servers")
	}
}

// One account may own many shops, each with a connection: all are looked at.
func TestSameAccountWithManyShops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.request()
	r.Server = "shop"
	for range 2 {
		for i := range 12 {
			r.Parameters = map[string]string{"shop": fmt.Sprintf("shop-%02d", i)}
			w.connected(r, "ada1")
		}
	}
	if n := len(w.rows()); n != 12 {
		t.Errorf("%d connections for 12 shops", n)
	}
}

// What was granted and cannot be stored is given back, and nothing of it stays.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(*world){
		"grants":      func(w *world) { w.grant.broken = errBroken },
		"connections": func(w *world) { w.conns.broken = errBroken },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			broken(w)
			f, err := w.connect(w.request(), "ada1")
			wantError(t, err, flow.ErrStore)
			if got := w.acme.ended(); !slices.Equal(got, []string{"ada1"}) || len(w.rows()) != 0 || w.grant.count() != 0 {
				t.Errorf("revoked %v; %d rows and %d grants are left", got, len(w.rows()), w.grant.count())
			}
			if f.Status != flow.Failed || f.Result.Code != "store_unavailable" || strings.Contains(f.Result.Detail, errBroken.Error()) {
				t.Errorf("the person is told %+v", f.Result)
			}
			if !strings.Contains(w.log.String(), errBroken.Error()) {
				t.Error("the operator is not told why")
			}
		})
	}
}

// A reconnect that cannot be stored leaves the old set as it was.
func TestStoreFailsOnReconnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.connected(w.request(), "ada1")
	r := w.request()
	r.ConnectionID = old.ID
	w.conns.broken = errBroken
	_, err := w.connect(r, "ada1")
	wantError(t, err, flow.ErrStore)
	row := w.row(old.ID)
	if row.Revision != old.Revision || row.Status != connection.Connected {
		t.Error("the row changed")
	}
	w.open(row)
	if got := w.acme.ended(); len(got) != 0 {
		t.Errorf("revoked %v, which is the grant in force", got)
	}
}
