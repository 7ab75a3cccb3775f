//go:build linux

package tasks

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/bridge"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// script is an MCP server that is started quickly, a thousand times. It starts a
// process of its own, does not end with its input, and answers every call but
// those that say hang.
const script = `sleep 600 </dev/null >/dev/null 2>&1 &
while read -r line; do
	case $line in *'"id":'*) ;; *) continue ;; esac
	case $line in *hang*) continue ;; esac
	id=${line#*'"id":'}
	id=${id%%[,\}]*}
	result='{"content":[{"type":"text","text":"done"}],"tools":[]}'
	case $line in *'"initialize"'*) result='{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"sh","version":"1"}}' ;; esac
	echo '{"jsonrpc":"2.0","id":'"$id"',"result":'"$result"'}'
done
sleep 600`

const (
	sessions = 1000
	// atOnce is how many clients there are at a time.
	atOnce = 16
)

// abandon opens a session and goes away, in one of four ways. It reports whether
// there was a session.
func abandon(ctx context.Context, c *client, way int) bool {
	if c.connect(ctx) != nil {
		return c.session != ""
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	switch way % 4 {
	case 0: // as it is
	case 1: // after a call
		_, _ = c.call(ctx, "any", "text")
	case 2: // while it listens
		req, err := c.prepare(ctx, http.MethodGet, nil)
		if err != nil {
			return true
		}
		if resp, err := c.http.Do(req); err == nil {
			leave()
			resp.Body.Close()
		}
	case 3: // while it waits for an answer
		time.AfterFunc(20*time.Millisecond, leave)
		_, _ = c.call(ctx, "any", "hang")
	}
	return true
}

// abandonMany abandons that many sessions, and tries again what did not come
// about, until ctx ends. It returns how many there were.
func abandonMany(ctx context.Context, many int, dialled func() *client) int64 {
	var wg sync.WaitGroup
	var begun, opened atomic.Int64
	for range atOnce {
		wg.Go(func() {
			for n := begun.Add(1); n <= int64(many); n = begun.Add(1) {
				for !abandon(ctx, dialled(), int(n)) {
					if ctx.Err() != nil {
						return
					}
					time.Sleep(20 * time.Millisecond) // full, or its server was just killed
				}
				opened.Add(1)
			}
		})
	}
	wg.Wait()
	return opened.Load()
}

// killing kills one of the servers in a directory now and then, at random, until
// stop is called; it returns how often. No more than most.
func killing(dir string, most int) (stop func() int) {
	done, killed := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-done:
				killed <- n
				return
			case <-time.After(time.Duration(20+rand.IntN(150)) * time.Millisecond):
			}
			servers := slices.DeleteFunc(within(dir), func(p process) bool { return p.name != "sh" })
			if len(servers) > 0 && n < most && syscall.Kill(servers[rand.IntN(len(servers))].pid, syscall.SIGKILL) == nil {
				n++
			}
		}
	}()
	return func() int {
		close(done)
		return <-killed
	}
}

