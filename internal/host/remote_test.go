package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// TestRemote: both eras, and what the page and the API do, reach a remote server
// with the provider's token, and no task is started.
func TestRemote(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, farMCP())
	w, g, c := newRemote(t, f.URL+"/mcp")
	f.accept = func(token string) bool { return token == g.current() }
	tools, err := w.service.Tools(t.Context(), page("ada"), c.Key)
	if err != nil || len(tools) != 1 || tools[0].Name != "whoami" {
		t.Fatalf("%v %v", tools, err)
	}
	result, err := w.service.CallTool(t.Context(), page("ada"), c.Key, "whoami", []byte(`{"text":"x"}`))
	if err != nil || len(result.Content) != 1 {
		t.Errorf("%v %v", result, err)
	}
	if err := w.service.Ready(t.Context(), page("ada"), c.Key, time.Millisecond); err != nil {
		t.Errorf("it is always ready: %v", err)
	}
	resp, body, err := via(t, w.service, c, "POST", `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"whoami","arguments":{"text":"modern"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`,
		"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "whoami", "Lanyard-Client", "mct_1")
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(body, "far: modern") {
		t.Errorf("modern: %v %s", err, body)
	}
	all, err := w.store.Tasks(t.Context())
	if err != nil || len(all) != 0 {
		t.Errorf("tasks: %v %v", all, err)
	}
	if tokens, _, _ := g.counts(); tokens != 1 {
		t.Errorf("the token was asked for %d times, want once for all", tokens)
	}
}

// TestRemoteHeaders: the client's own affairs stay ours, and the server's its.
func TestRemoteHeaders(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("Set-Cookie", "a=b")
		rw.Header().Set("WWW-Authenticate", "Bearer")
		rw.Header().Set("Location", "https://else.example")
		rw.Header().Set("Access-Control-Allow-Origin", "*")
		fmt.Fprint(rw, `{"jsonrpc":"2.0","id":2,"result":{}}`)
	}))
	w, g, c := newRemote(t, f.URL+"/mcp?x=1")
	resp, _, err := via(t, w.service, c, "POST", callTool, append(opens("in"), "Authorization", "Bearer lyt_canary", "Cookie", "c=canary", "Origin", "https://o.example",
		"Referer", "https://r.example", "X-Forwarded-For", "10.0.0.1", "Mcp-Param-Region", "eu", "Last-Event-Id", "7", "Accept", "text/event-stream")...)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Header) != 1 || resp.Header.Get("Content-Type") == "" {
		t.Errorf("the client is told %v", resp.Header)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.headers[len(f.headers)-1]
	want := map[string]string{"Authorization": "Bearer " + g.current(), "Mcp-Param-Region": "eu", "Last-Event-Id": "7", "Accept": "text/event-stream", "User-Agent": "lanyard"}
	for name, value := range want {
		if last.Get(name) != value {
			t.Errorf("%s: %q", name, last.Get(name))
		}
	}
	for name := range last {
		if _, ok := want[name]; !ok && name != "Content-Length" && name != "Content-Type" && name != "Mcp-Protocol-Version" {
			t.Errorf("it is sent %s: %s", name, last.Get(name))
		}
	}
}

// TestRemoteSession: a client's session outlives this process, and the server's
// own; the client never notices.
func TestRemoteSession(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, farMCP())
	w, _, c := newRemote(t, f.URL+"/mcp")
	good := func(what string, s *host.Service) {
		t.Helper()
		resp, body, err := via(t, s, c, "POST", callTool, opens("inner-1")...)
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(body, "far: hello for ada's client") {
			t.Errorf("%s: %v %s", what, err, body)
		}
	}
	resp, body, err := via(t, w.service, c, "POST", initializeFar, opens("inner-1")...)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(body, `"far"`) || resp.Header.Get("Mcp-Session-Id") != "" {
		t.Fatalf("%v %v %s", err, resp, body)
	}
	good("first", w.service)
	good("second", w.service)
	if resp, _, err := via(t, w.service, c, "POST", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, opens("inner-1")...); err != nil || resp.StatusCode != http.StatusAccepted {
		t.Errorf("initialized: %v %v", resp, err)
	}
	if n, m := f.count(`"initialize"`), f.count("notifications/initialized"); n != 1 || m != 1 {
		t.Errorf("initialize came %d times, initialized %d times", n, m)
	}
	// Another process, which has never heard of the session.
	other := &host.Service{Store: w.store, Connections: w.store, Tokens: w.service.Tokens, Catalogue: w.service.Catalogue, AllowLoopback: true, Now: w.clock.now, Logger: w.service.Logger}
	good("elsewhere", other)
	good("elsewhere again", other)
	if n := f.count(`"initialize"`); n != 2 {
		t.Errorf("initialize came %d times, want once a process", n)
	}
	f.restart()
	good("after the server's own restart", w.service)
	// What is about a session that is not there is not sent.
	before := f.count("")
	for method, text := range map[string]string{"POST": `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`, "DELETE": ""} {
		if resp, _, err := via(t, w.service, c, method, text, opens("inner-2")...); err != nil || resp.StatusCode != http.StatusAccepted {
			t.Errorf("%s: %v %v", method, resp, err)
		}
	}
	if n := f.count(""); n != before {
		t.Errorf("%d requests were sent for a session that is not there", n-before)
	}
	if resp, _, err := via(t, w.service, c, "DELETE", "", opens("inner-1")...); err != nil || resp.StatusCode >= 400 && resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("the end: %v %v", resp, err)
	}
}

