package bridge

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

func TestPerClientAsksOnTheListeningStream(t *testing.T) {
	t.Parallel()
	var s starts
	_, connect := serving(t, Config{Start: s.start, PerClient: true})
	one, two := connect(), connect()
	if got := textOf(t, two.tool("1", "hello", "")); got != `2025-06-18 {"elicitation":{}}` {
		t.Errorf("the server was told %q", got)
	}
	if n := s.n.Load(); n != 2 {
		t.Fatalf("%d servers for two clients", n)
	}
	stream := one.listen(t.Context())
	other := two.listen(t.Context())
	done := make(chan string, 1)
	go func() { done <- one.tool("1", "ask", `{"text":"elicitation/create"}`) }()
	if got := receive(t, stream); !strings.Contains(got, `"method":"elicitation/create"`) || !strings.Contains(got, `"id":"ask-1"`) {
		t.Fatalf("%s", got)
	}
	// Another client cannot answer for it.
	two.post(t.Context(), `{"jsonrpc":"2.0","id":"ask-1","result":{"action":"stolen"}}`)
	one.post(t.Context(), `{"jsonrpc":"2.0","id":"ask-1","result":{"action":"accept"}}`)
	if got := textOf(t, receive(t, done)); got != `{"action":"accept"}` {
		t.Errorf("%s", got)
	}
	select {
	case got := <-other:
		t.Errorf("the other client saw %s", got)
	default:
	}
}

func TestPerClientAsksBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	_, connect := serving(t, Config{Start: new(starts).start, PerClient: true})
	c := connect()
	resp, err := c.request(t.Context(), "POST", toolCall("1", "ask", `{"text":"sampling/createMessage"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for line := ""; !strings.Contains(line, "sampling/createMessage"); {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	c.post(t.Context(), `{"jsonrpc":"2.0","id":"ask-1","result":{"ok":1}}`)
	rest, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(rest), `{\"ok\":1}`) {
		t.Errorf("%s %v", rest, err)
	}
}

// What a server has asked and cancelled counts no more: clients do not answer it.
func TestCancelledRequestsAreForgotten(t *testing.T) {
	t.Parallel()
	n := 0
	b := New(Config{PerClient: true, Start: func(context.Context) (Child, error) {
		return play(func(m heard, tell func(string, ...any)) {
			switch m.Method {
			case "initialize":
				tell(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}`, m.ID)
			case "tools/call":
				n++
				tell(`{"jsonrpc":"2.0","id":"q%d","method":"roots/list"}`, n)
				tell(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q%d"}}`, n)
				tell(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, m.ID)
			}
		}), nil
	}})
	t.Cleanup(b.Close)
	session := roundTrip(b, "", hello).Header().Get(mcp.SessionHeader)
	for i := range maxAsked + 1 {
		r := httptest.NewRequest("POST", "/", strings.NewReader(toolCall("1", "x", "")))
		r.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"text/event-stream"}, mcp.SessionHeader: {session}}
		w := httptest.NewRecorder()
		if b.ServeHTTP(w, r); strings.Count(w.Body.String(), "data: ") != 3 || !strings.Contains(w.Body.String(), "roots/list") {
			t.Fatalf("call %d: %s", i+1, w.Body)
		}
	}
}

func TestPerClientServersEndWithTheirSession(t *testing.T) {
	t.Parallel()
	var s starts
	_, connect := serving(t, Config{Start: s.start, PerClient: true})
	c := connect()
	child := s.newest()
	resp, err := c.request(t.Context(), http.MethodDelete, "")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	select {
	case <-child.done:
	case <-time.After(30 * time.Second):
		t.Error("its server runs on")
	}
}

// in-process request, for tests under a fake clock.
func roundTrip(b *Bridge, session, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(mcp.SessionHeader, session)
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

const hello = `{"id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}`

func TestIdleSessionsAreDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s starts
		b := New(Config{Start: s.start, PerClient: true})
		defer b.Close()
		used := roundTrip(b, "", hello).Header().Get(mcp.SessionHeader)
		idle := roundTrip(b, "", hello).Header().Get(mcp.SessionHeader)
		child := s.newest()
		for range 5 {
			time.Sleep(10 * time.Minute)
			if w := roundTrip(b, used, toolCall("1", "echo", "")); w.Code != http.StatusOK {
				t.Fatalf("the session in use: %d", w.Code)
			}
		}
		if w := roundTrip(b, idle, toolCall("1", "echo", "")); w.Code != http.StatusNotFound {
			t.Errorf("the idle session: %d", w.Code)
		}
		<-child.done
	})
}

// A server that cannot start is not hammered: calls wait out a few quick
// deaths, then they are told at once, and later it is tried again.
func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries, broken := 0, true
		b := New(Config{Start: func(context.Context) (Child, error) {
			if tries++; broken {
				return nil, errors.New("no such program")
			}
			return newFake("1"), nil
		}})
		defer b.Close()
		began := time.Now()
		for range 4 {
			if w := roundTrip(b, "", hello); !strings.Contains(w.Body.String(), "no such program") {
				t.Errorf("%s", w.Body)
			}
		}
		if waited := time.Since(began); tries != 4 || waited != (250+500+1000)*time.Millisecond {
			t.Errorf("%d tries in %s", tries, waited)
		}
		for range 100 {
			if w := roundTrip(b, "", hello); !strings.Contains(w.Body.String(), "keeps failing, the next start is in 2s: start the MCP server: no such program") {
				t.Fatalf("%s", w.Body)
			}
		}
		if tries != 4 {
			t.Errorf("%d tries", tries)
		}
		broken = false
		time.Sleep(2 * time.Second)
		if w := roundTrip(b, "", hello); w.Header().Get(mcp.SessionHeader) == "" {
			t.Errorf("after the cause is gone: %s", w.Body)
		}
	})
}
