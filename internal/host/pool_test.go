package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// warmWorld is a world with a pool, on a platform that knows its tasks as
// "ecs-" and their id.
func warmWorld(t *testing.T, pool map[string]int) (*world, *orders) {
	t.Helper()
	w, o := newOrders(t)
	w.service.Pool, w.service.Warm, w.service.Inline = w.store, pool, true
	w.service.Vouch = func(_ context.Context, taskID, identity string) (bool, error) { return identity == "ecs-"+taskID, nil }
	return w, o
}

func identityOf(id string) token.Secret { return token.Secret("ecs-" + id) }

// waiter is a warm task that the test plays: it claims the ticket that it is
// assigned by its bearer, as its runner would.
type waiter struct {
	*puppet
	w      *world
	id     string
	mu     sync.Mutex
	bearer token.Secret
	// tickets are those that it was sent.
	tickets []token.Secret
	// answer is its status; 0: 204 and a claim.
	answer int
}

// register starts the task's listener and registers it.
func register(w *world, s host.Start, answer int) *waiter {
	w.t.Helper()
	a := &waiter{w: w, id: s.TaskID, answer: answer}
	a.puppet = newPuppet(w.t, a.assigned)
	out, err := w.service.Register(w.t.Context(), identityOf(s.TaskID), a.registration())
	if err != nil {
		w.t.Fatal(err)
	}
	a.mu.Lock()
	a.bearer = out.Bearer
	a.mu.Unlock()
	return a
}

func (a *waiter) registration() task.WarmRequest {
	return task.WarmRequest{TaskID: a.id, Address: a.address(), KeyFingerprint: a.fingerprint}
}

func (a *waiter) assigned(rw http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var in task.Assignment
	if r.Method != http.MethodPost || r.URL.Path != task.AssignPath || r.Header.Get("Authorization") != "Bearer "+a.bearer.Reveal() || json.NewDecoder(r.Body).Decode(&in) != nil {
		a.w.t.Errorf("%s %s", r.Method, r.URL)
	}
	a.tickets = append(a.tickets, in.Ticket)
	if a.answer != 0 {
		rw.WriteHeader(a.answer)
		return
	}
	rw.WriteHeader(http.StatusNoContent)
	go func() {
		if _, err := a.claim(in.Ticket, identityOf(a.id)); err != nil {
			a.w.t.Error(err)
		}
		_ = a.w.service.Report(context.Background(), identityOf(a.id), task.Report{TaskID: a.id, State: task.Ready})
	}()
}

func (a *waiter) claim(ticket, identity token.Secret) (task.Claim, error) {
	return a.w.service.Claim(context.Background(), identity, task.ClaimRequest{TaskID: a.id, Ticket: ticket, Address: a.address(), KeyFingerprint: a.fingerprint})
}

// startedWarm sweeps and returns the n warm tasks that it starts.
func startedWarm(w *world, o *orders, n int) []host.Start {
	w.t.Helper()
	w.service.Sweep(w.t.Context())
	var out []host.Start
	for range n {
		s := o.next(w.t)
		if !s.Warm || s.Ticket != "" || s.Identity != "" || s.Connection != (connection.Key{}) {
			w.t.Errorf("started with %+v", s)
		}
		out = append(out, s)
	}
	if len(o.started) != 0 {
		w.t.Errorf("%d more were started", len(o.started))
	}
	return out
}

func (w *world) pool() map[string]host.Warm {
	w.t.Helper()
	all, err := w.store.WarmTasks(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]host.Warm{}
	for _, one := range all {
		out[one.ID] = one
	}
	return out
}

