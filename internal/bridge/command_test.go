package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	mcpclient "github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/mcp"
)

// A crash answers the calls in flight and says why; the next call starts the
// server anew, in the same session.
func TestCrash(t *testing.T) {
	t.Parallel()
	_, connect := serving(t, Config{Start: self("server", "LABEL=x").Start})
	c := connect()
	pid := textOf(t, c.tool("1", "pid", ""))
	waiting := make(chan string, 1)
	go func() { waiting <- c.tool("2", "wait", `{"text":"w"}`) }()
	eventually(t, "the call waits", func() bool { return textOf(t, c.tool("3", "waiting", "")) == "1" })
	for _, body := range []string{c.tool("4", "crash", ""), receive(t, waiting)} {
		if !strings.Contains(body, "exit status 7") || !strings.Contains(body, "about to crash with [redacted]") || !strings.Contains(body, "check before you repeat it") {
			t.Errorf("%s", body)
		}
	}
	if again := textOf(t, c.tool("5", "pid", "")); again == pid {
		t.Error("the same process answers after a crash")
	}
}

func TestServerThatCannotStart(t *testing.T) {
	t.Parallel()
	command := self("die")
	command.Secrets = func() []string { return []string{"hunter2hunter2"} }
	heard := make(chan error, 8)
	b := New(Config{Start: command.Start, Started: func(err error) { heard <- err }})
	defer b.Close()
	err := b.Warm(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no credentials") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	if got := <-heard; got == nil {
		t.Error("Started heard of no failure")
	}
	missing := New(Config{Start: Command{Args: []string{"lanyard-no-such-program"}}.Start})
	defer missing.Close()
	if err := missing.Warm(t.Context()); err == nil || !strings.Contains(err.Error(), "is it installed?") {
		t.Errorf("%v", err)
	}
}

func TestServerThatNeverAnswers(t *testing.T) {
	t.Parallel()
	command := self("sleep")
	b := New(Config{Start: command.Start, StartTimeout: 50 * time.Millisecond})
	defer b.Close()
	if err := b.Warm(t.Context()); err == nil || !strings.Contains(err.Error(), "did not answer initialize within 50ms") {
		t.Errorf("%v", err)
	}
}

// Nothing is left of a server that leaves children behind, however it ends,
// although they hold its standard output open.
func TestWholeGroupEnds(t *testing.T) {
	t.Parallel()
	grandchild := regexp.MustCompile(`grandchild (\d+)`)
	for name, end := range map[string]func(child *running){
		"stopped": func(child *running) { _ = child.Stop() },
		"killed":  func(child *running) { _ = syscall.Kill(child.cmd.Process.Pid, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := self("family")
			command.Grace = 100 * time.Millisecond
			started := make(chan *running, 8)
			b := New(Config{Start: func(ctx context.Context) (Child, error) {
				c, err := command.Start(ctx)
				started <- c.(*running)
				return c, err
			}})
			defer b.Close()
			if err := b.Warm(t.Context()); err != nil {
				t.Fatal(err)
			}
			child := <-started
			var pid int
			eventually(t, "the grandchild is there", func() bool {
				m := grandchild.FindStringSubmatch(child.Tail())
				if m == nil {
					return false
				}
				pid, _ = strconv.Atoi(m[1])
				return true
			})
			p := b.shared.processes()[0]
			end(child)
			select {
			case <-p.gone:
			case <-time.After(30 * time.Second):
				t.Fatal("the bridge does not notice")
			}
			eventually(t, "the grandchild is gone", func() bool { return dead(pid) })
			eventually(t, "the child is gone", func() bool { return dead(child.cmd.Process.Pid) })
		})
	}
}

// An independent client, and ServeCommand's own checks.
func TestServe(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serve(ctx, ln, self("server", "LABEL=mcp-go"), false, slog.New(slog.DiscardHandler)) }()
	url := "http://" + ln.Addr().String() + "/mcp"

	c, err := mcpclient.NewStreamableHttpClient(url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	progress := make(chan mcp.JSONRPCNotification, 16)
	c.OnNotification(func(n mcp.JSONRPCNotification) { progress <- n })
	var hello mcp.InitializeRequest
	hello.Params.ProtocolVersion = "2025-06-18"
	hello.Params.ClientInfo = mcp.Implementation{Name: "test", Version: "1"}
	if r, err := c.Initialize(ctx, hello); err != nil || r.ServerInfo.Name != "fixture" {
		t.Fatal(r, err)
	}
	tools, err := c.ListTools(ctx, mcp.ListToolsRequest{})
	if err != nil || len(tools.Tools) != 5 {
		t.Fatal(tools, err)
	}
	var call mcp.CallToolRequest
	call.Params.Name = "progress"
	call.Params.Arguments = map[string]any{"text": "hi", "n": 2}
	call.Params.Meta = &mcp.Meta{ProgressToken: "mine"}
	result, err := c.CallTool(ctx, call)
	if err != nil || result.Content[0].(mcp.TextContent).Text != "mcp-go:hi" {
		t.Fatal(result, err)
	}
	for i := range 2 {
		select {
		case n := <-progress:
			if got := n.Params.AdditionalFields; fmt.Sprint(got["progressToken"], got["progress"]) != fmt.Sprint("mine", i) {
				t.Errorf("progress %v", got)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("no progress")
		}
	}

	for _, tc := range []struct {
		host, origin string
		want         int
	}{
		{"evil.example", "", http.StatusForbidden},
		{"", "https://evil.example", http.StatusForbidden},
		{"", "null", http.StatusForbidden},
		{"localhost:1", "http://127.0.0.1:6274", http.StatusBadRequest},
	} {
		req, _ := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(`{"id":1,"method":"ping"}`))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Origin", tc.origin)
		if tc.host != "" {
			req.Host = tc.host
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("host %q origin %q: %s", tc.host, tc.origin, resp.Status)
		}
	}
	cancel()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it serves on")
	}
}

// TestServeWhatIsNotThere: whoever starts the bridge is told, and not its first
// client.
func TestServeWhatIsNotThere(t *testing.T) {
	t.Parallel()
	err := ServeCommand(t.Context(), "127.0.0.1:0", []string{"no-such-program-here"}, false, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "is it installed?") {
		t.Errorf("%v", err)
	}
}
