package flow_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

func TestPick(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grants("north", "south", "west")
	f, err := w.connect(w.atSites(), "ada1")
	wantError(t, err, nil)
	row := w.row(f.Result.ConnectionID)
	if f.Status != flow.Picking || row.Status != connection.Pending || row.InUse() || len(row.Proposal.Places) != 3 || row.Proposal.Granted.Place != nil {
		t.Fatalf("flow %s, row %s, %+v", f.Status, row.Status, row.Proposal)
	}
	if err := row.Promote(f.ID, w.clock()); !errors.Is(err, connection.ErrNoProposal) {
		t.Errorf("it can be promoted without a place: %v", err)
	}
	for range 2 { // looking changes nothing
		o, err := w.fin.Offered(t.Context(), f.ID, anna)
		if err != nil || o.Kind != "site" || len(o.Places) != 3 || o.More || o.Lost != nil ||
			o.Places[1].Name != "The south" || o.Places[1].Label != "south.acme.example" {
			t.Fatalf("offered %+v: %v", o, err)
		}
	}

	f, err = w.fin.Pick(t.Context(), f.ID, "id-south", anna)
	wantError(t, err, nil)
	row = w.row(row.ID)
	if f.Status != flow.Connected || row.Status != connection.Connected || row.Proposal != nil || len(row.Retired) != 0 ||
		f.Result.SetID != row.Set.AccessVersion || f.Result.Account != "ada1@acme.example · south.acme.example" {
		t.Errorf("flow %s %+v, row %+v", f.Status, f.Result, row)
	}
	w.wantSite(row, "south")
	if set := w.open(row); set.Grant.Empty() || set.Access.Tokens[""].AccessToken == "" {
		t.Error("the tokens are lost")
	}
	if w.acme.sent() != 1 || len(w.acme.ended()) != 0 || w.grant.count() != 1 {
		t.Errorf("%d codes sent, ended %v, %d grants", w.acme.sent(), w.acme.ended(), w.grant.count())
	}
	_, err = w.fin.Pick(t.Context(), f.ID, "id-north", anna) // a second answer
	wantError(t, err, flow.ErrFlowEnded)
	_, err = w.fin.Offered(t.Context(), f.ID, anna)
	wantError(t, err, flow.ErrFlowEnded)
	w.wantSite(w.row(row.ID), "south")
}

// Nobody but the browser that granted access picks, or learns what there is.
func TestPickIsTheBrowsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grants("north", "south")
	f, err := w.connect(w.atSites(), "ada1")
	wantError(t, err, nil)
	other, err := w.connect(w.atSites(), "ada2")
	wantError(t, err, nil)
	started := w.begin(w.atSites())
	for name, tt := range map[string]struct {
		flow, place, browser string
		want                 error
	}{
		"another browser":              {f.ID, "id-north", bert, flow.ErrFlowClaimed},
		"no browser":                   {f.ID, "id-north", "", flow.ErrFlowClaimed},
		"no flow":                      {"flo_nope", "id-north", anna, flow.ErrFlowUnknown},
		"one that nobody has taken up": {started.ID, "id-north", "", flow.ErrFlowClaimed},
		"a place that is not offered":  {f.ID, "id-west", anna, flow.ErrPlace},
		"no place":                     {f.ID, "", anna, flow.ErrPlace},
	} {
		got, err := w.fin.Pick(t.Context(), tt.flow, tt.place, tt.browser)
		if wantError(t, err, tt.want); tt.browser != anna && got.ID != "" {
			t.Errorf("%s: is told of %+v", name, got)
		}
		if tt.browser != anna {
			o, err := w.fin.Offered(t.Context(), tt.flow, tt.browser)
			if wantError(t, err, tt.want); len(o.Places) > 0 {
				t.Errorf("%s: is shown %v", name, o.Places)
			}
			_, err = w.fin.Decline(t.Context(), tt.flow, tt.browser)
			wantError(t, err, tt.want)
		}
	}
	for _, id := range []string{f.ID, other.ID} {
		if f, err := w.start.Look(t.Context(), id); err != nil || f.Status != flow.Picking {
			t.Errorf("%s %v", f.Status, err)
		}
	}
}

// Of answers at the same time one counts, whatever they say.
func TestPicksRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grants("north", "south")
	f, err := w.connect(w.atSites(), "ada1")
	wantError(t, err, nil)
	var all sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		all.Go(func() {
			switch i % 3 {
			case 0:
				_, errs[i] = w.fin.Pick(t.Context(), f.ID, "id-north", anna)
			case 1:
				_, errs[i] = w.fin.Pick(t.Context(), f.ID, "id-south", anna)
			default:
				if _, err := w.fin.Decline(t.Context(), f.ID, anna); !errors.Is(err, flow.ErrDenied) {
					errs[i] = err
				}
			}
		})
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, flow.ErrFlowEnded) {
			t.Errorf("%v", err)
		}
	}
	if f, err := w.start.Look(t.Context(), f.ID); won != 1 || err != nil || !f.Status.Ended() {
		t.Errorf("%d answers counted, flow %s: %v", won, f.Status, err)
	}
}

