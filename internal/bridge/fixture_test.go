package bridge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// childMode in the environment makes the test binary a server.
const childMode = "LANYARD_BRIDGE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childMode) {
	case "":
		os.Exit(m.Run())
	case "server":
		newFixture(os.Stdout, os.Getenv("LABEL")).serve(os.Stdin)
	case "family":
		// A grandchild that outlives its parent unless the group is killed.
		c := exec.Command(os.Args[0])
		c.Env = []string{childMode + "=sleep"}
		c.Stdout = os.Stdout
		_ = c.Start()
		fmt.Fprintln(os.Stderr, "grandchild", c.Process.Pid)
		newFixture(os.Stdout, "family").serve(os.Stdin)
		select {}
	case "sleep":
		time.Sleep(10 * time.Minute)
	case "die":
		fmt.Fprintln(os.Stderr, "no credentials: token=hunter2hunter2")
		os.Exit(3)
	}
	os.Exit(0)
}

// fixtureTools is the fixture's list: those that the tests have repeated say that
// it does no harm.
const fixtureTools = `{"name":"echo","inputSchema":{"type":"object"}},` +
	`{"name":"try","annotations":{"readOnlyHint":true}},{"name":"raw","annotations":{"idempotentHint":true}},` +
	`{"name":"wait","annotations":{"readOnlyHint":true}},{"name":"writes","annotations":{"readOnlyHint":false}}`

// fixture is an MCP server whose tools do what the tests need.
type fixture struct {
	label string
	mu    sync.Mutex
	out   *bufio.Writer
	// open are calls of the tool wait; told are notifications received.
	open     map[string]string
	tries    map[string]int
	told     []string
	answers  map[string]chan json.RawMessage
	asked    int
	caps     string
	versions string
}

func newFixture(out io.Writer, label string) *fixture {
	return &fixture{label: label, out: bufio.NewWriter(out), open: map[string]string{}, tries: map[string]int{}, answers: map[string]chan json.RawMessage{}}
}

func (f *fixture) send(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(f.out, format+"\n", args...)
	f.out.Flush()
}

type wireMessage struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Params struct {
		Name            string          `json:"name"`
		ProtocolVersion string          `json:"protocolVersion"`
		Capabilities    json.RawMessage `json:"capabilities"`
		RequestID       json.RawMessage `json:"requestId"`
		Arguments       struct {
			Text string `json:"text"`
			N    int    `json:"n"`
		} `json:"arguments"`
		Meta struct {
			Token json.RawMessage `json:"progressToken"`
		} `json:"_meta"`
	} `json:"params"`
}

func (f *fixture) serve(in io.Reader) {
	r := bufio.NewReader(in)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		var m wireMessage
		if json.Unmarshal(line, &m) != nil {
			f.send(`garbage in: %q`, line)
			continue
		}
		f.handle(m)
	}
}

func (f *fixture) text(id json.RawMessage, s string) {
	q, _ := json.Marshal(s)
	f.send(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":%s}]}}`, id, q)
}

func (f *fixture) handle(m wireMessage) {
	switch {
	case m.Method == "initialize":
		f.versions, f.caps = m.Params.ProtocolVersion, string(m.Params.Capabilities)
		f.send(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":%q,"capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"fixture","version":"1"}}}`, m.ID, m.Params.ProtocolVersion)
	case m.Method == "tools/list":
		f.send(`{"jsonrpc":"2.0","result":{"tools":[%s]},"id":%s}`, fixtureTools, m.ID)
	case m.Method == "tools/call":
		f.call(m)
	case m.Method == "" && len(m.Result) > 0:
		f.mu.Lock()
		c := f.answers[string(m.ID)]
		f.mu.Unlock()
		if c != nil {
			c <- m.Result
		}
	case m.Method == "notifications/cancelled":
		f.mu.Lock()
		f.told = append(f.told, "cancelled "+f.open[string(m.Params.RequestID)])
		f.mu.Unlock()
	case m.Method == "server/discover":
		f.send(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`, m.ID)
	case m.Method != "" && len(m.ID) == 0:
		f.mu.Lock()
		f.told = append(f.told, m.Method)
		f.mu.Unlock()
	}
}

