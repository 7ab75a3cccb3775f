package host_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/task"
)

// heard keeps what a puppet was sent; a request it answers with itself.
type heard struct {
	mu     sync.Mutex
	bodies []string
}

func (h *heard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bodies = append(h.bodies, string(body))
	_, _ = w.Write(body)
}

func (h *heard) all() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.bodies, "\n")
}

// listening is the connection's server, run by the test.
func (w *world) listening(o *orders, c connection.Connection) *heard {
	w.t.Helper()
	h := &heard{}
	newPuppet(w.t, h.ServeHTTP).play(w, w.begin(o, c))
	return h
}

func (w *world) mintAll(user string) host.Minted {
	w.t.Helper()
	m, err := w.service.MintAll(w.t.Context(), host.MintAllRequest{Tenant: "default", UserID: user})
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) offering(c connection.Connection, f connection.ToolFilter) {
	w.t.Helper()
	if _, err := w.store.Update(w.t.Context(), c.Key, func(c *connection.Connection) error { c.Tools = f; return nil }); err != nil {
		w.t.Fatal(err)
	}
}

// TestCutNames: a tool whose name is too long for clients is called by the name
// under which it was listed, and what its connection withholds stays withheld.
func TestCutNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("list_every_file_", 5)
	notes := knownServer("notes", `{"tools":{}}`)
	notes.Known().Tools = json.RawMessage(fmt.Sprintf(`[{"name":%q},{"name":"plain_0123abcd"},{"name":%q}]`, long+"a", long+"b"))
	w, o := newOrders(t, notes)
	c := w.connect("ada", "notes")
	h, m := w.listening(o, c), w.mintAll("ada")
	names := strings.Fields(w.listed(m))
	if len(names) != 3 || len(names[0]) != 64 || names[0] == names[2] {
		t.Fatalf("listed: %q", names)
	}
	for i, tool := range []string{long + "a", "plain_0123abcd", long + "b"} {
		if _, body := w.post(m, modern("tools/call", fmt.Sprintf(`,"name":%q`, names[i])), mcp.NameHeader, names[i]); !strings.Contains(body, fmt.Sprintf(`"name":%q`, tool)) {
			t.Errorf("%s: %s", names[i], body)
		}
	}
	before := h.all()
	w.offering(c, connection.ToolFilter{Deny: []string{long + "a"}})
	if _, body := w.post(m, modern("tools/call", fmt.Sprintf(`,"name":%q`, names[0])), mcp.NameHeader, names[0]); !strings.Contains(body, "-32602") || h.all() != before {
		t.Errorf("withheld: %s", body)
	}
}

// TestCallWithoutID: a message that is no notification by its name reaches no
// server without an id. A server that acts upon it would do for a client what the
// connection withholds, and at the endpoint of all servers all of them would.
func TestCallWithoutID(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t, knownServer("notes", `{"tools":{}}`))
	c := w.connect("ada", "notes")
	h, one, all := w.listening(o, c), w.mint(c), w.mintAll("ada")
	w.offering(c, connection.ToolFilter{Deny: []string{"whoami"}})
	const text = `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"whoami"}}`
	for name, m := range map[string]host.Minted{"one server": one, "all servers": all} {
		for era, header := range map[string][]string{"sessions": {mcp.SessionHeader, w.initialized(m)}, "modern": {mcp.VersionHeader, mcp.Modern}} {
			body := text
			if era == "modern" {
				body = strings.Replace(strings.TrimPrefix(modern("tools/call", `,"name":"whoami"`), "{"), `"id":7,`, "", 1)
				body = "{" + body
			}
			resp, got := w.post(m, body, header...)
			if resp.StatusCode != http.StatusBadRequest || !strings.Contains(got, "-32600") {
				t.Errorf("%s, %s: %d %s", name, era, resp.StatusCode, got)
			}
		}
		if resp, got := w.post(m, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`, mcp.SessionHeader, w.initialized(m)); resp.StatusCode != http.StatusAccepted {
			t.Errorf("%s: %d %s", name, resp.StatusCode, got)
		}
	}
	if got := h.all(); strings.Contains(got, "whoami") || strings.Count(got, "notifications/progress") != 2 {
		t.Errorf("the server was told %s", got)
	}
}

// TestCallOfNoName: what does not name its tool as MCP does is not passed on where
// some are withheld: a server might find a name in it.
func TestCallOfNoName(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t, knownServer("notes", `{"tools":{}}`))
	c := w.connect("ada", "notes")
	h, m := w.listening(o, c), w.mint(c)
	w.offering(c, connection.ToolFilter{Deny: []string{"whoami"}})
	for _, params := range []string{`["whoami",{}]`, `{"Name":"whoami"}`, `{"n\u0061me":"whoami"}`, `{"name":"whoami"}`, `{"name":"x","name":"whoami"}`,
		`{"name":["whoami"]}`, `{"tool":"whoami"}`, `{"name":null,"id":"whoami"}`, `"whoami"`} {
		_, body := w.post(m, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":`+params+`}`, mcp.SessionHeader, w.initialized(m))
		if !strings.Contains(body, "-32602") && !strings.Contains(body, "-32600") {
			t.Errorf("%s: %s", params, body)
		}
	}
	if got := h.all(); strings.Contains(got, "whoami") {
		t.Errorf("the server was told %s", got)
	}
}

// TestAnswersKeptApart: what a client answers to one server's question is for no
// other server. A shared one cannot have asked; of two that may have, nobody
// knows which did, since both choose their ids.
func TestAnswersKeptApart(t *testing.T) {
	t.Parallel()
	mail, other := stdioServer("mail"), stdioServer("other")
	mail.Server.Clients, other.Server.Clients = task.ClientsEach, task.ClientsEach
	w, o := newOrders(t, mail, other)
	asks, shared := w.listening(o, w.connect("ada", "mail")), w.listening(o, w.connect("ada", "notes"))
	m := w.mintAll("ada")
	id := w.initialized(m)
	answer := func(text string) {
		t.Helper()
		if resp, body := w.post(m, fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"result":{"action":"accept","content":{"pin":%q}}}`, text), mcp.SessionHeader, id); resp.StatusCode != http.StatusAccepted {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
	answer("first")
	if !strings.Contains(asks.all(), "first") || strings.Contains(shared.all(), "first") {
		t.Errorf("the one that asks was told %q, the other %q", asks.all(), shared.all())
	}
	w.clock.advance(time.Second)
	late := w.listening(o, w.connect("ada", "other"))
	answer("second")
	for name, h := range map[string]*heard{"mail": asks, "other": late, "notes": shared} {
		if strings.Contains(h.all(), "second") {
			t.Errorf("%s was told %q", name, h.all())
		}
	}
}

// TestHugeName: what is wrong with a name is said in few words.
func TestHugeName(t *testing.T) {
	t.Parallel()
	w, _ := newOrders(t, knownServer("notes", `{"tools":{}}`))
	c := w.connect("ada", "notes")
	w.offering(c, connection.ToolFilter{Allow: []string{"known"}})
	name := strings.Repeat("\x7f", 1<<20)
	for what, m := range map[string]host.Minted{"one server": w.mint(c), "all servers": w.mintAll("ada")} {
		_, legacy := w.post(m, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"`+name+`"}}`, mcp.SessionHeader, w.initialized(m))
		_, of := w.post(m, modern("tools/call", `,"name":"`+name+`"`))
		for _, body := range []string{legacy, of} {
			if len(body) > 2000 || !strings.Contains(body, `"error"`) {
				t.Errorf("%s: %d bytes", what, len(body))
			}
		}
	}
}
