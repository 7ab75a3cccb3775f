package flow_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

func newConfirming(t *testing.T) *world {
	w := newWorld(t)
	w.tenant.Confirm = true
	return w
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	w, ctx := newConfirming(t), t.Context()
	f, err := w.connect(w.request(), "ada1")
	wantError(t, err, nil)
	row := w.row(f.Result.ConnectionID)
	if f.Status != flow.Pending || row.Status != connection.Pending || row.Set.AccessVersion != "" || row.Proposal == nil ||
		f.Result.SetID != row.Proposal.Set.AccessVersion {
		t.Fatalf("flow %s, row %s: in force before it was confirmed", f.Status, row.Status)
	}
	_, err = w.start.Confirm(ctx, tenant, f.ID, "eve")
	wantError(t, err, flow.ErrOtherUser)
	_, err = w.start.Confirm(ctx, "other", f.ID, user)
	wantError(t, err, flow.ErrFlowUnknown)
	_, err = w.start.Confirm(ctx, tenant, "flo_nope", user)
	wantError(t, err, flow.ErrFlowUnknown)
	if w.row(row.ID).Status != connection.Pending {
		t.Fatal("a refused confirmation put it in force")
	}
	for range 2 {
		f, err = w.start.Confirm(ctx, tenant, f.ID, user)
		if err != nil || f.Status != flow.Connected {
			t.Fatalf("confirm: %s %v", f.Status, err)
		}
	}
	row = w.row(row.ID)
	if row.Status != connection.Connected || row.Proposal != nil || row.Account.Subject != "ada1" {
		t.Errorf("row %+v", row)
	}
	w.open(row)
}

func TestConfirmTooLate(t *testing.T) {
	t.Parallel()
	w := newConfirming(t)
	f, err := w.connect(w.request(), "ada1")
	wantError(t, err, nil)
	w.pass(10*time.Minute + time.Second)
	_, err = w.start.Confirm(t.Context(), tenant, f.ID, user)
	wantError(t, err, flow.ErrNotConfirmable)
	if got, err := w.start.Look(t.Context(), f.ID); err != nil || got.Status != flow.Failed || got.Result.Code != "not_confirmed" {
		t.Errorf("look: %s %+v %v", got.Status, got.Result, err)
	}
	if w.row(f.Result.ConnectionID).Status != connection.Pending {
		t.Error("it is in force")
	}
}

func TestConfirmWhatIsNotPending(t *testing.T) {
	t.Parallel()
	w := newConfirming(t)
	f := w.begin(w.request())
	_, err := w.start.Confirm(t.Context(), tenant, f.ID, user)
	wantError(t, err, flow.ErrNotConfirmable)
}

// The owner of a machine confirms by being there.
func TestOwnerNeedsNoConfirmation(t *testing.T) {
	t.Parallel()
	w := newConfirming(t)
	r := w.request()
	r.Proven, r.Browser = true, anna
	if f, err := w.connect(r, "ada1"); err != nil || f.Status != flow.Connected {
		t.Errorf("%s %v", f.Status, err)
	}
}

func TestPendingReconnectLeavesTheOldSetInForce(t *testing.T) {
	t.Parallel()
	w := newConfirming(t)
	f, err := w.connect(w.request(), "ada1")
	wantError(t, err, nil)
	_, err = w.start.Confirm(t.Context(), tenant, f.ID, user)
	wantError(t, err, nil)
	old := w.row(f.Result.ConnectionID)
	r := w.request()
	r.ConnectionID = old.ID
	f, err = w.connect(r, "ada1")
	wantError(t, err, nil)
	row := w.row(old.ID)
	if f.Status != flow.Pending || row.Status != connection.Connected || row.Set.GrantVersion != old.Set.GrantVersion {
		t.Errorf("flow %s, row %s", f.Status, row.Status)
	}
	w.open(row)
	_, err = w.start.Confirm(t.Context(), tenant, f.ID, user)
	wantError(t, err, nil)
	if row = w.row(old.ID); row.Set.GrantVersion == old.Set.GrantVersion || len(row.Retired) != 1 {
		t.Error("the confirmed set is not in force")
	}
	w.open(row)
}

// Somebody who closes the page and tries again makes no second connection, and
// the first attempt can no longer be confirmed.
func TestPendingAgain(t *testing.T) {
	t.Parallel()
	w := newConfirming(t)
	first, err := w.connect(w.request(), "ada1")
	wantError(t, err, nil)
	second, err := w.connect(w.request(), "ada1")
	wantError(t, err, nil)
	if first.Result.ConnectionID != second.Result.ConnectionID {
		t.Fatal("two connections are pending for one account")
	}
	_, err = w.start.Confirm(t.Context(), tenant, first.ID, user)
	wantError(t, err, flow.ErrNotConfirmable)
	_, err = w.start.Confirm(t.Context(), tenant, second.ID, user)
	wantError(t, err, nil)
	w.open(w.row(second.Result.ConnectionID))
}

// failingFlows loses the write after a promotion, as a crash does.
type failingFlows struct {
	flow.Store
	failures int
}

func (s *failingFlows) UpdateFlow(ctx context.Context, f flow.Flow) (flow.Flow, error) {
	if f.Status == flow.Connected && s.failures > 0 {
		s.failures--
		return flow.Flow{}, errBroken
	}
	return s.Store.UpdateFlow(ctx, f)
}

func TestConfirmInterrupted(t *testing.T) {
	t.Parallel()
	w := newConfirming(t)
	f, err := w.connect(w.request(), "ada1")
	wantError(t, err, nil)
	w.start.Store = &failingFlows{w.store, 1}
	_, err = w.start.Confirm(t.Context(), tenant, f.ID, user)
	wantError(t, err, errBroken)
	if got, err := w.start.Look(t.Context(), f.ID); err != nil || got.Status != flow.Connected {
		t.Errorf("look after the interruption: %s %+v %v", got.Status, got.Result, err)
	}
	if got, err := w.start.Confirm(t.Context(), tenant, f.ID, user); err != nil || got.Status != flow.Connected {
		t.Errorf("confirmed again: %s %v", got.Status, err)
	}
}

func TestConfirmationsRace(t *testing.T) {
	t.Parallel()
	w := newConfirming(t)
	f, err := w.connect(w.request(), "ada1")
	wantError(t, err, nil)
	var all sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		all.Go(func() { _, errs[i] = w.start.Confirm(t.Context(), tenant, f.ID, user) })
	}
	all.Wait()
	wantError(t, errors.Join(errs...), nil)
}

func TestPastedKeyWaitsForConfirmation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, c, err := w.fin.Connect(t.Context(), flow.KeyRequest{Tenant: tenant, UserID: user, Server: "search", Confirm: true,
		Values: map[string]token.Secret{"SEARCH_KEY": canary}})
	if err != nil || f.Status != flow.Pending || w.row(c.ID).Status != connection.Pending {
		t.Fatalf("flow %s: %v", f.Status, err)
	}
	_, err = w.start.Confirm(t.Context(), tenant, f.ID, user)
	wantError(t, err, nil)
	if w.open(w.row(c.ID)).Access.Values["SEARCH_KEY"].Reveal() != canary {
		t.Error("the value is lost")
	}
}
