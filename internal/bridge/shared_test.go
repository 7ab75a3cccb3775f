package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

func TestRejects(t *testing.T) {
	t.Parallel()
	_, connect := serving(t, Config{Start: new(starts).start, MaxBody: 1 << 10})
	c := connect()
	stranger := *c
	stranger.session = ""
	ended := *c
	ended.session = "nobody"
	for _, tc := range []struct {
		name, method, body string
		c                  *client
		want               int
	}{
		{"batch", "POST", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, c, 400},
		{"no JSON", "POST", `{"id":1,"method":"ping"`, c, 400},
		{"not valid JSON", "POST", `{"id":1,"method":"ping","params":{bad}}`, c, 400},
		{"null id", "POST", `{"id":null,"method":"ping"}`, c, 400},
		{"two ids", "POST", `{"id":1,"method":"ping","id":2}`, c, 400},
		{"no session", "POST", `{"id":1,"method":"ping"}`, &stranger, 400},
		{"unknown session", "POST", `{"id":1,"method":"ping"}`, &ended, 404},
		{"unknown session listens", "GET", ``, &ended, 404},
		{"too large", "POST", `{"id":1,"method":"ping","params":{"x":"` + strings.Repeat("x", 1<<10) + `"}}`, c, 413},
		{"no method", "PUT", `{}`, c, 405},
		{"initialize without version", "POST", `{"id":1,"method":"initialize","params":{}}`, &stranger, 400},
		{"notification", "POST", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, c, 202},
		{"response to nothing", "POST", `{"jsonrpc":"2.0","id":1,"result":{}}`, c, 202},
		{"notification without a session", "POST", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, &stranger, 400},
		{"notification of an unknown session", "POST", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, &ended, 404},
	} {
		resp, err := tc.c.request(t.Context(), tc.method, tc.body)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tc.want || len(body) > 0 && !json.Valid(body) {
			t.Errorf("%s: %s, want %d: %s", tc.name, resp.Status, tc.want, body)
		}
	}
	for version, want := range map[string]int{"2025-03-26": 202, "2024-11-05": 202, "1999-01-01": 400, "x": 400} {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", c.url, strings.NewReader(`{"method":"notifications/initialized"}`))
		req.Header = http.Header{"Content-Type": {"application/json"}, mcp.SessionHeader: {c.session}, mcp.VersionHeader: {version}}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("version %s: %s, want %d", version, resp.Status, want)
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), "POST", c.url, strings.NewReader(`{"id":1,"method":"ping"}`))
	req.Header.Set("Content-Type", "text/plain") // what a web page may send without asking
	resp, err := c.http.Do(req)
	if err != nil || resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("text/plain: %v %v", resp, err)
	}
}

// Two clients use the same ids and tokens at the same time; each gets its own
// answers, and the server sees one client without capabilities.
func TestSharedMultiplexing(t *testing.T) {
	t.Parallel()
	var s starts
	_, connect := serving(t, Config{Start: s.start})
	var wg sync.WaitGroup
	for i := range 4 {
		c := connect()
		wg.Go(func() {
			for n := range 100 {
				want := fmt.Sprintf("client %d call %d", i, n)
				body := c.tool(fmt.Sprint(n), "echo", `{"text":"`+want+`"}`)
				if got := textOf(t, body); got != "1:"+want || !strings.Contains(body, fmt.Sprintf(`"id":%d,`, n)) {
					t.Errorf("client %d: %s", i, body)
				}
			}
		})
		wg.Go(func() {
			resp, body := c.post(t.Context(), fmt.Sprintf(`{"jsonrpc":"2.0","id":"p","method":"tools/call","params":{"name":"progress","arguments":{"n":3,"text":"p%d"},"_meta":{"progressToken":"tok"}}}`, i))
			if resp.Header.Get("Content-Type") != "text/event-stream" || strings.Count(body, `"progressToken":"tok"`) != 3 || strings.Count(body, fmt.Sprintf("1:p%d", i)) != 1 {
				t.Errorf("progress of %d: %s", i, body)
			}
			if at := strings.Index(body, `"result"`); strings.Contains(body[at:], "progress\":") {
				t.Errorf("progress came after the answer: %s", body)
			}
		})
	}
	wg.Wait()
	if got := textOf(t, connect().tool("1", "hello", "")); got != "2025-06-18 {}" {
		t.Errorf("the server was told %q", got)
	}
	if n := s.n.Load(); n != 1 {
		t.Errorf("%d servers for one shared", n)
	}
}

