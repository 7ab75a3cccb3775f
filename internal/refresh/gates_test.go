package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/presets"
)

// gates counts what is asked of a store, notes the names, and may fail.
type gates struct {
	refresh.Gates
	reads, writes atomic.Int64
	// fail, when set, is asked before each call; late delays what was read.
	fail func(context.Context) error
	late time.Duration

	mu    sync.Mutex
	names map[string]bool
}

func newGates() *gates { return &gates{Gates: fake.New(), names: map[string]bool{}} }

func (g *gates) asked(ctx context.Context, name string) error {
	g.mu.Lock()
	g.names[name] = true
	g.mu.Unlock()
	if g.fail != nil {
		return g.fail(ctx)
	}
	return nil
}

func (g *gates) Gate(ctx context.Context, name string) (refresh.Gate, error) {
	g.reads.Add(1)
	if err := g.asked(ctx, name); err != nil {
		return refresh.Gate{}, err
	}
	out, err := g.Gates.Gate(ctx, name)
	time.Sleep(g.late)
	return out, err
}

func (g *gates) UpdateGate(ctx context.Context, name string, change func(*refresh.Gate) error) (refresh.Gate, error) {
	g.reads.Add(1)
	if err := g.asked(ctx, name); err != nil {
		return refresh.Gate{}, err
	}
	out, err := g.Gates.UpdateGate(ctx, name, change)
	if err == nil {
		g.writes.Add(1)
	}
	return out, err
}

func (g *gates) process() *refresh.Paced {
	return &refresh.Paced{Gates: g, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
}

// paced runs a test with some processes in a bubble.
func paced(t *testing.T, processes int, test func(t *testing.T, g *gates, p []*refresh.Paced)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		var all []*refresh.Paced
		for range processes {
			all = append(all, g.process())
		}
		test(t, g, all)
	})
}

// of is a connection of the provider, with the client that all share.
func of(providerID, id string) connection.Connection {
	c := connection.Connection{Key: connection.Key{Tenant: "default", ID: id}, Provider: providerID}
	c.ClientID, c.Account.Subject = "client", "subject of "+id
	return c
}

// renewal goes through the gate, and reports e if it may.
func renewal(t *testing.T, p *refresh.Paced, c connection.Connection, ration *presets.RateLimit, e *provider.Error) *refresh.Held {
	t.Helper()
	if held := p.Closed(t.Context(), c); held != nil {
		return held
	}
	err := p.Admit(t.Context(), c, ration)
	var held *refresh.Held
	if err != nil && !errors.As(err, &held) {
		t.Fatal(err)
	}
	if held == nil {
		p.Report(t.Context(), c, e)
	}
	return held
}

var (
	down          = &provider.Error{Verdict: provider.ProviderDown, Status: 503, Description: "ada@example.com " + canary}
	misconfigured = &provider.Error{Verdict: provider.ClientMisconfigured, Status: 401}
	passing       = &provider.Error{Verdict: provider.Transient, Status: 400}
	dead          = &provider.Error{Verdict: provider.Reconnect, Status: 400}
	narrowed      = &provider.Error{Verdict: provider.ScopeLost, Status: 400}
)

func limited(after time.Duration) *provider.Error {
	return &provider.Error{Verdict: provider.Transient, Status: 429, RetryAfter: after}
}

// closes reports the failures, and returns for how long the gate is closed then.
func closes(t *testing.T, p *refresh.Paced, failures ...*provider.Error) time.Duration {
	t.Helper()
	for i, e := range failures {
		if held := renewal(t, p, of("acme", fmt.Sprint("con_", i)), nil, e); held != nil {
			t.Fatalf("closed before failure %d: %v", i+1, held)
		}
	}
	held := p.Closed(t.Context(), of("acme", "con_other"))
	if held == nil {
		return 0
	}
	if !strings.Contains(held.Error(), "not asked for now: it ") || strings.Contains(held.Error(), canary) || strings.Contains(held.Error(), "ada@") || held.Verdict == "" {
		t.Errorf("told: %v (%s)", held, held.Verdict)
	}
	return time.Until(held.Until)
}
