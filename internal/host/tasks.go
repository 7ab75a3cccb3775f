package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// Ready starts the connection's server if need be and waits until it answers,
// at most so long; then ErrStarting.
func (s *Service) Ready(ctx context.Context, caller vault.Caller, k connection.Key, wait time.Duration) error {
	c, err := s.connection(ctx, caller, k)
	if err != nil {
		return err
	}
	return s.await(ctx, c, wait)
}

// await is Ready for a connection that was looked up for the caller.
func (s *Service) await(ctx context.Context, c connection.Connection, wait time.Duration) error {
	if _, elsewhere := s.remote(c); elsewhere {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	_, err := s.task(waiting, c)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return ErrStarting
	}
	return err
}

// task returns the connection's ready task, started if there is none, waiting
// at most waitForTask.
func (s *Service) task(ctx context.Context, c connection.Connection) (Task, error) {
	deadline := s.Now().Add(waitForTask)
	for {
		t, err := s.Store.TaskOf(ctx, c.Key)
		switch {
		case errors.Is(err, ErrNoTask), err == nil && (s.replaceable(t) || superseded(t, c)):
			if err := s.begin(ctx, c); err != nil {
				return Task{}, err
			}
		case err != nil:
			return Task{}, err
		case t.State == TaskReady:
			s.touch(ctx, t)
			return t, nil
		case t.State == TaskFailed:
			return Task{}, s.refusal(t)
		}
		if s.Now().After(deadline) {
			return Task{}, ErrStarting
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return Task{}, err
		}
	}
}

// superseded reports whether the connection was granted anew since the task
// began: the task has the tokens of before.
func superseded(t Task, c connection.Connection) bool { return c.ConnectedAt.After(t.StartedAt) }

// begin starts a task for the connection, unless somebody else just did. It
// returns at once: whoever needs the task waits for its state.
func (s *Service) begin(ctx context.Context, c connection.Connection) error {
	server, ok := s.Catalogue.Server(c.Server)
	if !ok || server.Server.Registry == presets.RegistryRemote {
		return fmt.Errorf("%w: %s", ErrNotHosted, c.Server)
	}
	failures, again, err := s.replace(ctx, c)
	if err != nil || !again {
		return err
	}
	if w, ok := s.takeWarm(ctx, c.Server); ok {
		return s.beginWarm(ctx, c, server, w, failures)
	}
	return s.beginCold(ctx, c, server, failures)
}

// newTask is the record of a task that starts with the ticket, after so many of
// the connection's have failed on end.
func (s *Service) newTask(c connection.Connection, id string, ticket token.Secret, identityHash string, failures int) Task {
	now := s.Now().UTC()
	return Task{
		ID: id, Connection: c.Key, Server: c.Server, State: TaskStarting,
		TicketHash: token.Hash(ticket), TicketExpires: now.Add(startTimeout + ticketTTL), IdentityHash: identityHash,
		StartedAt: now, LastUsedAt: now, Failures: failures,
	}
}

func (s *Service) beginCold(ctx context.Context, c connection.Connection, server presets.Server, failures int) error {
	ticket, identity, identityHash := token.NewSecret(), token.Secret(""), ""
	if s.Vouch == nil {
		identity = token.NewSecret()
		identityHash = token.Hash(identity)
	}
	t, err := s.Store.BeginTask(ctx, s.newTask(c, token.NewID("tsk"), ticket, identityHash, failures))
	if errors.Is(err, ErrRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	// Installing a server can take longer than a client waits for an answer.
	s.background(func() { s.launch(context.WithoutCancel(ctx), t, server, ticket, identity) })
	return nil
}

// beginWarm makes a task that waited the connection's. The platform knows the
// task by its id, so it keeps that.
func (s *Service) beginWarm(ctx context.Context, c connection.Connection, server presets.Server, w Warm, failures int) error {
	ticket := token.NewSecret()
	t, err := s.Store.BeginTask(ctx, s.newTask(c, w.ID, ticket, w.IdentityHash, failures))
	if errors.Is(err, ErrRunning) {
		s.giveBack(ctx, w)
		return nil
	}
	if err != nil {
		if !errors.Is(err, ErrExists) { // whose task it is would lose it
			s.stopWarm(context.WithoutCancel(ctx), w.ID) // a record may be there: it is not given back
		}
		return err
	}
	s.background(func() {
		ctx := context.WithoutCancel(ctx)
		err := s.assign(ctx, w, ticket)
		if err == nil {
			s.Logger.InfoContext(ctx, "warm task assigned", "task", t.ID, "server", t.Server, "connection", c.ID)
			return
		}
		s.Logger.WarnContext(ctx, "a warm task did not take its ticket", "task", t.ID, "server", t.Server, "err", err)
		s.end(ctx, t) // so that the ticket is worth nothing, should it have arrived
		if err := s.beginCold(ctx, c, server, failures); err != nil {
			s.Logger.ErrorContext(ctx, "a task could not be started", "server", t.Server, "connection", c.ID, "err", err)
		}
	})
	return nil
}

func (s *Service) launch(ctx context.Context, t Task, server presets.Server, ticket, identity token.Secret) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if _, err := s.Installer.Ensure(ctx, server); err != nil {
		s.fail(ctx, t.ID, err.Error(), err)
		return
	}
	err := s.Launcher.Launch(ctx, Start{TaskID: t.ID, Connection: t.Connection, Ticket: ticket, Identity: identity, ControlURL: s.ControlURL, Server: server})
	if err != nil {
		s.fail(ctx, t.ID, ourFault, err)
	}
}

