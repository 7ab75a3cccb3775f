package host_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// begin makes the service start a task for the connection and returns what it
// was started with. The client that caused it leaves at once.
func (w *world) begin(o *orders, c connection.Connection) host.Start {
	w.t.Helper()
	ctx, leave := context.WithCancel(w.t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = w.service.Tools(ctx, page(c.UserID), c.Key)
	}()
	s := o.next(w.t)
	leave()
	<-gone
	return s
}

func claimRequest(s host.Start) task.ClaimRequest {
	return task.ClaimRequest{TaskID: s.TaskID, Ticket: s.Ticket, Address: "127.0.0.1:1", KeyFingerprint: strings.Repeat("0", 64)}
}

func TestTicket(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	ctx := t.Context()
	ada, grace := w.begin(o, w.connect("ada", "notes")), w.begin(o, w.connect("grace", "notes"))
	good := claimRequest(ada)
	for name, edit := range map[string]func(*task.ClaimRequest, *token.Secret){
		"wrong identity":       func(_ *task.ClaimRequest, id *token.Secret) { *id = grace.Identity },
		"no identity":          func(_ *task.ClaimRequest, id *token.Secret) { *id = "" },
		"another task":         func(r *task.ClaimRequest, _ *token.Secret) { r.TaskID = grace.TaskID },
		"no such task":         func(r *task.ClaimRequest, _ *token.Secret) { r.TaskID = "tsk_none" },
		"another's ticket":     func(r *task.ClaimRequest, _ *token.Secret) { r.Ticket = grace.Ticket },
		"identity as ticket":   func(r *task.ClaimRequest, _ *token.Secret) { r.Ticket = ada.Identity },
		"no ticket":            func(r *task.ClaimRequest, _ *token.Secret) { r.Ticket = "" },
		"no address":           func(r *task.ClaimRequest, _ *token.Secret) { r.Address = "" },
		"no key":               func(r *task.ClaimRequest, _ *token.Secret) { r.KeyFingerprint = "" },
		"another task, wholly": func(r *task.ClaimRequest, id *token.Secret) { r.TaskID = grace.TaskID; *id = grace.Identity },
	} {
		r, id := good, ada.Identity
		edit(&r, &id)
		_, err := w.service.Claim(ctx, id, r)
		wantErr(t, name, err, task.ErrRefused)
	}
	if w.tokens.count("start") != 0 {
		t.Error("a refused claim asked for a token")
	}
	claim, err := w.service.Claim(ctx, ada.Identity, good)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := w.store.GetTask(ctx, ada.TaskID)
	if err != nil {
		t.Fatal(err)
	}
	if claim.Connection != stored.Connection.ID || claim.Access.Tokens[""].AccessToken.Reveal() != tokenOf(stored.Connection) || claim.Bearer == "" {
		t.Error("the claim is not of the task's own connection")
	}
	_, err = w.service.Claim(ctx, ada.Identity, good)
	wantErr(t, "the same ticket again", err, task.ErrRefused)

	late := w.begin(o, w.connect("late", "notes"))
	w.clock.advance(time.Hour)
	_, err = w.service.Claim(ctx, late.Identity, claimRequest(late))
	wantErr(t, "an expired ticket", err, task.ErrRefused)
}

func TestTicketIsTradedOnce(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	s := w.begin(o, w.connect("ada", "notes"))
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			_, err := w.service.Claim(t.Context(), s.Identity, claimRequest(s))
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, task.ErrRefused) {
				t.Error(err)
			}
		})
	}
	if wg.Wait(); won.Load() != 1 {
		t.Errorf("%d of 16 traded one ticket", won.Load())
	}
}