func (f *fixture) call(m wireMessage) {
	args := m.Params.Arguments
	switch m.Params.Name {
	case "echo":
		f.text(m.ID, f.label+":"+args.Text)
	case "wait":
		f.mu.Lock()
		f.open[string(m.ID)] = args.Text
		f.mu.Unlock()
	case "release":
		f.mu.Lock()
		open := f.open
		f.open = map[string]string{}
		f.mu.Unlock()
		for id, text := range open {
			f.text(json.RawMessage(id), f.label+":"+text)
		}
		f.text(m.ID, fmt.Sprint(len(open)))
	case "waiting":
		f.mu.Lock()
		n := len(f.open)
		f.mu.Unlock()
		f.text(m.ID, fmt.Sprint(n))
	case "told":
		f.mu.Lock()
		s := strings.Join(f.told, ",")
		f.mu.Unlock()
		f.text(m.ID, s)
	case "hello":
		f.text(m.ID, f.versions+" "+f.caps)
	case "big":
		f.text(m.ID, strings.Repeat("x", args.N))
	case "noise":
		f.send("Starting server…\n{not json}\n[1,2]\n\n")
		f.text(m.ID, "quiet now")
	case "progress":
		for i := range args.N {
			f.send(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":%d,"progressToken":%s}}`, i, m.Params.Meta.Token)
		}
		f.text(m.ID, f.label+":"+args.Text)
	case "change":
		f.send(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		f.text(m.ID, "changed")
	case "ask":
		go f.ask(m.ID, args.Text)
	case "pid":
		f.text(m.ID, fmt.Sprint(os.Getpid()))
	case "forget":
		f.mu.Lock()
		clear(f.tries)
		f.mu.Unlock()
		f.text(m.ID, "")
	case "try", "writes", "unlisted":
		// Fails the first n times that it is called with the text.
		f.mu.Lock()
		f.tries[args.Text]++
		failed := f.tries[args.Text] <= args.N
		n := f.tries[args.Text]
		f.mu.Unlock()
		if m.Params.Meta.Token != nil {
			f.send(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":%d,"progressToken":%s}}`, n, m.Params.Meta.Token)
		}
		f.send(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"%s: try %d"}],"isError":%v}}`, m.ID, f.label, n, failed)
	case "raw", "raw once":
		// The text is the rest of the answer; how often it was asked for is kept.
		f.mu.Lock()
		f.tries[args.Text]++
		f.mu.Unlock()
		f.send(`{"jsonrpc":"2.0","id":%s,%s}`, m.ID, args.Text)
	case "tries":
		f.mu.Lock()
		n := f.tries[args.Text]
		f.mu.Unlock()
		f.text(m.ID, fmt.Sprint(n))
	case "crash":
		fmt.Fprintln(os.Stderr, "about to crash with Bearer abcdefgh12345678")
		os.Exit(7)
	}
}

// ask sends a request of its own and answers the call with what comes back.
func (f *fixture) ask(id json.RawMessage, method string) {
	f.mu.Lock()
	f.asked++
	own := fmt.Sprintf(`"ask-%d"`, f.asked)
	c := make(chan json.RawMessage, 1)
	f.answers[own] = c
	f.mu.Unlock()
	f.send(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{"message":"?"}}`, own, method)
	f.text(id, string(<-c))
}

// self starts this test binary as a server.
func self(mode string, env ...string) Command {
	return Command{Args: []string{os.Args[0]}, Env: append([]string{childMode + "=" + mode}, env...)}
}

// client is a bare MCP client.
type client struct {
	t       *testing.T
	url     string
	http    *http.Client
	session string
	accept  string
}

// serving puts the bridge behind a real HTTP server.
func serving(t *testing.T, cfg Config) (*Bridge, func() *client) {
	t.Helper()
	b := New(cfg)
	srv := httptest.NewServer(b)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		b.Close()
		srv.Close()
	})
	return b, func() *client {
		t.Helper()
		c := &client{t: t, url: srv.URL, http: srv.Client(), accept: "application/json, text/event-stream"}
		c.initialize("2025-06-18")
		if cfg.Begin != nil {
			<-b.lists.known // what may be repeated
		}
		return c
	}
}

func (c *client) initialize(version string) string {
	c.t.Helper()
	resp, body := c.post(c.t.Context(), `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"`+version+`","capabilities":{"elicitation":{}},"clientInfo":{"name":"t","version":"1"}}}`)
	if c.session = resp.Header.Get(mcp.SessionHeader); c.session == "" {
		c.t.Fatalf("initialize: %d %s", resp.StatusCode, body)
	}
	return body
}

func (c *client) request(ctx context.Context, method, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", c.accept)
	if c.session != "" {
		req.Header.Set(mcp.SessionHeader, c.session)
	}
	return c.http.Do(req)
}

func (c *client) post(ctx context.Context, body string) (*http.Response, string) {
	c.t.Helper()
	resp, err := c.request(ctx, http.MethodPost, body)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, string(data)
}

// tool calls a tool and returns the raw answer.
func (c *client) tool(id, name, args string) string {
	c.t.Helper()
	_, body := c.post(c.t.Context(), toolCall(id, name, args))
	return body
}

func toolCall(id, name, args string) string {
	if args == "" {
		args = "{}"
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, id, name, args)
}

// listen opens the GET stream and returns its data lines.
func (c *client) listen(ctx context.Context) <-chan string {
	c.t.Helper()
	resp, err := c.request(ctx, http.MethodGet, "")
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		c.t.Fatalf("GET: %s", resp.Status)
	}
	out := make(chan string, 64)
	go func() {
		defer close(out)
		defer resp.Body.Close()
		r := bufio.NewReader(resp.Body)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: "); ok {
				out <- data
			}
		}
	}()
	return out
}

func receive(t *testing.T, c <-chan string) string {
	t.Helper()
	select {
	case s := <-c:
		return s
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came")
		return ""
	}
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func textOf(t *testing.T, body string) string {
	t.Helper()
	var m struct {
		Result struct {
			Content []struct{ Text string }
		}
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(body))).Decode(&m); err != nil || len(m.Result.Content) != 1 {
		t.Fatalf("no text in %.300s (%v)", body, err)
	}
	return m.Result.Content[0].Text
}
