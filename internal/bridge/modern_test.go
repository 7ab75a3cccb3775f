package bridge

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// A modern client gets by with any server; a legacy client with all but a modern
// one, which it is told.
func TestEras(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		server *played
		// starts is how many processes both clients take, if the modern one comes
		// first and if it comes second; asked is how often server/discover is sent.
		starts    [2]int
		asked     int
		untouched bool
		legacy    bool
	}{
		"legacy": {&played{legacy: true}, [2]int{1, 2}, 1, false, true},
		"silent": {&played{legacy: true, silent: true}, [2]int{1, 2}, 1, false, true},
		"both":   {&played{legacy: true, modern: true}, [2]int{3, 3}, 2, true, true}, // the one that was asked has no other use
		"modern": {&played{modern: true}, [2]int{2, 2}, 2, true, false},
	} {
		for order := range 2 {
			synctest.Test(t, func(t *testing.T) {
				tc.server.starts, tc.server.heard, tc.server.tells, tc.server.ends = 0, nil, nil, nil
				var reports []error
				b := New(Config{Start: tc.server.start, Started: func(err error) { reports = append(reports, err) }})
				defer b.Close()
				if err := b.Warm(t.Context()); err != nil {
					t.Errorf("%s: warm: %v", name, err)
				}
				legacy := func() {
					w := roundTrip(b, "", hello)
					if !tc.legacy {
						if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"supported":["2026-07-28"]`) || !strings.Contains(w.Body.String(), "-32022") {
							t.Errorf("%s: a legacy client: %d %s", name, w.Code, w.Body)
						}
						return
					}
					session := w.Header().Get(mcp.SessionHeader)
					if got := textOf(t, roundTrip(b, session, toolCall("1", "say", "")).Body.String()); !strings.HasSuffix(got, `{"name":"say","arguments":{}}`) {
						t.Errorf("%s: a legacy client: %s", name, got)
					}
				}
				if order == 1 {
					legacy()
				}
				w := modern(t, b, "tools/call", `"name":"say","arguments":{"a":1},`)
				got := textOf(t, w.Body.String())
				if untouched := strings.Contains(got, mcp.MetaVersion); w.Code != http.StatusOK || untouched != tc.untouched || !strings.Contains(got, `"arguments":{"a":1}`) {
					t.Errorf("%s: a modern client: %d %s", name, w.Code, w.Body)
				}
				if !tc.untouched && !strings.Contains(w.Body.String(), `"resultType":"complete"`) {
					t.Errorf("%s: not translated: %s", name, w.Body)
				}
				legacy()
				modern(t, b, "tools/list", "")
				synctest.Wait()
				if tc.server.starts != tc.starts[order] {
					t.Errorf("%s: %d processes, want %d: %q", name, tc.server.starts, tc.starts[order], tc.server.heard)
				}
				if len(reports) == 0 || slices.ContainsFunc(reports, func(err error) bool { return err != nil }) {
					t.Errorf("%s: reported %v", name, reports)
				}
				if n := strings.Count(strings.Join(tc.server.told(""), "\n"), "server/discover"); n != tc.asked {
					t.Errorf("%s: asked %d times", name, n)
				}
			})
		}
	}
}

// A server that takes its time to start is not taken for one that does not know
// the modern era.
func TestEraOfASlowServer(t *testing.T) {
	t.Parallel()
	for _, perClient := range []bool{false, true} {
		for _, server := range []*played{{legacy: true, modern: true}, {modern: true}} {
			synctest.Test(t, func(t *testing.T) {
				server.ends, server.tells, server.starts = nil, nil, 0
				b := New(Config{PerClient: perClient, Start: func(ctx context.Context) (Child, error) {
					c, err := server.start(ctx)
					if err == nil {
						c.(*fake).out = slowly(c.(*fake).out, 20*time.Second)
					}
					return c, err
				}})
				defer b.Close()
				if w := modern(t, b, "tools/call", `"name":"say",`); !strings.Contains(w.Body.String(), mcp.MetaClient) {
					t.Errorf("legacy %v, each %v: %s", server.legacy, perClient, w.Body)
				}
			})
		}
	}
}

// Who has a server asked for the modern era and leaves, leaves no process behind
// that takes the legacy clients after it for modern ones.
func TestEraIsAskedToTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &played{legacy: true, modern: true, slow: 2 * time.Second}
		b := New(Config{Start: server.start})
		defer b.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b.ServeHTTP(httptest.NewRecorder(), modernRequestOf(ctx, modernBody("1", "tools/list", "{}", "")))
		session := roundTrip(b, "", hello).Header().Get(mcp.SessionHeader)
		if w := roundTrip(b, session, toolCall("1", "say", "")); !strings.Contains(w.Body.String(), "content") {
			t.Errorf("%s", w.Body)
		}
		if e := b.eras.get(); e != eraBoth {
			t.Errorf("era %d", e)
		}
	})
}

// A bridge that is closed starts nothing.
func TestClosedBridgeStartsNothing(t *testing.T) {
	t.Parallel()
	for _, perClient := range []bool{false, true} {
		var s starts
		b := New(Config{Start: s.start, PerClient: perClient})
		b.Close()
		w := modern(t, b, "tools/list", "")
		if n := s.n.Load(); n != 0 || !strings.Contains(w.Body.String(), errClosed.Error()) {
			t.Errorf("each %v: %d servers: %s", perClient, n, w.Body)
		}
	}
}

// Legacy callers do not notice that the server is asked for the modern era, which
// this one takes for the end of theirs.
func TestEraUnderLoad(t *testing.T) {
	t.Parallel()
	for range 10 {
		server := &played{legacy: true, modern: true}
		b := New(Config{Start: server.start})
		session := roundTrip(b, "", hello).Header().Get(mcp.SessionHeader)
		var stop atomic.Bool
		var calls atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for !stop.Load() {
					if w := roundTrip(b, session, toolCall("1", "say", "")); !strings.Contains(w.Body.String(), "content") {
						t.Errorf("dropped: %s", w.Body)
						return
					}
					calls.Add(1)
				}
			})
		}
		eventually(t, "calls go on", func() bool { return calls.Load() > 10 })
		for range 3 {
			wg.Go(func() {
				if w := modern(t, b, "tools/list", ""); !strings.Contains(w.Body.String(), "sql") {
					t.Errorf("%s", w.Body)
				}
			})
		}
		before := calls.Load()
		eventually(t, "calls go on", func() bool { return calls.Load() > before+100 || t.Failed() })
		stop.Store(true)
		wg.Wait()
		b.Close()
		if a, b := len(server.told("1 server/discover")), len(server.told("2 server/discover")); a != 0 || b != 1 {
			t.Errorf("the process in use was asked %d times, another %d times", a, b)
		}
	}
}

// A server whose initialize fails once its eras are known has not become one of
// the modern era alone.
func TestEraStays(t *testing.T) {
	t.Parallel()
	server := &played{legacy: true, modern: true}
	b := New(Config{Start: server.start})
	t.Cleanup(b.Close)
	modern(t, b, "tools/list", "")
	eventually(t, "the process that was asked is gone", func() bool { return len(b.shared.processes()) == 0 })
	server.mu.Lock()
	server.legacy = false // its credentials are no good any more, say
	server.mu.Unlock()
	if w := roundTrip(b, "", hello); !strings.Contains(w.Body.String(), "refused to initialize") {
		t.Errorf("%s", w.Body)
	}
	if b.eras.get() != eraBoth {
		t.Errorf("era %d", b.eras.get())
	}
}

// A server that does not start is no legacy server: it is asked again.
func TestEraOfABrokenServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		server := &played{modern: true}
		b := New(Config{Start: func(ctx context.Context) (Child, error) {
			if broken.Load() {
				return nil, errors.New("no such program")
			}
			return server.start(ctx)
		}})
		defer b.Close()
		if w := modern(t, b, "tools/list", ""); !strings.Contains(w.Body.String(), "no such program") || !strings.Contains(w.Body.String(), "-32603") {
			t.Errorf("%s", w.Body)
		}
		broken.Store(false)
		time.Sleep(time.Minute)
		if w := modern(t, b, "tools/list", ""); !strings.Contains(w.Body.String(), `"sql"`) {
			t.Errorf("%s", w.Body)
		}
	})
}

func TestModernTransport(t *testing.T) {
	t.Parallel()
	for _, server := range []*played{{legacy: true}, {legacy: true, modern: true}} {
		b := New(Config{Start: server.start})
		t.Cleanup(b.Close)
		post := func(body string, headers ...string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			b.ServeHTTP(w, modernRequestOf(t.Context(), body, headers...))
			return w
		}
		list := modernBody("1", "tools/list", "{}", "")
		for name, tc := range map[string]struct {
			w      *httptest.ResponseRecorder
			status int
			want   string
		}{
			"list":             {post(list), 200, `"tools"`},
			"a session":        {post(list, mcp.SessionHeader, "no", "Last-Event-ID", "7"), 200, `"tools"`},
			"no header":        {post(list, mcp.VersionHeader, ""), 400, "-32020"},
			"wrong method":     {post(list, mcp.MethodHeader, "ping"), 400, "-32020"},
			"unknown version":  {post(strings.Replace(list, mcp.Modern, "2030-01-01", 1), mcp.VersionHeader, "2030-01-01"), 400, `"supported":["2026-07-28","2025-11-25"`},
			"no capabilities":  {post(strings.Replace(list, "clientCapabilities", "x", 1)), 400, "-32602"},
			"unknown method":   {post(modernBody("1", "tools/none", "{}", "")), 404, "-32601"},
			"removed method":   {post(modernBody("1", "ping", "{}", "")), 404, "-32601"},
			"initialize":       {post(modernBody("1", "initialize", "{}", "")), 404, "-32601"},
			"a notification":   {post(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"_meta":{"` + mcp.MetaVersion + `":"2026-07-28"}}}`), 202, ""},
			"a response":       {post(`{"jsonrpc":"2.0","id":1,"result":{"_meta":{}}}`), 400, "-32020"},
			"its argument":     {post(modernBody("1", "tools/call", "{}", `"name":"sql","arguments":{"text":"a"},`), "Mcp-Param-Text", "a"), 200, "content"},
			"another argument": {post(modernBody("1", "tools/call", "{}", `"name":"sql","arguments":{"text":"a"},`), "Mcp-Param-Text", "b"), 400, "-32020"},
			"no argument":      {post(modernBody("1", "tools/call", "{}", `"name":"sql","arguments":{"text":"a"},`)), 400, "-32020"},
		} {
			if tc.w.Code != tc.status || !strings.Contains(tc.w.Body.String(), tc.want) || tc.w.Header().Get(mcp.SessionHeader) != "" {
				t.Errorf("modern %v, %s: %d %s", server.modern, name, tc.w.Code, tc.w.Body)
			}
		}
		for _, method := range []string{"GET", "DELETE"} {
			r := httptest.NewRequest(method, "/", nil)
			r.Header.Set(mcp.VersionHeader, mcp.Modern)
			w := httptest.NewRecorder()
			if b.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s: %d", method, w.Code)
			}
		}
		if len(b.sessions) != 0 {
			t.Errorf("%d sessions", len(b.sessions))
		}
	}
}

// What a legacy server answers is told in the modern era's terms.
func TestTranslated(t *testing.T) {
	t.Parallel()
	b := New(Config{Start: (&played{legacy: true}).start})
	defer b.Close()
	for _, tc := range []struct{ method, more, want string }{
		{"tools/list", "", `{"jsonrpc":"2.0","id":"m","result":{"resultType":"complete","ttlMs":60000,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"played","version":"1"}},"tools":[`},
		{"resources/read", `"uri":"x://y",`, `{"jsonrpc":"2.0","id":"m","error":{"code":-32602,"message":"no"}}`},
		{"server/discover", "", `"supportedVersions":["2026-07-28",`},
		{"server/discover", "", `"capabilities":` + playedCapabilities},
		{"tools/call", `"name":"say","inputResponses":{},"requestState":"s",`, `1 {\"name\":\"say\",\"_meta\":{}}`},
	} {
		if got := modern(t, b, tc.method, tc.more).Body.String(); !strings.Contains(got, tc.want) {
			t.Errorf("%s: %s", tc.method, got)
		}
	}
}

// A client that closes its stream cancels its request, and no other.
func TestModernCancellation(t *testing.T) {
	t.Parallel()
	for _, server := range []*played{{legacy: true}, {legacy: true, modern: true}} {
		b := New(Config{Start: server.start, StreamAfter: time.Millisecond})
		t.Cleanup(b.Close)
		wait := modernBody("1", "tools/call", "{}", `"name":"wait","arguments":{},`)
		one, two := open(t, b, wait), open(t, b, wait)
		pending := func(n int) func() bool {
			return func() bool {
				calls := 0
				for _, k := range []*backend{b.shared, b.modern} {
					for _, p := range k.processes() {
						p.mu.Lock()
						for _, c := range p.pending {
							if c.session != nil { // else it is the bridge's own
								calls++
							}
						}
						p.mu.Unlock()
					}
				}
				return calls == n
			}
		}
		eventually(t, "both wait", pending(2))
		one.cancel()
		<-one.done
		eventually(t, "one waits", pending(1))
		eventually(t, "the server is told", func() bool {
			return len(server.told("1 notifications/cancelled"))+len(server.told("2 notifications/cancelled")) == 1
		})
		two.cancel()
		<-two.done
	}
}

// A log message reaches the call that asked for logs, from its level on, and
// nobody when it may be of either of two.
func TestModernLogs(t *testing.T) {
	t.Parallel()
	for _, server := range []*played{{legacy: true}, {legacy: true, modern: true}} {
		b := New(Config{Start: server.start})
		t.Cleanup(b.Close)
		logs := func(level string) string {
			body := modernBody("1", "tools/call", "{}", `"name":"logs","arguments":{"text":"x"},`)
			if level != "" {
				body = strings.Replace(body, `"_meta":{`, `"_meta":{"`+mcp.MetaLevel+`":"`+level+`",`, 1)
			}
			w := httptest.NewRecorder()
			b.ServeHTTP(w, modernRequestOf(t.Context(), body))
			return w.Body.String()
		}
		for level, want := range map[string]int{"": 0, "debug": 2, "warning": 1, "emergency": 0, "loud": 0} {
			if got := strings.Count(logs(level), "notifications/message"); got != want {
				t.Errorf("modern %v, level %q: %d messages", server.modern, level, got)
			}
		}
		other := open(t, b, strings.Replace(modernBody("1", "tools/call", "{}", `"name":"wait","arguments":{},`), `"_meta":{`, `"_meta":{"`+mcp.MetaLevel+`":"debug",`, 1))
		eventually(t, "another waits", func() bool {
			return slices.ContainsFunc(append(b.shared.processes(), b.modern.processes()...), func(p *process) bool {
				return p.find(func(c *call) bool { return c.level > 0 }) != nil
			})
		})
		if got := logs("debug"); strings.Contains(got, "notifications/message") {
			t.Errorf("modern %v: %s", server.modern, got)
		}
		other.cancel()
		<-other.done
	}
}

// Modern callers, too, never notice that the server is swapped under them.
func TestModernSwap(t *testing.T) {
	t.Parallel()
	for _, server := range []*played{{legacy: true}, {legacy: true, modern: true}, {modern: true}} {
		b := New(Config{Start: server.start})
		t.Cleanup(b.Close)
		var stop atomic.Bool
		var calls atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for !stop.Load() {
					if w := modern(t, b, "tools/call", `"name":"say",`); !strings.Contains(w.Body.String(), "content") {
						t.Errorf("dropped: %s", w.Body)
						return
					}
					calls.Add(1)
				}
			})
		}
		for n := range 4 {
			before := calls.Load()
			eventually(t, "calls go on", func() bool { return calls.Load() > before+10 || t.Failed() })
			if err := b.Swap(t.Context(), server.start, n%2 == 0); err != nil {
				t.Error(err)
			}
		}
		stop.Store(true)
		wg.Wait()
	}
}

// A modern call is repeated as a legacy one is, by the same rules.
func TestModernAgain(t *testing.T) {
	t.Parallel()
	o := &oracle{say: always, note: "Connect again."}
	b := New(Config{Start: new(starts).start, Begin: o.begin})
	defer b.Close()
	for name, want := range map[string]string{"try": "1: try 2", "writes": "Connect again."} {
		w := modern(t, b, "tools/call", `"name":"`+name+`","arguments":{"text":"`+name+`","n":1},`)
		if !strings.Contains(w.Body.String(), want) || !strings.Contains(w.Body.String(), `"resultType":"complete"`) {
			t.Errorf("%s: %s", name, w.Body)
		}
	}
}