// Two places of one account are two connections, and one that is there already is
// renewed.
func TestPickInTwoTabs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grants("north", "south")
	var flows []flow.Flow
	for range 3 {
		f, err := w.connect(w.atSites(), "ada1")
		wantError(t, err, nil)
		flows = append(flows, f)
	}
	var got []connection.Connection
	for i, site := range []string{"north", "south", "north"} {
		f, err := w.fin.Pick(t.Context(), flows[i].ID, "id-"+site, anna)
		if wantError(t, err, nil); f.Status != flow.Connected {
			t.Errorf("%s", f.Status)
		}
		c := w.row(f.Result.ConnectionID)
		w.wantSite(c, site)
		got = append(got, c)
	}
	if got[0].ID == got[1].ID || got[0].DisplayLabel() == got[1].DisplayLabel() {
		t.Errorf("%s and %s are not told apart: %q", got[0].ID, got[1].ID, got[1].DisplayLabel())
	}
	if got[2].ID != got[0].ID || got[2].Set.AccessVersion == got[0].Set.AccessVersion || len(got[2].Retired) != 1 {
		t.Errorf("the second grant for the same place went to %+v", got[2])
	}
	// The row in which it waited has nothing left that could be revoked.
	if rest := w.row(flows[2].Result.ConnectionID); rest.Status != connection.Deleting || rest.Proposal != nil || len(rest.Retired) != 0 {
		t.Errorf("%+v", rest)
	}
}

// moving is a person who has a connection at a place, and a flow whose grant moves
// there once they pick it.
func moving(t *testing.T) (w *world, north connection.Connection, f flow.Flow) {
	t.Helper()
	w = newWorld(t)
	w.grants("north", "south")
	north = w.picks(w.atSites(), "ada1", "north")
	f, err := w.connect(w.atSites(), "ada1")
	wantError(t, err, nil)
	return w, north, f
}

// A grant that moves and cannot be stored there is given back.
func TestPickCannotMove(t *testing.T) {
	t.Parallel()
	w, north, f := moving(t)
	w.grant.broken = errBroken
	f, err := w.fin.Pick(t.Context(), f.ID, "id-north", anna)
	wantError(t, err, flow.ErrStore)
	if row := w.row(north.ID); f.Status != flow.Failed || row.Set.AccessVersion != north.Set.AccessVersion {
		t.Errorf("flow %s, row %+v", f.Status, row)
	}
	if ended := w.acme.ended(); len(ended) != 1 {
		t.Errorf("ended %v", ended)
	}
	w.open(w.row(north.ID))
}

// A grant that was taken out of its row is stored although nobody was told so.
func TestPickMovesUnanswered(t *testing.T) {
	t.Parallel()
	w, north, f := moving(t)
	w.conns.lost = true
	f, err := w.fin.Pick(t.Context(), f.ID, "id-north", anna)
	wantError(t, err, nil)
	if row := w.row(north.ID); f.Status != flow.Connected || row.Set.AccessVersion == north.Set.AccessVersion || len(w.acme.ended()) != 0 {
		t.Errorf("flow %s, row %+v, ended %v", f.Status, row, w.acme.ended())
	}
	w.open(w.row(north.ID))
}

// While nothing was written, the person can answer again.
func TestPickAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grants("north", "south")
	f, err := w.connect(w.atSites(), "ada1")
	wantError(t, err, nil)
	w.conns.broken = errBroken
	again, err := w.fin.Pick(t.Context(), f.ID, "id-north", anna)
	if wantError(t, err, flow.ErrStore); again.Status != flow.Picking {
		t.Errorf("%s", again.Status)
	}
	w.conns.broken, w.conns.lost = nil, true // what is written, and not answered
	f, err = w.fin.Pick(t.Context(), f.ID, "id-south", anna)
	wantError(t, err, nil)
	w.wantSite(w.row(f.Result.ConnectionID), "south")
}

func TestPickTooLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grants("north", "south")
	f, err := w.connect(w.atSites(), "ada1")
	wantError(t, err, nil)
	w.pass(10*time.Minute + time.Second)
	_, err = w.fin.Pick(t.Context(), f.ID, "id-north", anna)
	wantError(t, err, flow.ErrFlowExpired)
	_, err = w.fin.Offered(t.Context(), f.ID, anna)
	wantError(t, err, flow.ErrFlowExpired)
	_, err = w.fin.Decline(t.Context(), f.ID, anna)
	wantError(t, err, flow.ErrFlowExpired)
	if f, err := w.start.Look(t.Context(), f.ID); err != nil || f.Status != flow.Failed || f.Result.Code != "not_picked" {
		t.Errorf("look: %s %+v %v", f.Status, f.Result, err)
	}
	if row := w.row(f.Result.ConnectionID); row.Status != connection.Pending || row.AttentionAt().After(w.clock()) {
		t.Errorf("%s, looked at %v", row.Status, row.AttentionAt())
	}
}