func TestTaskToken(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	ctx := t.Context()
	ca, cg := w.connect("ada", "notes"), w.connect("grace", "notes")
	ada, grace := w.begin(o, ca), w.begin(o, cg)
	ask := func(s host.Start, id token.Secret) (token.Access, error) {
		return w.service.TaskToken(ctx, id, task.TokenRequest{TaskID: s.TaskID, MinTTL: 60})
	}
	_, err := ask(ada, ada.Identity)
	wantErr(t, "before the claim", err, task.ErrRefused)
	// A report is no way round the ticket.
	for _, state := range []task.State{task.Ready, task.Failed} {
		_ = w.service.Report(ctx, ada.Identity, task.Report{TaskID: ada.TaskID, State: state})
		_, err = ask(ada, ada.Identity)
		wantErr(t, "after a report of "+string(state)+" without a claim", err, task.ErrRefused)
	}
	ada = w.begin(o, w.connect("ada", "mail"))
	if _, err := w.service.Claim(ctx, ada.Identity, claimRequest(ada)); err != nil {
		t.Fatal(err)
	}
	_, err = ask(ada, grace.Identity)
	wantErr(t, "with another task's identity", err, task.ErrRefused)
	_, err = ask(ada, ada.Ticket)
	wantErr(t, "with the ticket", err, task.ErrRefused)
	_, err = ask(grace, ada.Identity)
	wantErr(t, "for another task", err, task.ErrRefused)
	a, err := ask(ada, ada.Identity)
	stored, _ := w.store.GetTask(ctx, ada.TaskID)
	if err != nil || a.Tokens[""].AccessToken.Reveal() != tokenOf(stored.Connection) {
		t.Errorf("a bound task got something else: %v", err)
	}
	w.tokens.fail(fmt.Errorf("%w: revoked by the person", refresh.ErrReconnect))
	_, err = ask(ada, ada.Identity)
	wantErr(t, "with a dead grant", err, task.ErrReconnect)
	w.tokens.fail(nil)
	w.service.Disconnected(ctx, stored.Connection)
	_, err = ask(ada, ada.Identity)
	wantErr(t, "after the disconnect", err, task.ErrRefused)
}

func TestMinTTLIsBounded(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	s := w.begin(o, c)
	if _, err := w.service.Claim(t.Context(), s.Identity, claimRequest(s)); err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[int]string{-5: "0s", 1 << 40: "1h0m0s", 90: "1m30s"} {
		if _, err := w.service.TaskToken(t.Context(), s.Identity, task.TokenRequest{TaskID: s.TaskID, MinTTL: asked}); err != nil {
			t.Fatal(err)
		}
		w.tokens.mu.Lock()
		last := w.tokens.calls[len(w.tokens.calls)-1]
		w.tokens.mu.Unlock()
		if !strings.HasSuffix(last, " "+want) {
			t.Errorf("asked for %d s: %s, want %s", asked, last, want)
		}
	}
}