func TestAnswersPassUntouched(t *testing.T) {
	t.Parallel()
	_, connect := serving(t, Config{Start: new(starts).start, StreamAfter: time.Hour})
	c := connect()
	for _, n := range []int{0, 4 << 10, 64 << 10, 1 << 20, 20 << 20} {
		body := c.tool(`"a\"b"`, "big", fmt.Sprintf(`{"n":%d}`, n))
		if want := `{"jsonrpc":"2.0","id":"a\"b","result":{"content":[{"type":"text","text":"` + strings.Repeat("x", n) + `"}]}}`; body != want {
			t.Errorf("%d bytes came as %d: %.200s", n, len(body), body)
		}
	}
	// A request over several lines is one line to the server.
	if got := textOf(t, c.tool("1", "echo", "{\n\r\n\"text\":\"a\\nb\"}")); got != "1:a\nb" {
		t.Errorf("%q", got)
	}
	if got := textOf(t, c.tool("1", "echo", `{"text":"`+strings.Repeat("y", 3<<20)+`"}`)); len(got) != 3<<20+2 {
		t.Errorf("3 MiB up came as %d bytes", len(got))
	}
}

func TestNoClientCanStream(t *testing.T) {
	t.Parallel()
	_, connect := serving(t, Config{Start: new(starts).start})
	c := connect()
	c.accept = "application/json"
	resp, body := c.post(t.Context(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"progress","arguments":{"n":3,"text":"x"},"_meta":{"progressToken":1}}}`)
	if resp.Header.Get("Content-Type") != "application/json" || textOf(t, body) != "1:x" {
		t.Errorf("%v %s", resp.Header, body)
	}
}

func TestSlowAnswerBecomesStream(t *testing.T) {
	t.Parallel()
	_, connect := serving(t, Config{Start: new(starts).start, StreamAfter: time.Millisecond, KeepAlive: time.Millisecond})
	c := connect()
	done := make(chan string, 1)
	go func() { done <- c.tool("5", "wait", `{"text":"late"}`) }()
	eventually(t, "the call waits", func() bool { return textOf2(c.tool("1", "waiting", "")) == "1" })
	c2 := connect()
	time.Sleep(5 * time.Millisecond) // several keep-alives long
	c2.tool("1", "release", "")
	if body := receive(t, done); !strings.Contains(body, ": keep-alive\n\n") || !strings.Contains(body, `1:late`) || !strings.HasPrefix(body, ":") {
		t.Errorf("%q", body)
	}
}

// textOf2 finds the text in JSON or in an event stream.
func textOf2(body string) string {
	if at := strings.Index(body, `data: {`); at >= 0 {
		body = body[at+len("data: "):]
	}
	var m struct {
		Result struct {
			Content []struct{ Text string }
		}
	}
	if json.NewDecoder(strings.NewReader(body)).Decode(&m) != nil || len(m.Result.Content) == 0 {
		return ""
	}
	return m.Result.Content[0].Text
}

func TestBroadcastAndStreams(t *testing.T) {
	t.Parallel()
	b, connect := serving(t, Config{Start: new(starts).start})
	one, two := connect(), connect()
	first := one.listen(t.Context())
	// A change before two listens waits for it.
	one.tool("1", "change", "")
	second := two.listen(t.Context())
	for _, c := range []<-chan string{first, second} {
		if got := receive(t, c); !strings.Contains(got, "tools/list_changed") {
			t.Errorf("%s", got)
		}
	}
	// A second stream of one session takes over.
	again := one.listen(t.Context())
	for range first {
		t.Error("a message on the replaced stream")
	}
	two.tool("1", "change", "")
	if got := receive(t, again); !strings.Contains(got, "tools/list_changed") {
		t.Errorf("%s", got)
	}
	// DELETE ends the session and its streams.
	resp, err := one.request(t.Context(), http.MethodDelete, "")
	if err != nil || resp.StatusCode != http.StatusNoContent {
		t.Fatal(resp, err)
	}
	for range again {
		t.Error("a message after the end")
	}
	if resp, _ := one.post(t.Context(), `{"id":1,"method":"ping"}`); resp.StatusCode != http.StatusNotFound {
		t.Errorf("after DELETE: %s", resp.Status)
	}
	if n := len(b.sessions); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

func TestCancellation(t *testing.T) {
	t.Parallel()
	b, connect := serving(t, Config{Start: new(starts).start})
	one, two := connect(), connect()
	waiting := func(n string) {
		t.Helper()
		eventually(t, n+" calls wait", func() bool { return textOf(t, two.tool("1", "waiting", "")) == n })
	}
	// Both wait with the same id: only the one that cancels is cancelled.
	oneDone, twoDone := make(chan int, 1), make(chan string, 1)
	go func() {
		resp, _ := one.post(t.Context(), toolCall("9", "wait", `{"text":"one"}`))
		oneDone <- resp.StatusCode
	}()
	waiting("1")
	go func() { twoDone <- two.tool("9", "wait", `{"text":"two"}`) }()
	waiting("2")
	one.post(t.Context(), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9,"reason":"no"}}`)
	if got := <-oneDone; got != http.StatusAccepted {
		t.Errorf("the cancelled call was answered %d", got)
	}
	// A client that hangs up cancels as well.
	ctx, hangUp := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := one.request(ctx, "POST", toolCall("10", "wait", `{"text":"three"}`)); err == nil {
			resp.Body.Close()
		}
	}()
	waiting("3")
	hangUp()
	<-gone
	eventually(t, "the server hears of it", func() bool {
		return textOf(t, two.tool("1", "told", "")) == "notifications/initialized,cancelled one,cancelled three"
	})
	// A session that ends gives up its calls.
	go func() { _, _ = one.request(t.Context(), "POST", toolCall("11", "wait", `{"text":"four"}`)) }()
	waiting("4")
	resp, err := one.request(t.Context(), http.MethodDelete, "")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	eventually(t, "the server hears of the end", func() bool {
		return strings.HasSuffix(textOf(t, two.tool("1", "told", "")), "cancelled four")
	})
	two.tool("2", "release", "")
	if body := receive(t, twoDone); textOf(t, body) != "1:two" {
		t.Errorf("%s", body)
	}
	p := b.shared.processes()[0]
	if c := p.find(func(*call) bool { return true }); c != nil {
		t.Errorf("call %s is still pending", c.id)
	}
}

