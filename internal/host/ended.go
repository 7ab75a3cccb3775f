package host

import (
	"context"
	"errors"
	"slices"
)

// Ended is a task of which the platform says that it runs no more.
type Ended struct {
	TaskID string
	// Why is for a person. Said is the platform's own text, for the log alone: it
	// may name what is the operator's business.
	Why, Said string
}

// Ended takes the platform's word that a task has ended, so that nobody waits for
// it. Of a task that has no record nothing is to be done: we ended it, or were
// told before. The connection's next task has another id.
func (s *Service) Ended(ctx context.Context, e Ended) error {
	t, err := s.Store.GetTask(ctx, e.TaskID)
	if errors.Is(err, ErrNoTask) {
		return s.endedWarm(ctx, e)
	}
	if err != nil || t.Gone {
		return err
	}
	s.Logger.WarnContext(ctx, "a task ended by itself", "task", t.ID, "server", t.Server, "connection", t.Connection.ID, "state", t.State, "why", e.Why, "said", e.Said)
	return s.ended(ctx, t, e.Why)
}

// endedWarm removes what waited, so that no connection is given it. The record of
// a task that never registered stays until it is late: whatever is wrong with it,
// another is not started in its place every minute.
func (s *Service) endedWarm(ctx context.Context, e Ended) error {
	if s.Pool == nil {
		return nil
	}
	all, err := s.Pool.WarmTasks(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(w Warm) bool { return w.ID == e.TaskID })
	if i < 0 {
		return nil
	}
	s.Logger.WarnContext(ctx, "a warm task ended by itself", "task", e.TaskID, "server", all[i].Server, "registered", all[i].Registered, "why", e.Why, "said", e.Said)
	if !all[i].Registered {
		return nil
	}
	if err := s.Pool.DropWarm(ctx, e.TaskID); !errors.Is(err, ErrNoTask) {
		return err
	}
	return nil // a connection was given it at this moment, and finds out
}
