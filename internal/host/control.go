package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// tokenAtStart is how long a token should live when a server is started.
const tokenAtStart = 5 * time.Minute

// identified returns the task that the caller proves to be.
func (s *Service) identified(ctx context.Context, id string, identity token.Secret) (Task, error) {
	t, err := s.Store.GetTask(ctx, id)
	if errors.Is(err, ErrNoTask) || err == nil && !token.Matches(identity, t.IdentityHash) {
		return Task{}, task.ErrRefused
	}
	return t, err
}

// claimant refuses a claim of a task by anybody but that very task.
func (s *Service) claimant(ctx context.Context, id string, identity token.Secret) error {
	if s.Vouch == nil {
		_, err := s.identified(ctx, id, identity)
		return err
	}
	vouched, err := s.Vouch(ctx, id, identity.Reveal())
	if err == nil && !vouched {
		err = task.ErrRefused
	}
	return err
}

// Claim trades a ticket, once, and binds the task to its connection.
func (s *Service) Claim(ctx context.Context, identity token.Secret, r task.ClaimRequest) (task.Claim, error) {
	if err := s.claimant(ctx, r.TaskID, identity); err != nil {
		return task.Claim{}, err
	}
	if r.Address == "" || r.KeyFingerprint == "" {
		return task.Claim{}, fmt.Errorf("%w: the claim names no address or no key", task.ErrRefused)
	}
	now := s.Now().UTC()
	t, err := s.Store.UpdateTask(ctx, r.TaskID, func(t *Task) error {
		if t.IdentityHash != "" && !token.Matches(identity, t.IdentityHash) {
			return task.ErrRefused // it is another than registered as warm
		}
		if t.State != TaskStarting || t.TicketHash == "" || now.After(t.TicketExpires) || !token.Matches(r.Ticket, t.TicketHash) {
			return task.ErrRefused
		}
		t.State, t.TicketHash, t.Address, t.KeyFingerprint = TaskClaimed, "", r.Address, r.KeyFingerprint
		t.IdentityHash = token.Hash(identity) // who claimed it, and nobody else until it stops
		return nil
	})
	if err != nil {
		return task.Claim{}, err
	}
	claim, err := s.claimed(ctx, t)
	if err != nil {
		s.fail(ctx, t.ID, claimDetail(err), err)
		return task.Claim{}, err
	}
	return claim, nil
}

// claimDetail is why a claim failed, for the person: what concerns the grant or
// the server, and not what is wrong with our own storage.
func claimDetail(err error) string {
	var down *refresh.Unavailable
	switch {
	case errors.Is(err, task.ErrReconnect), errors.Is(err, refresh.ErrPending), errors.Is(err, refresh.ErrBusy), errors.Is(err, ErrNotHosted), errors.As(err, &down):
		return err.Error()
	}
	return ourFault
}

func (s *Service) claimed(ctx context.Context, t Task) (task.Claim, error) {
	a, c, err := s.Tokens.Token(ctx, caller(t), t.Connection, tokenAtStart, "start "+t.Server)
	if err != nil {
		return task.Claim{}, reconnectable(err)
	}
	server, ok := s.Catalogue.Server(c.Server)
	if !ok {
		return task.Claim{}, fmt.Errorf("%w: %s", ErrNotHosted, c.Server)
	}
	dir, err := s.Installer.Ensure(ctx, server)
	if err != nil {
		return task.Claim{}, err
	}
	in, err := s.inputs(c, server)
	if err != nil {
		return task.Claim{}, err
	}
	recipe, err := server.Recipe(dir, in)
	if err != nil {
		return task.Claim{}, err
	}
	recipe.OldTokenDies = s.oldTokenDies(c)
	return task.Claim{Connection: c.ID, Generation: t.Generation, Bearer: s.taskBearer(t), Recipe: recipe, Access: a, ReconnectURL: s.BaseURL + "/mcp/connections/" + c.ID}, nil
}