// TestSuspectIsRateLimited: a server's words may make us ask the provider, but
// not as often as it likes.
func TestSuspectIsRateLimited(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	s := w.begin(o, w.connect("ada", "notes"))
	if _, err := w.service.Claim(t.Context(), s.Identity, claimRequest(s)); err != nil {
		t.Fatal(err)
	}
	for round := 1; round <= 2; round++ {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := w.service.TaskToken(t.Context(), s.Identity, task.TokenRequest{TaskID: s.TaskID, Suspect: true}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := w.tokens.count("check"); got != round {
			t.Fatalf("round %d: the provider was asked %d times", round, got)
		}
		w.clock.advance(time.Minute)
	}
}

// TestSuspectTellsWhatWasRefused: what a task was refused with decides, in
// package refresh, whether there is anything to ask the provider; a question
// that comes too soon still hears of a renewal.
func TestSuspectTellsWhatWasRefused(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	s := w.begin(o, c)
	if _, err := w.service.Claim(t.Context(), s.Identity, claimRequest(s)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"check notes " + c.ID + " h1", "quiet check notes " + c.ID + " h1"} {
		if _, err := w.service.TaskToken(t.Context(), s.Identity, task.TokenRequest{TaskID: s.TaskID, Suspect: true, Refused: "h1", MinTTL: 3600}); err != nil {
			t.Fatal(err)
		}
		w.tokens.mu.Lock()
		last := w.tokens.calls[len(w.tokens.calls)-1]
		w.tokens.mu.Unlock()
		if last != want {
			t.Errorf("asked %q, want %q", last, want)
		}
	}
}

// dying is a catalogue with a provider that ends the old access token.
type dying struct{ catalogue }

func (dying) Provider(id string) (presets.Provider, bool) {
	p := presets.Provider{ID: id, DisplayName: "Acme", AuthorizationEndpoint: "https://acme.example/authorize", TokenEndpoint: "https://acme.example/token"}
	if id == "dies" {
		p.Refresh.OnReuse.OldAccessToken = presets.OldDies
	}
	return p, id != "gone"
}

// TestRecipeTellsThatTheOldTokenDies: it is the provider's preset that says so.
func TestRecipeTellsThatTheOldTokenDies(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	w.service.Catalogue = dying{w.service.Catalogue.(catalogue)}
	for provider, want := range map[string]bool{"dies": true, "lives": false, "gone": false} {
		c := w.connect(provider, "notes")
		if _, err := w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error { c.Provider = provider; return nil }); err != nil {
			t.Fatal(err)
		}
		s := w.begin(o, c)
		claim, err := w.service.Claim(t.Context(), s.Identity, claimRequest(s))
		if err != nil || claim.Recipe.OldTokenDies != want {
			t.Errorf("%s: %v, %v", provider, claim.Recipe.OldTokenDies, err)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	ctx := t.Context()
	c := w.connect("ada", "notes")
	s, other := w.begin(o, c), w.begin(o, w.connect("grace", "notes"))
	report := func(id token.Secret, state task.State) error {
		return w.service.Report(ctx, id, task.Report{TaskID: s.TaskID, State: state, Detail: "why"})
	}
	wantErr(t, "ready before the claim", report(s.Identity, task.Ready), task.ErrRefused)
	if _, err := w.service.Claim(ctx, s.Identity, claimRequest(s)); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "another's identity", report(other.Identity, task.Ready), task.ErrRefused)
	wantErr(t, "an unknown state", report(s.Identity, "happy"), task.ErrRefused)
	for _, step := range []struct {
		say  task.State
		want host.TaskState
	}{{task.Ready, host.TaskReady}, {task.Failed, host.TaskFailed}, {task.Ready, host.TaskReady}} {
		if err := report(s.Identity, step.say); err != nil {
			t.Fatal(err)
		}
		if got, err := w.store.TaskOf(ctx, c.Key); err != nil || got.State != step.want {
			t.Errorf("after %s: %s, %v, want %s", step.say, got.State, err, step.want)
		}
	}
	// Stopped without a failure: there is no task any more.
	if err := w.service.Report(ctx, s.Identity, task.Report{TaskID: s.TaskID, State: task.Stopped}); err != nil {
		t.Fatal(err)
	}
	_, err := w.store.TaskOf(ctx, c.Key)
	wantErr(t, "after a stop", err, host.ErrNoTask)
	wantErr(t, "a report of a task that is gone", report(s.Identity, task.Ready), task.ErrRefused)
	// After one, why it failed is kept, and nothing makes it ready again.
	if _, err := w.service.Claim(ctx, other.Identity, claimRequest(other)); err != nil {
		t.Fatal(err)
	}
	for _, state := range []task.State{task.Failed, task.Stopped} {
		if err := w.service.Report(ctx, other.Identity, task.Report{TaskID: other.TaskID, State: state, Detail: "why: " + string(state)}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := w.store.GetTask(ctx, other.TaskID); err != nil || got.State != host.TaskFailed || got.Detail != "why: failed" || !got.Gone {
		t.Errorf("%+v %v", got, err)
	}
	err = w.service.Report(ctx, other.Identity, task.Report{TaskID: other.TaskID, State: task.Ready})
	wantErr(t, "ready after it has stopped", err, task.ErrRefused)
}

// TestClaimOfADeadGrant: the start fails, and says why to whoever waits for it.
func TestClaimOfADeadGrant(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t)
	c := w.connect("ada", "notes")
	w.tokens.fail(fmt.Errorf("%w: the person took it back", refresh.ErrReconnect))
	failed := make(chan error, 1)
	go func() {
		_, err := w.service.Tools(t.Context(), page("ada"), c.Key)
		failed <- err
	}()
	s := o.next(t)
	_, err := w.service.Claim(t.Context(), s.Identity, claimRequest(s))
	wantErr(t, "the claim", err, task.ErrReconnect)
	select {
	case err := <-failed:
		wantErr(t, "who waits", err, host.ErrServerFailed)
		if !strings.Contains(fmt.Sprint(err), "the person took it back") {
			t.Errorf("it does not say why: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("whoever waits is never told")
	}
}