// TestRemoteSessionsApart: two clients of one connection have sessions of their
// own over there.
func TestRemoteSessionsApart(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, farMCP())
	w, _, c := newRemote(t, f.URL+"/mcp")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				resp, body, err := via(t, w.service, c, "POST", callTool, opens(fmt.Sprint("inner-", i%4))...)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%v %s", err, body)
				}
			}
		})
	}
	wg.Wait()
	if n := f.count(`"initialize"`); n != 4 {
		t.Errorf("%d sessions for 4 clients", n)
	}
	ids := map[string]bool{}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.headers {
		ids[h.Get("Mcp-Session-Id")] = true
	}
	if len(ids) != 5 { // and the one of initialize, which has none
		t.Errorf("ids %v", ids)
	}
}

// TestRemoteRenewal: calls go on while tokens are renewed, each of which ends the
// one before. None fails, and a token that ended on its way is followed by the
// current one.
func TestRemoteRenewal(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, farMCP())
	w, g, c := newRemote(t, f.URL+"/mcp")
	f.accept = func(token string) bool { return token == g.current() }
	var calls sync.WaitGroup
	var done atomic.Int32
	for i := range 4 {
		calls.Go(func() {
			for range 100 {
				resp, body, err := via(t, w.service, c, "POST", callTool, opens(fmt.Sprint("inner-", i))...)
				if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(body, "far: hello") {
					t.Errorf("%v %s", err, body)
				}
				if done.Add(1)%50 == 0 { // while the others are under way
					g.renew(t.Context(), c.Key)
				}
			}
		})
	}
	calls.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	t.Logf("%d requests, %d renewals, %d had a token that ended on its way", len(f.headers), g.n, f.refused)
	if f.refused > 4*g.n { // one for each caller
		t.Errorf("%d refusals for %d renewals", f.refused, g.n)
	}
}

// TestRemoteRefused: a server that accepts no token. The provider is asked about
// it once in a while, and the person is told; what the provider says counts.
func TestRemoteRefused(t *testing.T) {
	t.Parallel()
	f := newFar(t, func(string) bool { return false }, farMCP())
	w, g, c := newRemote(t, f.URL+"/mcp")
	for range 5 {
		_, _, err := via(t, w.service, c, "POST", callTool)
		wantErr(t, "refused", err, host.ErrRemote)
		if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "metadata") {
			t.Errorf("told %q", err)
		}
	}
	if _, checks, quiet := g.counts(); checks != 1 || quiet != 4 {
		t.Errorf("%d checks, %d quiet ones", checks, quiet)
	}
	w.clock.advance(time.Minute)
	_, _, _ = via(t, w.service, c, "POST", callTool)
	if _, checks, _ := g.counts(); checks != 2 {
		t.Errorf("%d checks", checks)
	}
	g.mu.Lock()
	g.broken = fmt.Errorf("%w: the person took it back", refresh.ErrReconnect)
	g.mu.Unlock()
	_, _, err := via(t, w.service, c, "POST", callTool)
	wantErr(t, "a dead grant", err, refresh.ErrReconnect)
}