// TestBridgeLeaks: a thousand sessions are abandoned and servers are killed at
// random; when the sessions have been idle for long enough, and when the bridge
// is closed, nothing is left of them.
func TestBridgeLeaks(t *testing.T) {
	for name, cfg := range map[string]struct {
		bridge.Config
		kills int
	}{
		// One that is killed again and again is started less and less often.
		"shared": {bridge.Config{IdleAfter: 2 * time.Second}, 3},
		// Sixty-four servers at a time, as in a task.
		"each": {bridge.Config{IdleAfter: 400 * time.Millisecond, PerClient: true, MaxSessions: 64}, 50},
	} {
		t.Run(name, func(t *testing.T) {
			before := measure()
			dir := t.TempDir()
			cfg.Start = bridge.Command{Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=" + os.Getenv("PATH")}, Dir: dir}.Start
			b := bridge.New(cfg.Config)
			srv := httptest.NewServer(b)
			client := clientOf(srv.URL)
			c := client()
			if err := c.connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.http.CloseIdleConnections()
			if cfg.PerClient {
				await(t, "its server is gone", func() bool { return len(within(dir)) == 0 })
			}
			serving := measure()

			stop := killing(dir, cfg.kills)
			n := abandonMany(t.Context(), sessions, client)
			t.Logf("%d sessions; %d times a server was killed", n, stop())
			c.http.CloseIdleConnections()
			serving.returns(t)
			if n := len(within(dir)); cfg.PerClient && n != 0 || n > 2 {
				t.Errorf("%d processes are there: %v", n, within(dir))
			}
			if _, err := c.call(t.Context(), "any", "text"); err == nil {
				t.Error("an abandoned session goes on")
			}

			srv.Close()
			b.Close()
			c.http.CloseIdleConnections()
			before.returns(t)
			if left := within(dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// clientOf makes clients of a bridge that asks for no bearer.
func clientOf(url string) func() *client {
	shared := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}}
	return func() *client { return &client{http: shared, url: url} }
}

// TestServeCommandLeaks is the same with a bridge that is a process of its own,
// as `lanyard bridge` is: by a signal it ends with all that it has started, and
// killed it takes its server along.
func TestServeCommandLeaks(t *testing.T) {
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(end.String(), func(t *testing.T) {
			before, dir := measure(), t.TempDir()
			cmd := exec.Command("/proc/self/exe", "bridge", "/bin/sh", "-c", script)
			cmd.Dir = dir
			out, err := cmd.StderrPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			client := clientOf(announced(t, out))
			c := client()
			if err := c.connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			pid := cmd.Process.Pid
			held, memory := files(pid), resident(pid)

			stop := killing(dir, 3)
			n := abandonMany(t.Context(), sessions-1, client) // it takes a thousand
			t.Logf("%d sessions; its server was killed %d times", n, stop())
			c.http.CloseIdleConnections()
			await(t, "its connections are closed", func() bool { return files(pid) <= held })
			t.Logf("its memory has grown from %d to %d MB", memory>>20, resident(pid)>>20)
			if grown := resident(pid) - memory; grown > 32<<20 {
				t.Errorf("by %d MB", grown>>20)
			}
			await(t, "a client is served", func() bool { _, err := c.call(t.Context(), "any", "text"); return err == nil })

			c.http.CloseIdleConnections()
			if err := cmd.Process.Signal(end); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			await(t, "its server is gone", func() bool {
				for _, p := range within(dir) {
					if p.name == "sh" || end == syscall.SIGTERM {
						return false
					}
				}
				return true
			})
			for _, p := range within(dir) { // killed, it could not end what its server had started
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
			before.returns(t)
		})
	}
}

// announced is the URL that a bridge says it serves at. What it says after that
// is dropped.
func announced(t *testing.T, out io.Reader) string {
	t.Helper()
	said := make([]byte, 4096)
	n, err := out.Read(said)
	url := regexp.MustCompile(`http://[0-9.:]+/mcp`).Find(said[:n])
	if url == nil {
		t.Fatalf("%s %v", said[:n], err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return string(url)
}

// TestRunnerLeaks: a thousand sessions of real tasks are abandoned, their servers
// are killed at random, and then the runners, wherever they are; some are
// stopped. Nothing is left.
func TestRunnerLeaks(t *testing.T) {
	const tasks, together = 30, 3
	before, dir := measure(), open(t)
	l := launcher(dir)
	var next, opened atomic.Int64
	t.Run("tasks", func(t *testing.T) {
		stop := killing(dir, 3*tasks)
		var wg sync.WaitGroup
		for range together {
			wg.Go(func() {
				for n := next.Add(1); n <= tasks; n = next.Add(1) {
					opened.Add(shortLife(t, l, fmt.Sprint("tsk_", n), int(n)))
				}
			})
		}
		wg.Wait()
		t.Logf("%d tasks, %d sessions; %d times a server was killed", tasks, opened.Load(), stop())
	})
	if opened.Load() < sessions {
		t.Errorf("only %d sessions were opened", opened.Load())
	}
	before.returns(t)
	if left := within(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if left, err := filepath.Glob(dir + "/*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// shortLife is the life of the nth task. It returns how many sessions were opened.
func shortLife(t *testing.T, l *local.Launcher, id string, n int) int64 {
	c := &control{access: func() token.Access { return token.Access{} }, recipe: task.Recipe{
		Command: []string{"/bin/sh", "-c", script}, Rotation: task.RotateNone, Clients: task.ClientsShared}}
	many := 120
	if n%3 == 0 { // a server for each, which takes longer to start
		c.recipe.Clients, many = task.ClientsEach, 10
	}
	c.start(t)
	defer c.srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if n%5 == 0 { // at any moment of its beginning
		time.AfterFunc(time.Duration(rand.IntN(600))*time.Millisecond, cancel)
	}
	place := filepath.Join(l.Dir, id)
	if err := l.Launch(ctx, host.Start{TaskID: id, Ticket: ticket, Identity: identity, ControlURL: c.srv.URL}); err != nil {
		t.Error(err)
		return 0
	}
	var opened int64
	if dialled := c.dialled(ctx, t); dialled != nil {
		opened = abandonMany(ctx, many, dialled)
		dialled().http.CloseIdleConnections()
	}
	if n%7 == 0 {
		if err := l.Stop(ctx, id); err != nil {
			t.Error(err)
		}
	}
	for _, p := range within(place) {
		if p.parent == os.Getpid() {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
	for begun := time.Now(); l.Alive(id) || len(within(place)) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Errorf("%s: left behind: %v", id, within(place))
			break
		}
	}
	return opened
}
