package host_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// platform knows which of its tasks is which of ours.
type platform struct {
	tasks map[string]string
	err   error
}

func (p *platform) vouch(_ context.Context, taskID, identity string) (bool, error) {
	return identity != "" && p.tasks[identity] == taskID, p.err
}

// TestVouched: where the platform knows its tasks, a ticket is worth something
// to that very task alone, and who claimed it is who may ask later.
func TestVouched(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	known := &platform{tasks: map[string]string{}}
	w.service.Vouch, w.service.Inline = known.vouch, true
	ctx := t.Context()
	ada, grace := w.begin(o, w.connect("ada", "notes")), w.begin(o, w.connect("grace", "notes"))
	known.tasks["ecs-ada"], known.tasks["ecs-grace"] = ada.TaskID, grace.TaskID
	if ada.Identity != "" {
		t.Error("a task was given a secret that it does not need")
	}
	for name, identity := range map[string]token.Secret{"nobody": "", "another task": "ecs-grace", "a stranger": "ecs-other", "its own id": token.Secret(ada.TaskID)} {
		_, err := w.service.Claim(ctx, identity, claimRequest(ada))
		wantErr(t, name, err, task.ErrRefused)
		_, err = w.service.TaskToken(ctx, identity, task.TokenRequest{TaskID: ada.TaskID})
		wantErr(t, name+" asks for a token", err, task.ErrRefused)
	}
	known.err = errors.New("the platform does not answer")
	if _, err := w.service.Claim(ctx, "ecs-ada", claimRequest(ada)); !errors.Is(err, known.err) {
		t.Errorf("while the platform does not answer: %v", err)
	}
	known.err = nil
	// The ticket of another, although it is a task of ours.
	stolen := claimRequest(grace)
	stolen.Ticket = ada.Ticket
	_, err := w.service.Claim(ctx, "ecs-grace", stolen)
	wantErr(t, "another's ticket", err, task.ErrRefused)

	if _, err := w.service.Claim(ctx, "ecs-ada", claimRequest(ada)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.service.TaskToken(ctx, "ecs-ada", task.TokenRequest{TaskID: ada.TaskID}); err != nil {
		t.Error(err)
	}
	for _, other := range []token.Secret{"ecs-grace", "", "ecs-other"} {
		_, err := w.service.TaskToken(ctx, other, task.TokenRequest{TaskID: ada.TaskID})
		wantErr(t, "another's binding", err, task.ErrRefused)
		wantErr(t, "another's report", w.service.Report(ctx, other, task.Report{TaskID: ada.TaskID, State: task.Failed}), task.ErrRefused)
	}
	_, err = w.service.Claim(ctx, "ecs-ada", claimRequest(ada))
	wantErr(t, "the ticket again", err, task.ErrRefused)
}

// TestGrantedAnew: whoever put the new grant in force cannot tell this process;
// the row does.
func TestGrantedAnew(t *testing.T) {
	t.Parallel()
	w, l := newRunners(t)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	w.call(m, "x")
	before, err := w.store.TaskOf(t.Context(), c.Key)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Second)
	_, err = w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error { c.ConnectedAt = w.clock.now(); return nil })
	if err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Second)
	w.call(m, "again")
	after, err := w.store.TaskOf(t.Context(), c.Key)
	if err != nil || after.ID == before.ID {
		t.Errorf("the task of the old grant goes on: %v", err)
	}
	eventually(t, "it ends", func() bool { _, alive := l.launched(); return alive == 1 })
	w.call(m, "and again")
	if last, err := w.store.TaskOf(t.Context(), c.Key); err != nil || last.ID != after.ID {
		t.Errorf("a task of the new grant was replaced: %v", err)
	}
}