// TestRemoteAnswers: what a remote server may say, and how its client hears it.
func TestRemoteAnswers(t *testing.T) {
	t.Parallel()
	const fault = `{"jsonrpc":"2.0","id":2,"error":{"code":-32022,"message":"no such version"}}`
	for name, test := range map[string]struct {
		status  int
		header  string
		body    string
		want    error
		said    string
		passes  int
		passing string
	}{
		"a fault in MCP's words":    {status: 400, header: "Content-Type: application/json", body: fault, passes: 400, passing: fault},
		"a missing scope":           {status: 403, header: `Www-Authenticate: Bearer error="insufficient_scope", scope="mail.read mail.send"`, want: host.ErrRemoteScope, said: "mail.read mail.send"},
		"a scope that is an attack": {status: 403, header: "Www-Authenticate: Bearer error=\"insufficient_scope\", scope=\"a\u202eb c\"", want: host.ErrRemoteScope, said: "granted: c"},
		"forbidden":                 {status: 403, body: "<html>canary", want: host.ErrRemote, said: "403"},
		"elsewhere":                 {status: 307, header: "Location: http://169.254.169.254/", want: host.ErrRemote, said: "elsewhere"},
		"out of order":              {status: 502, header: "Content-Type: text/html", body: "<html>canary", want: host.ErrRemote, said: "502"},
		"too many":                  {status: 429, want: host.ErrRemote, said: "fewer"},
		"no stream":                 {status: 405, passes: 405},
		"accepted":                  {status: 202, passes: 202},
		"an event stream":           {status: 200, header: "Content-Type: text/event-stream", body: "data: {}\n\n", passes: 200, passing: "data: {}\n\n"},
		"no JSON that is a message": {status: 400, header: "Content-Type: application/json", body: `{"canary":1}`, want: host.ErrRemote, said: "400"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFar(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				if k, v, ok := strings.Cut(test.header, ": "); ok {
					rw.Header()[k] = []string{v}
				}
				rw.WriteHeader(test.status)
				fmt.Fprint(rw, test.body)
			}))
			w, _, c := newRemote(t, f.URL+"/mcp")
			resp, body, err := via(t, w.service, c, "POST", callTool)
			if test.want != nil {
				wantErr(t, "the answer", err, test.want)
				if err == nil || !strings.Contains(err.Error(), test.said) || strings.Contains(err.Error(), "canary") {
					t.Errorf("said %v", err)
				}
				return
			}
			if err != nil || resp.StatusCode != test.passes || body != test.passing {
				t.Errorf("%v %v %q", err, resp, body)
			}
		})
	}
}

// TestRemoteStream: events pass as they come, and whoever leaves ends the request
// over there.
func TestRemoteStream(t *testing.T) {
	t.Parallel()
	left := make(chan struct{})
	f := newFar(t, nil, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(rw, "data: 1\n\n")
		rw.(http.Flusher).Flush()
		<-r.Context().Done()
		close(left)
	}))
	w, _, c := newRemote(t, f.URL+"/mcp")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, "POST", "https://task.invalid/mcp", strings.NewReader(callTool))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.service.Upstream(c).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 9)
	if n, err := resp.Body.Read(first); err != nil || string(first[:n]) != "data: 1\n\n" {
		t.Fatalf("%q %v", first[:n], err)
	}
	leave()
	select {
	case <-left:
	case <-time.After(time.Minute):
		t.Fatal("the request goes on over there")
	}
}

// TestRemoteGuard: addresses that are nobody's business, named in a preset or by
// what a person typed.
func TestRemoteGuard(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://169.254.169.254/latest", "https://169.254.169.254/mcp", "https://10.0.0.1/mcp", "https://[fd00::1]/mcp", "https://localhost/mcp", "http://127.0.0.1:1/mcp",
		"https://x.internal/mcp", "https://user@far.example/mcp", "http://far.example/mcp"} {
		w, _, c := newRemote(t, url)
		w.service.AllowLoopback = false
		_, _, err := via(t, w.service, c, "POST", callTool)
		wantErr(t, url, err, host.ErrRemote)
		if err != nil && strings.Contains(err.Error(), "169.254") {
			t.Errorf("told %v", err)
		}
	}
	// A host that a person chose a part of stays below the preset's domain.
	far := presets.Server{Name: "far", Server: presets.Program{Registry: presets.RegistryRemote, URL: "https://{shop}.far.example/mcp"},
		Parameters: map[string]presets.Parameter{"shop": {Label: "Shop", Pattern: "^.*$"}}}
	for _, typed := range []string{"attacker.example/", "attacker.example#", "attacker.example?", "u@attacker.example:1", "attacker.example\\", "%2f"} {
		u, err := far.Endpoint(presets.Inputs{User: map[string]string{"shop": typed}})
		if err == nil && !strings.HasSuffix(u.Hostname(), ".far.example") {
			t.Errorf("%q leads to %s", typed, u)
		}
	}
}

