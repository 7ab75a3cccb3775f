package runner

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/task"
)

// send posts a message with the headers that mcprun sets.
func (u *underway) send(body string, headers map[string]string) (*http.Response, string) {
	u.t.Helper()
	req, _ := http.NewRequest("POST", u.url+"/mcp", strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+u.control.claim.Bearer.Reveal())
	req.Header.Set("Content-Type", "application/json")
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := u.http.Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	return resp, string(data)
}

// A session that mcprun keeps goes on in the next task, and is no other client's.
func TestSessionOutlivesItsTask(t *testing.T) {
	t.Parallel()
	headers := map[string]string{
		"Mcp-Session-Id": "inner", task.ClientHeader: "client-1",
		task.SessionHeader: base64.RawURLEncoding.EncodeToString([]byte(`{"protocolVersion":"2025-11-25","capabilities":{}}`)),
	}
	for _, clients := range []string{task.ClientsShared, task.ClientsEach} {
		for range 2 {
			u := start(t, newControl(task.Claim{Recipe: task.Recipe{Rotation: task.RotateNone, Clients: clients}}), nil)
			u.connect()
			const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"getenv","arguments":{"text":"HOME"}}}`
			if resp, body := u.send(call, headers); resp.StatusCode != http.StatusOK || !strings.Contains(body, "content") {
				t.Errorf("%s: %s %s", clients, resp.Status, body)
			}
			headers[task.ClientHeader] = "client-2"
			if resp, _ := u.send(call, headers); resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s: another client: %s", clients, resp.Status)
			}
			headers[task.ClientHeader] = "client-1"
			if err := u.end(); err != nil {
				t.Error(err)
			}
		}
	}
}

// A client of the modern era is served by a server that does not know it; with a
// server for each client by one of its own.
func TestModernClient(t *testing.T) {
	t.Parallel()
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pid","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	for clients, processes := range map[string]int{task.ClientsShared: 1, task.ClientsEach: 2} {
		c := newControl(task.Claim{Recipe: task.Recipe{Rotation: task.RotateNone, Clients: clients}})
		u := start(t, c, nil)
		u.connect()
		pids := map[string]bool{}
		for _, client := range []string{"one", "two", "one"} {
			resp, got := u.send(body, map[string]string{
				"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "pid", task.ClientHeader: client,
			})
			if resp.StatusCode != http.StatusOK || !strings.Contains(got, `"resultType":"complete"`) {
				t.Errorf("%s: %s %s", clients, resp.Status, got)
			}
			pids[got] = true
		}
		if len(pids) != processes {
			t.Errorf("%s: served by %v", clients, pids)
		}
	}
}

// What the server offers is reported after it is ready.
func TestCatalogueIsReported(t *testing.T) {
	t.Parallel()
	u := start(t, newControl(task.Claim{Recipe: task.Recipe{Rotation: task.RotateNone}}), nil)
	u.connect()
	r := receive(t, u.control.catalogues)
	if r.TaskID != "task-1" || r.State != task.Ready || r.At.IsZero() || !strings.Contains(string(r.Catalogue.Initialized), `"serverInfo"`) {
		t.Errorf("%+v", r)
	}
}
