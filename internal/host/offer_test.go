package host_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/presets"
)

// ofModern is a request of the modern era.
func ofModern(id int, method string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`, id, method)
}

// TestAnsweredWithoutATask: what is known of a server is said in both eras while
// nothing runs, also where the connection cannot be used.
func TestAnsweredWithoutATask(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t, knownServer("notes", `{"tools":{"listChanged":true}}`))
	w.service.OnlyForCalls = true
	c := w.connect("ada", "notes")
	m := w.mint(c)
	for _, status := range []connection.Status{connection.Connected, connection.ReconnectNeeded} {
		w.with(c, status)
		id := w.initialized(m)
		for request, want := range map[string]string{
			list:                           `{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"known"}]}}`,
			ofModern(3, "tools/list"):      `{"jsonrpc":"2.0","id":3,"result":{"resultType":"complete","tools":[{"name":"known"}],"ttlMs":60000,"cacheScope":"private"}}`,
			ofModern(4, "server/discover"): `"supportedVersions":["2026-07-28"`,
			`{"jsonrpc":"2.0","id":5,"method":"prompts/list"}`: `{"jsonrpc":"2.0","id":5,"error":{"code":-32601`,
			ofModern(6, "resources/templates/list"):            `{"jsonrpc":"2.0","id":6,"error":{"code":-32601`,
		} {
			resp, body := w.post(m, request, mcp.SessionHeader, id)
			if !strings.Contains(body, want) || (resp.StatusCode == http.StatusOK) != !strings.HasPrefix(request, ofModern(6, "resources")[:30]) {
				t.Errorf("%s, %s: %s %s", status, request, resp.Status, body)
			}
		}
		if len(o.started) > 0 {
			t.Fatal("a task was started")
		}
	}
	resp, body := w.post(m, call)
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `"id":7,"result"`) || !strings.Contains(body, `"isError":true`) || !strings.Contains(body, "cannot be used") || len(o.started) > 0 {
		t.Errorf("a call of a connection that needs its person: %s %s", resp.Status, body)
	}
}

// TestStartedAhead: a client that begins or lists has the server started, once,
// and one that failed is not started again and again.
func TestStartedAhead(t *testing.T) {
	t.Parallel()
	for _, request := range []string{initialize, ofModern(1, "server/discover"), ofModern(1, "tools/list")} {
		w, o := newOrders(t, knownServer("notes", `{"tools":{}}`))
		c := w.connect("ada", "notes")
		m := w.mint(c)
		w.with(c, connection.ReconnectNeeded)
		if resp, body := w.post(m, request); resp.StatusCode != http.StatusOK || len(o.started) > 0 {
			t.Errorf("a connection that needs its person: %s %s, %d starts", resp.Status, body, len(o.started))
		}
		w.with(c, connection.Connected)
		resp, body := w.post(m, request)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s", resp.Status, body)
		}
		s := o.next(t)
		w.post(m, request)
		if err := w.service.Report(t.Context(), s.Identity, task.Report{TaskID: s.TaskID, State: task.Failed, Detail: "it broke"}); err != nil {
			t.Fatal(err)
		}
		w.clock.advance(1e12)
		w.post(m, request)
		w.post(m, ofModern(2, "tools/list"))
		if len(o.started) > 0 {
			t.Errorf("%s: started %d times more", request, len(o.started))
		}
		ctx, leave := context.WithCancel(t.Context())
		gone := make(chan bool)
		go func() {
			defer close(gone)
			if resp, err := w.send(ctx, http.MethodPost, m, call); err == nil {
				resp.Body.Close()
			}
		}()
		o.next(t) // what needs it has it started
		leave()
		<-gone
	}
}

// held is a platform on which starting a task takes until the test says so.
type held struct{ begun, proceed chan bool }

func (h held) Launch(context.Context, host.Start) error { h.begun <- true; <-h.proceed; return nil }
func (h held) Stop(context.Context, string) error       { return nil }

// TestAnsweredBeforeTheStart: where a request does all by itself, its answer is
// with the client before the start of a task is waited for, if the client can
// take it so.
func TestAnsweredBeforeTheStart(t *testing.T) {
	t.Parallel()
	h := held{make(chan bool), make(chan bool)}
	w := newWorld(t, h, knownServer("notes", `{"tools":{}}`))
	w.service.Inline = true
	resp, err := w.send(t.Context(), http.MethodPost, w.mint(w.connect("ada", "notes")), initialize)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-h.begun
	want := "event: message\ndata: " + `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"known","version":"1"}}}` + "\n\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want || resp.Header.Get(mcp.SessionHeader) == "" {
		t.Fatalf("%s, %v", got, err)
	}
	h.proceed <- true
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}

	answered := make(chan string, 1)
	go func() {
		_, body, _ := w.tryPost(w.mint(w.connect("ada", "notes")), initialize, "Accept", "application/json")
		answered <- body
	}()
	<-h.begun
	if len(answered) > 0 {
		t.Error("JSON was answered before the start, after which the process stands still")
	}
	h.proceed <- true
	if body := <-answered; !json.Valid([]byte(body)) {
		t.Error(body)
	}
}

// says is a puppet whose server lists one tool of that name.
func says(t *testing.T, name string) *puppet {
	return newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m, err := mcp.Parse(body)
		if err != nil {
			rw.WriteHeader(http.StatusAccepted)
			return
		}
		_, _ = rw.Write(mcp.Reply(m.Bytes(m.ID), fmt.Appendf(nil, `{"tools":[{"name":%q}]}`, name)))
	})
}

// tools are what a modern client sees.
func (w *world) tools(m host.Minted) string {
	w.t.Helper()
	resp, body := w.post(m, ofModern(9, "tools/list"))
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%s %s", resp.Status, body)
	}
	return body
}

// reported has the task's server say what it lists.
func (w *world) reported(s host.Start, tools string) {
	w.t.Helper()
	known := mcp.Catalogue{Initialized: json.RawMessage(`{"capabilities":{"tools":{},"resources":{}}}`), Tools: json.RawMessage(tools), Resources: json.RawMessage(`[{"name":"canary-file"}]`)}
	if err := w.service.Report(w.t.Context(), s.Identity, task.Report{TaskID: s.TaskID, State: task.Ready, Catalogue: &known}); err != nil {
		w.t.Fatal(err)
	}
}

// elsewhere is another process with the same store.
func (w *world) elsewhere(servers ...presets.Server) *world {
	o := newWorld(w.t, held{}, servers...)
	o.store, o.clock = w.store, w.clock
	s := o.service
	s.Store, s.Connections, s.Catalogues, s.Now, s.OnlyForCalls = w.store, w.store, w.store, w.clock.now, true
	return o
}

// TestWhatAServerSays: a server that runs is asked itself; what it said is known
// when it runs no more, to every process, until the connection is granted anew,
// disconnected, or of another program.
func TestWhatAServerSays(t *testing.T) {
	t.Parallel()
	known := knownServer("notes", `{"tools":{}}`)
	w, o := newOrders(t, known)
	w.service.OnlyForCalls = true
	c := w.connect("ada", "notes")
	m := w.mint(c)
	before := w.elsewhere(known)
	if !strings.Contains(before.tools(m), `"known"`) {
		t.Error("nothing is known before it ran")
	}
	p, s := says(t, "live"), w.begin(o, c)
	p.play(w, s)
	if got := w.tools(m); !strings.Contains(got, `"live"`) {
		t.Errorf("of a server that runs: %s", got)
	}
	w.reported(s, ` [ {"name":"reported"} ] `)
	p.Close()
	if got := w.tools(m); !strings.Contains(got, `{"name":"reported"}]`) {
		t.Errorf("of one that does not answer: %s", got)
	}
	if err := w.store.EndTask(t.Context(), s.TaskID); err != nil {
		t.Fatal(err)
	}
	after := w.elsewhere(known)
	if got := after.tools(m); !strings.Contains(got, `"reported"`) {
		t.Errorf("of one that runs no more: %s", got)
	}
	w.clock.advance(2 * mcp.ListTTL * 1e6)
	if got := before.tools(m); !strings.Contains(got, `"reported"`) {
		t.Errorf("to a process that knew it before: %s", got)
	}
	packed, err := w.store.Catalogue(t.Context(), c.Key)
	if err != nil || len(packed) == 0 || bytes.Contains(packed, []byte("canary-file")) {
		t.Errorf("stored: %q, %v", packed, err)
	}
	newer := known
	newer.Server.Version = "2.0.0"
	if got := w.elsewhere(newer).tools(m); !strings.Contains(got, `"known"`) {
		t.Errorf("of another version: %s", got)
	}
	if _, err := w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error {
		c.ConnectedAt = w.clock.now()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := after.tools(m); !strings.Contains(got, `"known"`) {
		t.Errorf("of a connection that was granted anew: %s", got)
	}
	w.service.Disconnected(t.Context(), c.Key)
	_, err = w.store.Catalogue(t.Context(), c.Key)
	wantErr(t, "after the disconnect", err, host.ErrNoCatalogue)
}

// TestLargeLists: a megabyte of tools is kept and answered; what the store does
// not take is said once, and the preset's catalogue answers elsewhere.
func TestLargeLists(t *testing.T) {
	t.Parallel()
	known := knownServer("notes", `{"tools":{}}`)
	w, o := newOrders(t, known)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	s := w.begin(o, c)
	p := says(t, "live")
	p.play(w, s)
	tools := func(random bool) string {
		var b strings.Builder
		source := rand.New(rand.NewPCG(1, 2))
		for i := range 400 {
			text := strings.Repeat("Does something to the thing that is named. ", 64)
			if random {
				text = ""
				for range 320 {
					text += fmt.Sprintf("%08x", source.Uint32())
				}
			}
			fmt.Fprintf(&b, `,{"name":"tool%d","description":%q}`, i, text)
		}
		return "[" + b.String()[1:] + "]"
	}
	large := tools(false)
	if len(large) < 1<<20 {
		t.Fatalf("only %d bytes", len(large))
	}
	w.with(c, connection.ReconnectNeeded) // the server that runs is not asked then
	w.reported(s, large)
	if got := w.elsewhere(known).tools(m); !strings.Contains(got, `"tool399"`) {
		t.Error("a large list was not kept")
	}
	for range 2 {
		w.reported(s, tools(true))
	}
	if n := strings.Count(w.log.String(), "too large"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	for _, bad := range []string{`{}`, `[`, `"x"`, `[1]]`} {
		w.reported(s, bad)
	}
	if got := w.elsewhere(known).tools(m); !strings.Contains(got, `"tool399"`) {
		t.Error("what is no list replaced one")
	}
}

// TestSlowServer: a server that runs and does not answer in time is answered for.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t, knownServer("notes", `{"tools":{}}`))
	c := w.connect("ada", "notes")
	slow := newPuppet(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	slow.play(w, w.begin(o, c))
	if got := w.tools(w.mint(c)); !strings.Contains(got, `"known"`) {
		t.Error(got)
	}
}
