//go:build linux

package tasks

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"

	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// control plays mcprun's control routes for one task.
type control struct {
	recipe task.Recipe
	// access is what the ticket is worth, fresh answers requests for tokens.
	access func() token.Access
	fresh  func(task.TokenRequest) token.Access

	srv    *httptest.Server
	claims chan task.ClaimRequest
	states chan task.Report
	once   sync.Once
}

// Of every task; canary is in what nobody but the runner may know.
const (
	bearer   = "canary-bearer-of-the-task"
	ticket   = "canary-ticket-of-the-task"
	identity = "canary-identity-of-the-task"
)

func (c *control) start(t *testing.T) {
	t.Helper()
	c.claims, c.states = make(chan task.ClaimRequest, 1), make(chan task.Report, 64)
	c.srv = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.srv.Close)
}

func (c *control) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+identity {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var out any = struct{}{}
	switch r.URL.Path {
	case task.ClaimPath:
		var in task.ClaimRequest
		first := false
		if json.Unmarshal(body, &in) == nil && in.Ticket.Reveal() == ticket {
			c.once.Do(func() { first = true })
		}
		if !first {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		c.claims <- in
		out = task.Claim{Connection: "con_1", Generation: 1, Bearer: bearer, Recipe: c.recipe, Access: c.access()}
	case task.TokenPath:
		var in task.TokenRequest
		if json.Unmarshal(body, &in) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		out = c.fresh(in)
	case task.ReportPath:
		var in task.Report
		_ = json.Unmarshal(body, &in)
		c.states <- in
	}
	_ = json.NewEncoder(w).Encode(out)
}

// launcher starts tasks as `lanyard dev` does: as root each with a user of its
// own, else confined by Landlock alone.
func launcher(dir string) *local.Launcher {
	l := &local.Launcher{Command: []string{"/proc/self/exe", "runner"}, Dir: dir, Logger: slog.New(slog.DiscardHandler)}
	if os.Getuid() == 0 {
		l.FirstUID = 400000
	}
	return l
}

// begin starts a task; [control.dialled] is to follow.
func (c *control) begin(t *testing.T, l *local.Launcher, id string) {
	t.Helper()
	if err := l.Launch(t.Context(), host.Start{TaskID: id, Ticket: ticket, Identity: identity, ControlURL: c.srv.URL}); err != nil {
		t.Fatal(err)
	}
}

// dialled waits for the task and returns a way to make clients of it, or nil when
// its server did not start or ctx has ended.
func (c *control) dialled(ctx context.Context, t *testing.T) func() *client {
	t.Helper()
	select {
	case r := <-c.states:
		if r.State != task.Ready {
			t.Logf("the task reports %+v", r)
			return nil
		}
	case <-ctx.Done():
		return nil
	}
	claim := <-c.claims
	http := dial(t, claim)
	return func() *client { return &client{http: http, url: "https://" + claim.Address + "/mcp", bearer: bearer} }
}
