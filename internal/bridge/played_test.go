package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// played is an MCP server of one era or both, as strict as it may be: a process
// that has seen one era refuses the other.
type played struct {
	legacy, modern, silent bool
	// slow is how long it takes to say that it knows the modern era.
	slow time.Duration

	mu sync.Mutex
	// starts counts its processes, heard is what they got, as "process method".
	starts int
	heard  []string
	// tells sends a line from each process; ends is closed when it is over.
	tells []func(string, ...any)
	ends  []chan struct{}
	// listens are the open subscriptions of the newest process, by id.
	listens map[string]bool
	// answers are for what its processes asked, by id.
	answers map[string]chan heard
}

func (s *played) start(context.Context) (Child, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts++
	n, era := s.starts, ""
	s.listens = map[string]bool{}
	if s.answers == nil {
		s.answers = map[string]chan heard{}
	}
	s.tells, s.ends = append(s.tells, nil), append(s.ends, nil)
	f := play(func(m heard, tell func(string, ...any)) {
		version, _ := mcp.Message{Raw: m.Params}.VersionIn(metaOf(m.Params))
		s.mu.Lock()
		s.heard = append(s.heard, fmt.Sprint(n, " ", m.Method))
		s.tells[n-1] = tell
		legacy := s.legacy
		s.mu.Unlock()
		reply := func(result string) { tell(`{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result) }
		fail := func(code int) { tell(`{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"no"}}`, m.ID, code) }
		switch {
		case m.Method == "" && m.ID != nil:
			s.mu.Lock()
			c := s.answers[string(m.ID)]
			s.mu.Unlock()
			if c != nil {
				c <- m
			}
		case m.ID == nil:
			if m.Method == "notifications/cancelled" {
				s.cancelled(m, tell)
			}
		case m.Method == "initialize":
			if !legacy || era == mcp.Modern {
				fail(-32601)
				return
			}
			era = "legacy"
			var p struct{ Capabilities json.RawMessage }
			_ = json.Unmarshal(m.Params, &p)
			reply(`{"protocolVersion":"2025-11-25","capabilities":` + playedCapabilities + `,"serverInfo":{"name":"played","version":"1"},"instructions":"` + strings.ReplaceAll(string(p.Capabilities), `"`, `'`) + `"}`)
		case m.Method == "server/discover":
			switch {
			case s.silent:
			case !s.modern || version != mcp.Modern:
				fail(-32601)
			default:
				era = mcp.Modern
				time.Sleep(s.slow)
				reply(`{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":` + playedCapabilities + `,"ttlMs":1,"cacheScope":"public"}`)
			}
		case version == mcp.Modern && era != mcp.Modern, version == "" && era != "legacy":
			fail(-32600)
		default:
			s.serve(n, m, version, tell, reply, fail)
		}
	})
	s.ends[n-1] = f.done
	return f, nil
}

const playedCapabilities = `{"tools":{"listChanged":true},"resources":{"subscribe":true}}`

func metaOf(params []byte) mcp.Span {
	at, _ := mcp.Lookup(params, mcp.Span{End: len(params)}, "_meta")
	return at
}

func (s *played) cancelled(m heard, tell func(string, ...any)) {
	var p struct{ RequestID json.RawMessage }
	_ = json.Unmarshal(m.Params, &p)
	s.mu.Lock()
	open := s.listens[string(p.RequestID)]
	delete(s.listens, string(p.RequestID))
	s.mu.Unlock()
	if open {
		tell(`{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete"}}`, p.RequestID)
	}
}

// serve answers what both eras have, and what the process's own one has.
func (s *played) serve(n int, m heard, version string, tell func(string, ...any), reply func(string), fail func(int)) {
	var p struct {
		Name string
		URI  string
		Args struct{ Text string } `json:"arguments"`
	}
	_ = json.Unmarshal(m.Params, &p)
	text := func(t string) {
		q, _ := json.Marshal(t)
		reply(fmt.Sprintf(`{"content":[{"type":"text","text":%s}]}`, q))
	}
	switch m.Method {
	case "tools/list":
		reply(`{"tools":[{"name":"say"},{"name":"sql","inputSchema":{"properties":{"text":{"type":"string","x-mcp-header":"Text"}}}}]}`)
	case "resources/list", "resources/templates/list":
		fail(-32601)
	case "resources/subscribe", "resources/unsubscribe":
		s.note(n, m.Method+" "+p.URI)
		if !s.silent {
			reply(`{}`)
		}
	case "resources/read":
		fail(-32002)
	case "subscriptions/listen":
		s.mu.Lock()
		s.listens[string(m.ID)] = true
		s.mu.Unlock()
		tell(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s},"notifications":{}}}`, m.ID)
	case "tools/call":
		switch p.Name {
		case "wait":
		case "logs":
			for _, level := range []string{"debug", "error"} {
				tell(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":%q,"data":%q}}`, level, p.Args.Text)
			}
			text("logged")
		case "ask":
			go s.ask(n, p.Args.Text, tell, text)
		default:
			text(fmt.Sprintf("%d %s", n, m.Params))
		}
	default:
		fail(-32601)
	}
}

