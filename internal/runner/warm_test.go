package runner

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
)

// startWarm starts a warm task and returns it with what it registered.
func startWarm(t *testing.T, c *control) (*underway, task.WarmRequest) {
	t.Helper()
	registered := make(chan task.WarmRequest, 1)
	u := start(t, c, func(cfg *Config) {
		cfg.Ticket = ""
		cfg.Register = func(_ context.Context, r task.WarmRequest) (task.Warm, error) {
			registered <- r
			return task.Warm{Bearer: "bearer-of-the-assignment"}, nil
		}
	})
	select {
	case r := <-registered:
		u.http = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: pinned(r.KeyFingerprint)}}
		t.Cleanup(u.http.CloseIdleConnections)
		return u, r
	case err := <-u.ended:
		t.Fatal(err)
		return nil, task.WarmRequest{}
	}
}

// ask makes a request of the warm task, and returns the status; 0: no answer.
func (u *underway) ask(method, url, bearer, body string) int {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		u.t.Error(err)
		return 0
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := u.http.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestWarm: a warm task takes a ticket by the bearer of its registration alone,
// once, and is nothing but that until then.
func TestWarm(t *testing.T) {
	t.Parallel()
	c := newControl(task.Claim{Access: access("x", time.Hour), Recipe: task.Recipe{Rotation: task.RotateNone}})
	u, r := startWarm(t, c)
	url := "https://" + r.Address
	const good, ticket = "bearer-of-the-assignment", `{"ticket":"ticket"}`
	for _, try := range []struct {
		method, path, bearer, body string
		want                       int
	}{
		{"POST", "/assign", "", ticket, 401},
		{"POST", "/assign", "another", ticket, 401},
		{"POST", "/assign", "bearer-of-the-task", ticket, 401},
		{"GET", "/assign", good, "", 405},
		{"POST", "/mcp", good, `{}`, 404},
		{"GET", "/healthz", good, "", 404},
		{"POST", "/assign", good, ``, 400},
		{"POST", "/assign", good, `{"ticket":""}`, 400},
		{"POST", "/assign", good, `{"ticket":"` + strings.Repeat("x", maxAssignment) + `"}`, 400},
	} {
		if got := u.ask(try.method, url+try.path, try.bearer, try.body); got != try.want {
			t.Errorf("%s %s by %q with %.30q: %d, want %d", try.method, try.path, try.bearer, try.body, got, try.want)
		}
	}
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: pinned("00")}}
	if _, err := stranger.Get(url + "/assign"); err == nil {
		t.Error("it shows another key than it registered")
	}
	c.mu.Lock()
	if left, _ := os.ReadDir(u.dir); len(left) > 0 || len(c.claimed) > 0 {
		t.Errorf("before the assignment there are files %v and claims %v", left, c.claimed)
	}
	c.mu.Unlock()

	// Of many who assign, one does.
	var mu sync.Mutex
	took := 0
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if u.ask("POST", url+"/assign", good, ticket) == http.StatusNoContent {
				mu.Lock()
				took++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if took != 1 {
		t.Errorf("it was assigned %d times", took)
	}
	u.connect() // by the address and the key of the claim
	c.mu.Lock()
	claim := c.claimed[0]
	c.mu.Unlock()
	if claim.Address != r.Address || claim.KeyFingerprint != r.KeyFingerprint || claim.TaskID != r.TaskID {
		t.Errorf("registered %+v, claimed as %s %s", r, claim.Address, claim.KeyFingerprint)
	}
	if got := u.ask("POST", url+"/assign", good, ticket); got != 401 {
		t.Errorf("an assignment later: %d", got)
	}
	if got := u.tool("getenv", childMode); got != "server" {
		t.Errorf("the server says %q", got)
	}
	if len(c.claimed) != 1 {
		t.Errorf("%d claims", len(c.claimed))
	}
}

// TestWarmEnds: refused, or with its end, it is gone without a claim.
func TestWarmEnds(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func() (task.Warm, error){
		"refused":   func() (task.Warm, error) { return task.Warm{}, task.ErrRefused },
		"no bearer": func() (task.Warm, error) { return task.Warm{}, nil },
	} {
		c := newControl(task.Claim{})
		u := start(t, c, func(cfg *Config) {
			cfg.Register = func(context.Context, task.WarmRequest) (task.Warm, error) { return refuse() }
		})
		if err := <-u.ended; err == nil || name == "refused" && !errors.Is(err, task.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
		u.ended <- nil
	}
	u, r := startWarm(t, newControl(task.Claim{}))
	if err := u.end(); err != nil {
		t.Errorf("stopped while it waits: %v", err)
	}
	if got := u.ask("POST", "https://"+r.Address+"/assign", "bearer-of-the-assignment", `{"ticket":"ticket"}`); got != 0 {
		t.Errorf("it still answers: %d", got)
	}

	// The parent's end.
	lifeline, parent := io.Pipe()
	u = start(t, newControl(task.Claim{}), func(cfg *Config) {
		cfg.Lifeline = lifeline
		cfg.Register = func(context.Context, task.WarmRequest) (task.Warm, error) {
			return task.Warm{Bearer: "b"}, parent.Close()
		}
	})
	if err := <-u.ended; err != nil {
		t.Errorf("at the end of its lifeline: %v", err)
	}
	u.ended <- nil
}

// TestWarmHeld: whoever holds a connection open does not keep the task from its
// work.
func TestWarmHeld(t *testing.T) {
	t.Parallel()
	c := newControl(task.Claim{Access: access("x", time.Hour), Recipe: task.Recipe{Rotation: task.RotateNone}})
	u, r := startWarm(t, c)
	body, held := io.Pipe()
	req, err := http.NewRequest("POST", "https://"+r.Address+"/assign", io.MultiReader(bytes.NewReader([]byte(`{"tick`)), body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer bearer-of-the-assignment")
	go func() {
		if resp, err := u.http.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	defer held.Close()
	if got := u.ask("POST", "https://"+r.Address+"/assign", "bearer-of-the-assignment", `{"ticket":"ticket"}`); got != http.StatusNoContent {
		t.Fatalf("answered %d", got)
	}
	u.connect()
}