// ready waits until the connection's task is ready, and returns it.
func (w *world) ready(c connection.Connection) host.Task {
	w.t.Helper()
	if err := w.service.Ready(w.t.Context(), page(c.UserID), c.Key, time.Minute); err != nil {
		w.t.Fatal(err)
	}
	got, err := w.store.TaskOf(w.t.Context(), c.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

// TestRegister: a warm task registers itself, once, and nobody in its place.
func TestRegister(t *testing.T) {
	t.Parallel()
	w, o := warmWorld(t, map[string]int{"notes": 2})
	started := startedWarm(w, o, 2)
	mine, other := started[0].TaskID, started[1].TaskID
	cold := w.begin(o, w.connect("ada", "mail"))
	good := task.WarmRequest{TaskID: mine, Address: "127.0.0.1:1", KeyFingerprint: strings.Repeat("0", 64)}
	ctx := t.Context()
	for name, edit := range map[string]func(*task.WarmRequest, *token.Secret){
		"another task's identity": func(_ *task.WarmRequest, id *token.Secret) { *id = identityOf(other) },
		"as another task":         func(r *task.WarmRequest, _ *token.Secret) { r.TaskID = other },
		"nobody":                  func(_ *task.WarmRequest, id *token.Secret) { *id = "" },
		"a task with a ticket":    func(r *task.WarmRequest, id *token.Secret) { r.TaskID, *id = cold.TaskID, identityOf(cold.TaskID) },
		"no record":               func(r *task.WarmRequest, id *token.Secret) { r.TaskID, *id = "tsk_none", identityOf("tsk_none") },
		"no address":              func(r *task.WarmRequest, _ *token.Secret) { r.Address = "" },
		"no key":                  func(r *task.WarmRequest, _ *token.Secret) { r.KeyFingerprint = "" },
	} {
		r, id := good, identityOf(mine)
		edit(&r, &id)
		_, err := w.service.Register(ctx, id, r)
		wantErr(t, name, err, task.ErrRefused)
	}
	first, err := w.service.Register(ctx, identityOf(mine), good)
	if err != nil || first.Bearer == "" {
		t.Fatal(err)
	}
	again := good
	again.Address = "127.0.0.1:2"
	_, err = w.service.Register(ctx, identityOf(mine), again)
	wantErr(t, "a second time", err, task.ErrRefused)
	if got := w.pool()[mine]; got.Address != good.Address || got.Server != "notes" || !got.Registered {
		t.Errorf("%+v", got)
	}
	good.TaskID = other
	second, err := w.service.Register(ctx, identityOf(other), good)
	if err != nil || second.Bearer == first.Bearer {
		t.Errorf("another's bearer is the same; %v", err)
	}
	// It is no task of anybody yet.
	_, err = w.service.TaskToken(ctx, identityOf(mine), task.TokenRequest{TaskID: mine})
	wantErr(t, "a token for it", err, task.ErrRefused)
	_, err = w.service.Claim(ctx, identityOf(mine), task.ClaimRequest{TaskID: mine, Ticket: "", Address: "a:1", KeyFingerprint: "f"})
	if err == nil {
		t.Error("it claimed without a ticket")
	}

	w.service.Vouch = func(context.Context, string, string) (bool, error) { return false, errors.New("no answer") }
	if _, err := w.service.Register(ctx, identityOf(mine), good); err == nil || errors.Is(err, task.ErrRefused) {
		t.Errorf("while the platform does not answer: %v", err)
	}
	w.service.Vouch = nil
	_, err = w.service.Register(ctx, identityOf(mine), good)
	wantErr(t, "where nobody vouches", err, task.ErrRefused)
	w.service.Pool = nil
	_, err = w.service.Register(ctx, identityOf(mine), good)
	wantErr(t, "without a pool", err, task.ErrRefused)
}

// TestWarmBegin: a connection's first use takes the task that waits, with a
// ticket that is that very task's, and that works once.
func TestWarmBegin(t *testing.T) {
	t.Parallel()
	w, o := warmWorld(t, map[string]int{"notes": 1})
	a := register(w, startedWarm(w, o, 1)[0], 0)
	c := w.connect("ada", "notes")
	got := w.ready(c)
	if got.ID != a.id || got.Address != a.address() || got.Server != "notes" || len(a.tickets) != 1 {
		t.Errorf("%+v after %d tickets", got, len(a.tickets))
	}
	if len(w.pool()) != 0 || len(o.started) != 0 || len(o.stopped) != 0 {
		t.Errorf("%d wait, %d were started, %d stopped", len(w.pool()), len(o.started), len(o.stopped))
	}
	_, err := a.claim(a.tickets[0], identityOf(a.id))
	wantErr(t, "the ticket again", err, task.ErrRefused)
	if a.bearer == "" || got.TicketHash != "" {
		t.Error("the ticket is still worth something")
	}
	// The pool is filled, with another; who comes then gets that.
	b := register(w, startedWarm(w, o, 1)[0], 0)
	if got := w.ready(w.connect("grace", "notes")); got.ID != b.id {
		t.Errorf("the second user's task is %s", got.ID)
	}
	if got := w.ready(c); got.ID != a.id || len(a.tickets) != 1 {
		t.Error("the first user's task changed")
	}
}

// TestWarmTicketIsTheRegistered: a ticket for a task that waited is worth
// nothing to anybody but who registered, even one for whom the platform vouches.
func TestWarmTicketIsTheRegistered(t *testing.T) {
	t.Parallel()
	w, o := warmWorld(t, map[string]int{"notes": 1})
	s := startedWarm(w, o, 1)[0]
	ticket := make(chan token.Secret, 1)
	p := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
		var in task.Assignment
		_ = json.NewDecoder(r.Body).Decode(&in)
		rw.WriteHeader(http.StatusNoContent)
		ticket <- in.Ticket
	})
	if _, err := w.service.Register(t.Context(), identityOf(s.TaskID), task.WarmRequest{TaskID: s.TaskID, Address: p.address(), KeyFingerprint: p.fingerprint}); err != nil {
		t.Fatal(err)
	}
	c := w.connect("ada", "notes")
	err := w.service.Ready(t.Context(), page("ada"), c.Key, time.Millisecond)
	wantErr(t, "before the claim", err, host.ErrStarting)
	r := task.ClaimRequest{TaskID: s.TaskID, Ticket: <-ticket, Address: p.address(), KeyFingerprint: p.fingerprint}
	w.service.Vouch = func(context.Context, string, string) (bool, error) { return true, nil }
	_, err = w.service.Claim(t.Context(), "ecs-another-of-the-same-start", r)
	wantErr(t, "another identity", err, task.ErrRefused)
	if _, err := w.service.Claim(t.Context(), identityOf(s.TaskID), r); err != nil {
		t.Error(err)
	}
}