// inputs are what the connection's server is started or reached with. Where our
// client was when access was granted, that is where the server belongs, wherever the
// client is now; a server whose preset has come to be for elsewhere is given nothing.
func (s *Service) inputs(c connection.Connection, server presets.Server) (presets.Inputs, error) {
	in := presets.Inputs{User: c.Parameters, Deployment: s.Deployment}
	if !server.AtClient() && len(c.ClientAt) == 0 {
		return in, nil
	}
	p, ok := s.Catalogue.Provider(c.Provider)
	if !ok {
		return in, fmt.Errorf("%w: provider %q", flow.ErrServer, c.Provider)
	}
	p, err := p.Resolve(c.Variant, s.Catalogue.Provider)
	if err != nil {
		return in, err
	}
	if in.Client, err = p.Values(presets.Inputs{Client: c.ClientAt}); err != nil {
		return in, err
	}
	return in, server.Serves(p, in.Client)
}

// oldTokenDies reports whether a renewal at the connection's provider ends the
// access token that a running server has.
func (s *Service) oldTokenDies(c connection.Connection) bool {
	p, ok := s.Catalogue.Provider(c.Provider)
	if !ok {
		return false
	}
	p, err := p.Resolve(c.Variant, s.Catalogue.Provider)
	return err == nil && p.Refresh.OnReuse.OldAccessToken == presets.OldDies
}

// caller is the task itself: it reaches the tokens of its connection only.
func caller(t Task) vault.Caller {
	return vault.Caller{Tenant: t.Connection.Tenant, Connection: t.Connection.ID, Actor: "task:" + t.ID}
}

func reconnectable(err error) error {
	if errors.Is(err, refresh.ErrReconnect) || errors.Is(err, connection.ErrNotFound) || errors.Is(err, connection.ErrGone) {
		return fmt.Errorf("%w: %w", task.ErrReconnect, err)
	}
	return err
}

// TaskToken gives a bound task the tokens of its connection.
func (s *Service) TaskToken(ctx context.Context, identity token.Secret, r task.TokenRequest) (token.Access, error) {
	t, err := s.identified(ctx, r.TaskID, identity)
	if err != nil {
		return token.Access{}, err
	}
	if !t.bound() {
		return token.Access{}, task.ErrRefused
	}
	var a token.Access
	var c connection.Connection
	if r.Suspect {
		d := refresh.Doubt{Refused: r.Refused, Quiet: !s.mayCheck(ctx, t)}
		a, c, err = s.Tokens.Check(ctx, caller(t), t.Connection, d, "check "+t.Server)
	} else {
		minTTL := time.Duration(min(max(r.MinTTL, 0), 3600)) * time.Second
		a, c, err = s.Tokens.Token(ctx, caller(t), t.Connection, minTTL, "renew "+t.Server)
	}
	if err != nil {
		return token.Access{}, reconnectable(err)
	}
	// A task of before a reconnect, which is replaced at the next call: its server
	// may be elsewhere than this was granted at.
	if server, ok := s.Catalogue.Server(t.Server); ok && server.AtClient() && superseded(t, c) {
		return token.Access{}, task.ErrRefused
	}
	return a, nil
}

// mayCheck limits how often a server's words make us ask the provider.
func (s *Service) mayCheck(ctx context.Context, t Task) bool {
	now := s.Now().UTC()
	_, err := s.Store.UpdateTask(ctx, t.ID, func(t *Task) error {
		if now.Sub(t.CheckedAt) < checkEvery {
			return ErrRunning
		}
		t.CheckedAt = now
		return nil
	})
	return err == nil
}

// Report notes how a task's server is doing.
func (s *Service) Report(ctx context.Context, identity token.Secret, r task.Report) error {
	t, err := s.identified(ctx, r.TaskID, identity)
	if err != nil {
		return err
	}
	switch r.State {
	case task.Ready:
		_, err = s.Store.UpdateTask(ctx, t.ID, func(t *Task) error {
			if !t.bound() || t.Gone {
				return task.ErrRefused
			}
			t.State, t.Detail, t.LastUsedAt = TaskReady, "", s.Now().UTC()
			return nil
		})
		if err == nil && r.Catalogue != nil {
			s.learn(ctx, t, *r.Catalogue)
		}
	case task.Failed:
		s.fail(ctx, t.ID, r.Detail, nil)
	case task.Stopped:
		if t.State == TaskReady && r.Detail == "" {
			s.links.drop(t.ID)
			return s.Store.EndTask(ctx, t.ID)
		}
		return s.ended(ctx, t, cmp.Or(r.Detail, endedItself))
	default:
		return fmt.Errorf("%w: state %q", task.ErrRefused, r.State)
	}
	return err
}
