package host_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/mcp"
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
	notes.Known.Tools = json.RawMessage(fmt.Sprintf(`[{"name":%q},{"name":"plain_0123abcd"},{"name":%q}]`, long+"a", long+"b"))
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