// TestWarmOfAnotherServer: a task that waits is its own server's alone.
func TestWarmOfAnotherServer(t *testing.T) {
	t.Parallel()
	w, o := warmWorld(t, map[string]int{"notes": 1})
	a := register(w, startedWarm(w, o, 1)[0], 0)
	w.service.Warm = map[string]int{"notes": 1, "mail": 1}
	if s := w.begin(o, w.connect("ada", "mail")); s.TaskID == a.id || s.Warm || s.Ticket == "" {
		t.Errorf("%+v", s)
	}
	if len(a.tickets) != 0 || len(w.pool()) != 1 {
		t.Error("the task was taken")
	}
}

// TestWarmRaced: connections that come at once get a task each, and one
// connection gets one.
func TestWarmRaced(t *testing.T) {
	t.Parallel()
	w, o := warmWorld(t, map[string]int{"notes": 3})
	var waiters []*waiter
	for _, s := range startedWarm(w, o, 3) {
		waiters = append(waiters, register(w, s, 0))
	}
	conns := []connection.Connection{w.connect("ada", "notes"), w.connect("grace", "notes")}
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			c := conns[i%len(conns)]
			if err := w.service.Ready(context.Background(), page(c.UserID), c.Key, time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	tickets := 0
	for _, a := range waiters {
		a.mu.Lock()
		if len(a.tickets) > 1 {
			t.Errorf("%s was sent %d tickets", a.id, len(a.tickets))
		}
		tickets += len(a.tickets)
		a.mu.Unlock()
	}
	if w.ready(conns[0]).ID == w.ready(conns[1]).ID {
		t.Error("two users have one task")
	}
	// Who took one for nothing gave it back, or began anew where none was left.
	started := len(o.started)
	if tickets+started != 2 || len(w.pool()) != 3-tickets {
		t.Errorf("%d tickets, %d ordinary starts, %d wait", tickets, started, len(w.pool()))
	}
}

// TestWarmFails: a task that does not take its ticket is stopped and forgotten,
// the ticket is worth nothing, and the connection has an ordinary start.
func TestWarmFails(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(*world, host.Start) *waiter{
		"it answers 401": func(w *world, s host.Start) *waiter { return register(w, s, http.StatusUnauthorized) },
		"it answers 409": func(w *world, s host.Start) *waiter { return register(w, s, http.StatusConflict) },
		"it redirects":   func(w *world, s host.Start) *waiter { return register(w, s, http.StatusTemporaryRedirect) },
		"it is gone": func(w *world, s host.Start) *waiter {
			a := register(w, s, 0)
			a.Close()
			return a
		},
		"another key answers": func(w *world, s host.Start) *waiter {
			a := &waiter{w: w, id: s.TaskID}
			a.puppet = newPuppet(w.t, a.assigned)
			r := a.registration()
			r.KeyFingerprint = strings.Repeat("0", 64)
			if _, err := w.service.Register(w.t.Context(), identityOf(s.TaskID), r); err != nil {
				w.t.Fatal(err)
			}
			return a
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, o := warmWorld(t, map[string]int{"notes": 1})
			a := broken(w, startedWarm(w, o, 1)[0])
			c := w.connect("ada", "notes")
			s := w.begin(o, c)
			if s.TaskID == a.id || s.Warm || s.Ticket == "" {
				t.Errorf("started %+v", s)
			}
			if id := <-o.stopped; id != a.id || len(w.pool()) != 0 {
				t.Errorf("stopped %s, %d wait", id, len(w.pool()))
			}
			for _, ticket := range a.tickets {
				_, err := a.claim(ticket, identityOf(a.id))
				if err == nil {
					t.Error("its ticket is worth something")
				}
			}
			if got, err := w.store.TaskOf(t.Context(), c.Key); err != nil || got.ID != s.TaskID {
				t.Errorf("the connection's task is %s: %v", got.ID, err)
			}
			if strings.Contains(w.log.String(), s.Ticket.Reveal()) {
				t.Error("a ticket is in the log")
			}
		})
	}
}