func (s *played) note(n int, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, fmt.Sprint(n, " ", what))
}

// ask asks the client each of the methods that text names, all at once, and says
// what came back.
func (s *played) ask(n int, methods string, tell func(string, ...any), text func(string)) {
	var waits []chan heard
	for i, method := range strings.Fields(methods) {
		id := fmt.Sprintf(`"q%d-%d"`, n, i)
		c := make(chan heard, 1)
		s.mu.Lock()
		s.answers[id] = c
		s.mu.Unlock()
		waits = append(waits, c)
		tell(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{"message":"m%d"}}`, id, method, i)
	}
	var out []string
	s.mu.Lock()
	end := s.ends[n-1]
	s.mu.Unlock()
	for _, c := range waits {
		select {
		case m := <-c:
			out = append(out, string(m.Result)+string(m.Error))
		case <-end:
			return
		}
	}
	text(strings.Join(out, "; "))
}

// told is what its processes heard that begins like this.
func (s *played) told(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.heard), func(h string) bool { return !strings.HasPrefix(h, prefix) })
}

// change has process n tell of a change, to each of its subscriptions if it has
// any.
func (s *played) change(n int, method, params string) {
	s.mu.Lock()
	tell, ids := s.tells[n-1], []string{}
	for id := range s.listens {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	if len(ids) == 0 {
		tell(`{"jsonrpc":"2.0","method":%q,"params":{%s}}`, method, params)
	}
	for _, id := range ids {
		tell(`{"jsonrpc":"2.0","method":%q,"params":{%s"_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}`, method, params+comma(params), id)
	}
}

func comma(params string) string {
	if params == "" {
		return ""
	}
	return ","
}

// modernBody is a modern request; more is further members of params, with a
// comma after each.
func modernBody(id, method, capabilities, more string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{%s"_meta":{%q:%q,%q:%s,%q:{"name":"c","version":"1"}}}}`,
		id, method, more, mcp.MetaVersion, mcp.Modern, mcp.MetaCapabilities, capabilities, mcp.MetaClient)
}

// modernRequestOf is that request over HTTP.
func modernRequestOf(ctx context.Context, body string, headers ...string) *http.Request {
	var m struct {
		Method string
		Params struct{ Name, URI string }
	}
	_ = json.Unmarshal([]byte(body), &m)
	r := httptest.NewRequestWithContext(ctx, "POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set(mcp.VersionHeader, mcp.Modern)
	r.Header.Set(mcp.MethodHeader, m.Method)
	if name := m.Params.Name + m.Params.URI; name != "" {
		r.Header.Set(mcp.NameHeader, name)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// modern sends a modern request and returns the answer.
func modern(t *testing.T, b *Bridge, method, more string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	b.ServeHTTP(w, modernRequestOf(t.Context(), modernBody(`"m"`, method, "{}", more), headers...))
	return w
}

// streamed is an answer that can be read while it comes.
type streamed struct {
	http.ResponseWriter
	lines  chan string
	cancel context.CancelFunc
	done   chan struct{}
}

// open sends a modern request whose answer is a stream.
func open(t *testing.T, b *Bridge, body string) *streamed {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	pr, pw := io.Pipe()
	s := &streamed{lines: make(chan string, 256), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		w := &pipeWriter{header: http.Header{}, w: pw}
		b.ServeHTTP(w, modernRequestOf(ctx, body))
		pw.Close()
	}()
	go func() {
		defer close(s.lines)
		r := bufio.NewReader(pr)
		for {
			line, err := r.ReadString('\n')
			if data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: "); ok {
				s.lines <- data
			} else if line = strings.TrimSpace(line); strings.HasPrefix(line, "{") {
				s.lines <- line
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(cancel)
	return s
}

type pipeWriter struct {
	header http.Header
	w      io.Writer
}

func (p *pipeWriter) Header() http.Header         { return p.header }
func (p *pipeWriter) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p *pipeWriter) WriteHeader(int)             {}
func (p *pipeWriter) Flush()                      {}
