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