// What a shared server asks is refused, except a ping.
func TestSharedServerAsks(t *testing.T) {
	t.Parallel()
	var s starts
	_, connect := serving(t, Config{Start: s.start})
	c := connect()
	if got := textOf(t, c.tool("1", "ask", `{"text":"ping"}`)); got != "{}" {
		t.Errorf("ping was answered %s", got)
	}
	f := s.newest()
	f.fixture.send(`{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage"}`)
	// The fixture has no handler for errors: that it goes on is enough.
	if got := textOf(t, c.tool("1", "echo", `{"text":"on"}`)); got != "1:on" {
		t.Errorf("%s", got)
	}
}

func TestOlderClientOfASharedServer(t *testing.T) {
	t.Parallel()
	b, connect := serving(t, Config{Start: new(starts).start})
	if err := b.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := connect()
	for asked, want := range map[string]string{"2025-03-26": "2025-03-26", "2025-11-25": "2025-11-25", "2099-01-01": "2025-11-25", "2024-11-05": "2025-11-25"} {
		if body := c.initialize(asked); !strings.Contains(body, `"protocolVersion":"`+want+`"`) {
			t.Errorf("asked for %s: %s", asked, body)
		}
	}
}

// One client too many takes the place of the one that has been idle for longest,
// and of none whose request is under way.
func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	for _, each := range []bool{false, true} {
		b, connect := serving(t, Config{Start: new(starts).start, MaxSessions: 3, PerClient: each})
		gone := func(c *client) bool {
			resp, _ := c.post(t.Context(), toolCall("1", "hello", ""))
			return resp.StatusCode == http.StatusNotFound
		}
		busy, first, second := connect(), connect(), connect()
		answer := make(chan string, 1)
		go func() { answer <- busy.tool("1", "wait", `{"text":"long"}`) }()
		eventually(t, "the call is under way", func() bool { return textOf(t, busy.tool("2", "waiting", "")) == "1" })
		if gone(first) { // and so used after the second
			t.Fatal("the first is gone")
		}
		third := connect()
		if !gone(second) || gone(first) || gone(third) {
			t.Error("it is not the one that was idle for longest that is gone")
		}
		connect()
		if !gone(first) || gone(third) {
			t.Error("the first was idle for longest")
		}
		if n := len(b.sessions); n != 3 {
			t.Errorf("%d sessions", n)
		}
		busy.tool("3", "release", "")
		if got := textOf(t, receive(t, answer)); !strings.HasSuffix(got, ":long") {
			t.Errorf("the call under way: %s", got)
		}
	}
}

// A client that nothing can make room for is told to come again.
func TestSessionsInUse(t *testing.T) {
	t.Parallel()
	_, connect := serving(t, Config{Start: new(starts).start, MaxSessions: 2})
	connect().listen(t.Context())
	c := connect()
	c.listen(t.Context())
	c.session = ""
	resp, body := c.post(t.Context(), hello)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s %s", resp.Status, body)
	}
}

func TestNoiseIsSkipped(t *testing.T) {
	t.Parallel()
	var s starts
	_, connect := serving(t, Config{Start: s.start})
	c := connect()
	if got := textOf(t, c.tool("1", "noise", "")); got != "quiet now" {
		t.Errorf("%q", got)
	}
	if tail := s.newest().Tail(); !strings.Contains(tail, "Starting server…") || !strings.Contains(tail, "3 lines") {
		t.Errorf("tail %q", tail)
	}
}

func TestOverlongMessageEndsTheServer(t *testing.T) {
	t.Parallel()
	_, connect := serving(t, Config{Start: new(starts).start, MaxMessage: 1 << 20})
	c := connect()
	if body := c.tool("1", "big", `{"n":2097152}`); !strings.Contains(body, "over the limit of 1 MiB") || !strings.Contains(body, `"id":1`) {
		t.Errorf("%.300s", body)
	}
	if got := textOf(t, c.tool("1", "echo", `{"text":"x"}`)); got != "2:x" {
		t.Errorf("the next call: %q", got)
	}
}