// end forgets a task and stops it. Its server may take its time to stop, and
// whoever asked may leave: neither waits for the other.
func (s *Service) end(ctx context.Context, t Task) {
	ctx = context.WithoutCancel(ctx)
	s.links.drop(t.ID)
	if err := s.Store.EndTask(ctx, t.ID); err != nil {
		s.Logger.WarnContext(ctx, "a task's record was not removed", "task", t.ID, "err", err)
	}
	s.background(func() {
		if err := s.Launcher.Stop(ctx, t.ID); err != nil {
			s.Logger.WarnContext(ctx, "a task did not stop", "task", t.ID, "err", err)
		}
	})
}

// Reap forgets tasks whose process is gone with the machine's or the program's
// last run, so that nobody waits for them.
func (s *Service) Reap(ctx context.Context, alive func(taskID string) bool) error {
	tasks, err := s.Store.Tasks(ctx)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if !alive(t.ID) {
			err = errors.Join(err, s.Store.EndTask(ctx, t.ID))
		}
	}
	return err
}

// touch notes that the task is used, seldom enough to cost little.
func (s *Service) touch(ctx context.Context, t Task) {
	now := s.Now().UTC()
	if now.Sub(t.LastUsedAt) < min(usedEvery, s.IdleStop/4) {
		return
	}
	_, err := s.Store.UpdateTask(ctx, t.ID, func(t *Task) error {
		t.LastUsedAt = now
		return nil
	})
	if err != nil && !errors.Is(err, ErrNoTask) {
		s.Logger.WarnContext(ctx, "a task's use was not noted", "task", t.ID, "err", err)
	}
}

// using touches the task while an answer of it is being passed on: what sweeps
// may be another process, which cannot see that it is busy. It returns what
// ends that.
func (s *Service) using(ctx context.Context, t Task) func() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		tick := time.NewTicker(max(s.IdleStop/4, time.Second))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				t.LastUsedAt = time.Time{} // it was used, however lately it was touched
				s.touch(ctx, t)
			}
		}
	}()
	return cancel
}

// Run sweeps until ctx ends, on one machine; on AWS a schedule does it.
func (s *Service) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.Sweep(ctx)
		}
	}
}

// Sweep ends tasks that nobody uses, that never came up, that are too old, or
// whose connection is gone, and keeps the pool filled.
func (s *Service) Sweep(ctx context.Context) {
	tasks, err := s.Store.Tasks(ctx)
	if err != nil {
		s.Logger.WarnContext(ctx, "tasks not listed", "err", err)
		return
	}
	for _, t := range tasks {
		c, err := s.Connections.Get(ctx, t.Connection)
		gone := errors.Is(err, connection.ErrNotFound) || err == nil && c.Status == connection.Deleting
		why := s.over(t)
		if gone {
			why = "disconnected"
			s.forget(ctx, t.Connection)
		}
		switch {
		case why != "":
			s.Logger.InfoContext(ctx, "task ended", "task", t.ID, "server", t.Server, "why", why)
			s.end(ctx, t)
		case s.stuck(t):
			s.fail(ctx, t.ID, neverUp, nil)
			s.halt(ctx, t)
		case t.State == TaskFailed:
			s.halt(ctx, t)
		}
	}
	s.orphans(ctx, tasks, s.fill(ctx))
}

// orphans stops tasks that have no record: their end was asked for and did not
// arrive, or whoever started them did not live to see it.
func (s *Service) orphans(ctx context.Context, known []Task, warm []Warm) {
	roll, ok := s.Launcher.(Roll)
	if !ok {
		return
	}
	ids, err := roll.Started(ctx, s.Now().Add(-orphanAge))
	if err != nil {
		s.Logger.WarnContext(ctx, "running tasks not listed", "err", err)
		return
	}
	for _, id := range ids {
		if slices.ContainsFunc(known, func(t Task) bool { return t.ID == id && !t.Gone }) || slices.ContainsFunc(warm, func(w Warm) bool { return w.ID == id }) {
			continue
		}
		// The pool first: what is taken from it has a task's record next.
		if s.waits(ctx, id) {
			continue
		}
		if t, err := s.Store.GetTask(ctx, id); err == nil && !t.Gone || err != nil && !errors.Is(err, ErrNoTask) {
			continue // begun since, or nobody knows
		}
		s.Logger.WarnContext(ctx, "a task without a record is stopped", "task", id)
		if err := s.Launcher.Stop(ctx, id); err != nil {
			s.Logger.ErrorContext(ctx, "a task without a record did not stop", "task", id, "err", err)
		}
	}
}

// forget removes what the host keeps of a connection that was disconnected.
func (s *Service) forget(ctx context.Context, k connection.Key) {
	s.forgetCatalogue(ctx, k)
	s.remotes.forget(k)
	if err := s.Store.DeleteMCPTokens(ctx, k); err != nil {
		s.Logger.WarnContext(ctx, "MCP tokens not removed", "connection", k.ID, "err", err)
	}
}

// Disconnected ends the connection's task at once.
func (s *Service) Disconnected(ctx context.Context, k connection.Key) {
	if t, err := s.Store.TaskOf(ctx, k); err == nil {
		s.end(ctx, t)
	}
	s.forget(ctx, k)
}

// Restart ends the connection's task so that the next use starts it with what
// was granted anew. One that was started since has that: a call may have waited
// for the grant.
func (s *Service) Restart(ctx context.Context, k connection.Key) {
	if t, err := s.Store.TaskOf(ctx, k); err == nil {
		c, err := s.Connections.Get(ctx, k)
		if err != nil || c.ConnectedAt.IsZero() || superseded(t, c) {
			s.end(ctx, t)
		}
	}
	s.forgetCatalogue(ctx, k)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
