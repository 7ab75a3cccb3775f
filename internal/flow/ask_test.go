package flow_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

func question(con string, scopes ...string) flow.Question {
	return flow.Question{Tenant: tenant, UserID: user, Server: "notes", ConnectionID: con, Scopes: scopes, Seed: []byte("canary " + con + " " + strings.Join(scopes, " "))}
}

// asked is the flow of the question.
func (w *world) asked(q flow.Question) flow.Flow {
	w.t.Helper()
	address, err := w.start.Ask(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	id, ok := strings.CutPrefix(address, "https://lanyard.example/c/")
	if !ok || strings.ContainsAny(id, "?#/") || strings.Contains(address, user) {
		w.t.Fatalf("the address %s", address)
	}
	f, err := w.start.Look(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// TestAsk: a question has one flow for a while, and another when that has ended,
// is about to, or asks for something else. The scopes are those that are missing
// beside what the server needs and the connection has.
func TestAsk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tenant.Confirm = true
	c := w.connected(flow.StartRequest{Tenant: tenant, UserID: user, Server: "notes", Proven: true}, "ada")
	first := w.asked(question(c.ID, "extra"))
	if !first.Elicited || !first.Confirm || first.UserID != user || first.ConnectionID != c.ID || !slices.Equal(first.Scopes[""], []string{"read", "write", "extra"}) {
		t.Errorf("%+v", first)
	}
	w.pass(time.Minute)
	if again := w.asked(question(c.ID, "extra")); again.ID != first.ID {
		t.Error("the same question has two flows")
	}
	if other := w.asked(question(c.ID, "extra", "more")); other.ID == first.ID {
		t.Error("another question has the same flow")
	}
	if other := w.asked(question(c.ID)); other.ID == first.ID || !slices.Equal(other.Scopes[""], []string{"read", "write"}) {
		t.Errorf("without scopes: %+v", other)
	}
	if _, err := w.start.Cancel(t.Context(), first.ID, anna); err != nil {
		t.Fatal(err)
	}
	second := w.asked(question(c.ID, "extra"))
	if second.ID == first.ID {
		t.Error("a flow that was cancelled asks again")
	}
	w.pass(16 * time.Minute)
	third := w.asked(question(c.ID, "extra"))
	if third.ID == second.ID || third.ExpiresAt.Sub(w.clock()) < 15*time.Minute {
		t.Errorf("the person is left %v", third.ExpiresAt.Sub(w.clock()))
	}
	// What is declined again and again is not asked for ever.
	for n := 0; ; n++ {
		address, err := w.start.Ask(t.Context(), question("", "x"))
		if err != nil {
			wantError(t, err, flow.ErrFlowEnded)
			if n != 8 {
				t.Errorf("%d flows", n)
			}
			break
		}
		if _, err := w.start.Cancel(t.Context(), strings.TrimPrefix(address, "https://lanyard.example/c/"), anna); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		q    flow.Question
		want error
	}{
		{flow.Question{Tenant: tenant, UserID: user, Server: "nothing"}, flow.ErrServer},
		{flow.Question{Tenant: tenant, UserID: user, Server: "search"}, flow.ErrAuthType},
		{flow.Question{Tenant: tenant, UserID: "grace", Server: "notes", ConnectionID: c.ID}, flow.ErrConnection},
	} {
		_, err := w.start.Ask(t.Context(), test.q)
		wantError(t, err, test.want)
	}
}

// TestAsksOnePerson: only the person whom an elicited flow asks answers it, and
// nobody confirms what the owner of the machine does.
func TestAsksOnePerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tenant.Confirm = true
	f := w.asked(question(""))
	for name, ses := range map[string]flow.Session{
		"another user":                    {Tenant: tenant, UserID: "grace"},
		"another tenant":                  {Tenant: "other", UserID: user},
		"the owner, who is somebody else": {Tenant: tenant, UserID: "grace", Owner: true},
		"a link for another server":       {Tenant: tenant, UserID: user, Servers: []string{"mail"}},
		"nobody":                          {},
	} {
		wantError(t, f.Asks(ses), flow.ErrFlowOther)
		wantError(t, w.start.ByOwner(t.Context(), f, ses), flow.ErrFlowOther)
		if now, err := w.start.Look(t.Context(), f.ID); err != nil || !now.Confirm || now.Revision != f.Revision {
			t.Errorf("%s changed it: %+v %v", name, now, err)
		}
	}
	if err := w.start.ByOwner(t.Context(), f, flow.Session{Tenant: tenant, UserID: user}); err != nil {
		t.Error(err)
	}
	if now, _ := w.start.Look(t.Context(), f.ID); !now.Confirm {
		t.Error("a link's session needs no confirmation")
	}
	if err := w.start.ByOwner(t.Context(), f, flow.Session{Tenant: tenant, UserID: user, Owner: true}); err != nil {
		t.Error(err)
	}
	f, err := w.start.Look(t.Context(), f.ID)
	if err != nil || f.Confirm {
		t.Errorf("the owner's own is to be confirmed: %v", err)
	}
	done, err := w.fin.Finish(t.Context(), w.consent(f, anna, "ada"), anna)
	if err != nil || done.Status != flow.Connected || w.row(done.Result.ConnectionID).Status != connection.Connected {
		t.Errorf("%s %v", done.Status, err)
	}
	plain := w.begin(w.request())
	wantError(t, plain.Asks(flow.Session{Tenant: tenant, UserID: "grace"}), nil)
}