func TestDecline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grants("north", "south")
	f, err := w.connect(w.atSites(), "ada1")
	wantError(t, err, nil)
	f, err = w.fin.Decline(t.Context(), f.ID, anna)
	wantError(t, err, flow.ErrDenied)
	row := w.rows()[0]
	if f.Status != flow.Denied || row.Status != connection.Deleting || len(row.Retired) != 1 {
		t.Errorf("flow %s, row %+v", f.Status, row)
	}

	w.grants("north")
	north := w.connected(w.atSites(), "ada2")
	w.grants("south")
	r := w.atSites()
	r.ConnectionID = north.ID
	f, err = w.connect(r, "ada2")
	wantError(t, err, nil)
	_, err = w.fin.Decline(t.Context(), f.ID, anna)
	wantError(t, err, flow.ErrDenied)
	w.wantSite(w.row(north.ID), "north") // what was in force stays
}

// Who picked is confirmed as anybody is, and not before.
func TestPickIsConfirmed(t *testing.T) {
	t.Parallel()
	w := newConfirming(t)
	w.grants("north", "south")
	f, err := w.connect(w.atSites(), "ada1")
	wantError(t, err, nil)
	_, err = w.start.Confirm(t.Context(), tenant, f.ID, user)
	wantError(t, err, flow.ErrNotConfirmable)
	w.pass(9 * time.Minute)
	f, err = w.fin.Pick(t.Context(), f.ID, "id-south", anna)
	row := w.row(f.Result.ConnectionID)
	if wantError(t, err, nil); f.Status != flow.Pending || row.InUse() {
		t.Fatalf("flow %s, row %s", f.Status, row.Status)
	}
	w.pass(9 * time.Minute) // the ten minutes to confirm begin with the choice
	f, err = w.start.Confirm(t.Context(), tenant, f.ID, user)
	if wantError(t, err, nil); f.Status != flow.Connected {
		t.Errorf("%s", f.Status)
	}
	w.wantSite(w.row(row.ID), "south")
}

// forgetful loses the write of how a flow goes on, as a crash does.
type forgetful struct {
	flow.Store
	crashed bool
}

func (s *forgetful) UpdateFlow(ctx context.Context, f flow.Flow) (flow.Flow, error) {
	if s.crashed {
		return flow.Flow{}, errBroken
	}
	return s.Store.UpdateFlow(ctx, f)
}

// What was picked counts although the flow does not say so.
func TestPickInterrupted(t *testing.T) {
	t.Parallel()
	for _, confirm := range []bool{false, true} {
		w := newWorld(t)
		w.tenant.Confirm = confirm
		w.grants("north", "south")
		f, err := w.connect(w.atSites(), "ada1")
		wantError(t, err, nil)
		w.fin.Store = &forgetful{w.store, true}
		_, err = w.fin.Pick(t.Context(), f.ID, "id-south", anna)
		wantError(t, err, nil)
		want := map[bool]flow.Status{false: flow.Connected, true: flow.Pending}[confirm]
		if got, err := w.start.Look(t.Context(), f.ID); err != nil || got.Status != want {
			t.Errorf("look: %s %v, want %s", got.Status, err, want)
		}
		if got, err := w.fin.Pick(t.Context(), f.ID, "id-north", anna); !errors.Is(err, flow.ErrFlowEnded) || got.Status != want {
			t.Errorf("the answer again: %s %v, want %s", got.Status, err, want)
		}
		if f, err = w.start.Confirm(t.Context(), tenant, f.ID, user); err != nil || f.Status != flow.Connected {
			t.Errorf("confirm: %s %v", f.Status, err)
		}
		w.wantSite(w.row(f.Result.ConnectionID), "south")
	}
}

// A question that was left at the list of places is asked anew.
func TestPickOfAnotherQuestion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grants("north", "south")
	q := question("")
	q.Server = "sites"
	first := w.asked(q)
	if f, err := w.fin.Finish(t.Context(), w.consent(first, anna, "ada1"), anna); err != nil || f.Status != flow.Picking {
		t.Fatalf("%s %v", f.Status, err)
	}
	if again := w.asked(q); again.ID == first.ID || again.Status != flow.Started {
		t.Errorf("asked again: %s, %s", again.ID, again.Status)
	}
}
