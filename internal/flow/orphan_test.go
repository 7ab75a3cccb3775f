package flow_test

import (
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

// A connection that is disconnected while the callback stores its next grant
// leaves that grant to nobody: it is removed, and nothing else.
func TestDisconnectedDuringTheCallback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.connected(w.request(), "ada1")
	r := w.request()
	r.ConnectionID = old.ID
	w.conns.broken = connection.ErrGone
	_, err := w.connect(r, "ada1")
	wantError(t, err, flow.ErrConnection)
	if n := w.grant.count(); n != 1 {
		t.Errorf("%d grants are stored, want the old one", n)
	}
	w.open(w.row(old.ID))
}

// A write whose answer was lost is looked for: what is in the row is neither
// revoked nor said to have failed.
func TestAnswerOfTheStoreLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.conns.lost = true
	first := w.connected(w.request(), "ada1")
	r := w.request()
	r.ConnectionID = first.ID
	again := w.connected(r, "ada1")
	if again.ID != first.ID {
		t.Errorf("reconnecting made another connection")
	}
	w.open(w.row(first.ID))
	w.conns.lost, w.conns.broken = false, connection.ErrUnavailable
	_, err := w.connect(w.request(), "ada2")
	wantError(t, err, flow.ErrStore)
	if n := w.grant.count(); n != 2 {
		t.Errorf("%d grants are stored, want those of the first connection: the current and the retired", n)
	}
}