// TestRemoteGone: nobody is there, and nobody knows what became of it, are two
// things.
func TestRemoteGone(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	w, _, c := newRemote(t, f.URL+"/mcp")
	_, _, err := via(t, w.service, c, "POST", callTool)
	wantErr(t, "cut off", err, host.ErrLost)
	if n := f.count(""); n != 1 {
		t.Errorf("it was sent %d times", n)
	}
	f.Close()
	_, _, err = via(t, w.service, c, "POST", callTool)
	wantErr(t, "nobody there", err, host.ErrRemote)
}

// TestRelay: a process without a way out has another do it, with the same
// answers and the same errors.
func TestRelay(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, farMCP())
	w, g, c := newRemote(t, f.URL+"/mcp")
	var mu sync.Mutex
	var crossed strings.Builder
	inside := &host.Service{Store: w.store, Connections: w.store, Catalogue: w.service.Catalogue, Now: w.clock.now, Logger: w.service.Logger,
		Relay: func(ctx context.Context, call []byte) ([]byte, error) {
			answer, err := w.service.ServeRelayed(ctx, call)
			mu.Lock()
			defer mu.Unlock()
			for _, way := range [][]byte{call, answer} {
				var m struct{ Body []byte }
				if err := json.Unmarshal(way, &m); err != nil {
					t.Error(err)
				}
				crossed.Write(way)
				crossed.Write(m.Body)
			}
			return answer, err
		}}
	resp, body, err := via(t, inside, c, "POST", callTool, opens("inner-1")...)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(body, "far: hello for ada's client") {
		t.Errorf("%v %s", err, body)
	}
	tools, err := inside.Tools(t.Context(), page("ada"), c.Key)
	if err != nil || len(tools) != 1 {
		t.Errorf("%v %v", tools, err)
	}
	mu.Lock()
	if !strings.Contains(crossed.String(), "whoami") || strings.Contains(crossed.String(), "canary") {
		t.Errorf("what has crossed: %s", crossed.String())
	}
	mu.Unlock()
	_, _, err = via(t, inside, c, "POST", `{"x":"`+strings.Repeat("x", 5<<20)+`"}`)
	wantErr(t, "too large", err, host.ErrRemote)
	for _, want := range []error{refresh.ErrReconnect, refresh.ErrBusy, vault.ErrAudit} {
		g.mu.Lock()
		g.broken = fmt.Errorf("%w: why", want)
		g.mu.Unlock()
		g.renew(t.Context(), c.Key)
		_, _, err := via(t, inside, c, "POST", callTool)
		wantErr(t, "on the way", err, want)
	}
	// It serves remote servers alone, and whoever may use the connection.
	for _, call := range []string{`{"connection":{"tenant":"default","id":"con_none"},"method":"POST"}`,
		fmt.Sprintf(`{"connection":{"tenant":"default","id":%q},"method":"POST"}`, w.connect("ada", "notes").ID), `{"connection":{"tenant":"other","id":"` + c.ID + `"}}`} {
		out, err := w.service.ServeRelayed(t.Context(), []byte(call))
		if err != nil || !strings.Contains(string(out), `"error"`) {
			t.Errorf("%s: %s %v", call, out, err)
		}
	}
	if _, err := w.service.ServeRelayed(t.Context(), []byte("canary")); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}

// TestRemoteSessionOfBefore: a connection that was made anew, with another account or
// for elsewhere, has no session of before at its server.
func TestRemoteSessionOfBefore(t *testing.T) {
	t.Parallel()
	f := newFar(t, nil, farMCP())
	w, _, c := newRemote(t, f.URL+"/mcp")
	call := func() {
		t.Helper()
		if resp, body, err := via(t, w.service, c, "POST", callTool, opens("inner-1")...); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v %s", err, body)
		}
	}
	call()
	call()
	f.mu.Lock()
	before := f.headers[len(f.headers)-1].Get("Mcp-Session-Id")
	from := len(f.headers)
	f.mu.Unlock()
	if _, err := w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error {
		c.ConnectedAt = w.clock.now().Add(time.Second)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	call()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.headers[from:] {
		if id := h.Get("Mcp-Session-Id"); before == "" || id == before {
			t.Errorf("it is asked in the session %q of before, %q", id, before)
		}
	}
}
