package host_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/mcp"
)

// newAll is a world with real runners, and a token for all of ada's servers.
func newAll(t *testing.T, servers ...string) (*world, *runners, host.Minted) {
	t.Helper()
	w, l := newRunners(t)
	m, err := w.service.MintAll(t.Context(), host.MintAllRequest{Tenant: "default", UserID: "ada", Servers: servers})
	if err != nil {
		t.Fatal(err)
	}
	return w, l, m
}

// modern is a request of the modern era with these params, which begin with a
// comma unless there are none.
func modern(method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":%q,"params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}%s}}`, method, params)
}

func (w *world) listed(m host.Minted) string {
	w.t.Helper()
	_, body := w.post(m, modern("tools/list", ""))
	var out struct {
		Result struct {
			ResultType string
			Tools      []struct{ Name string }
		}
	}
	if err := json.Unmarshal([]byte(message(body)), &out); err != nil || out.Result.ResultType != "complete" {
		w.t.Fatalf("%v: %s", err, body)
	}
	var names []string
	for _, tool := range out.Result.Tools {
		names = append(names, tool.Name)
	}
	return strings.Join(names, " ")
}

// message is the last message of an answer, whichever form that has.
func message(body string) string {
	if i := strings.LastIndex(body, "data: "); i >= 0 {
		return strings.TrimSpace(body[i+len("data: "):])
	}
	return body
}

// TestAll: the tools of each connection under their own names, each call at the
// right server with the right person's token, in both eras.
func TestAll(t *testing.T) {
	t.Parallel()
	w, l, m := newAll(t)
	notes := w.connect("ada", "notes")
	w.clock.advance(time.Minute)
	mail, second := w.connect("ada", "mail"), w.connect("ada", "notes")
	w.connect("grace", "notes")
	alias := func(c connection.Connection) string {
		t.Helper()
		members, err := w.service.Members(t.Context(), host.Holder{Tenant: "default", User: m.UserID, Servers: m.Servers})
		if err != nil {
			t.Fatal(err)
		}
		for _, member := range members {
			if member.ID == c.ID {
				return member.Alias
			}
		}
		t.Fatalf("%s is no member", c.ID)
		return ""
	}
	names := w.listed(m)
	want := map[string]connection.Connection{"notes__whoami": notes, "mail__whoami": mail, alias(second) + "__whoami": second}
	if len(strings.Fields(names)) != 3 {
		t.Errorf("listed: %s", names)
	}
	for name, c := range want {
		if !strings.Contains(names, name) {
			t.Errorf("%s is not in %s", name, names)
		}
		_, body := w.post(m, modern("tools/call", fmt.Sprintf(`,"name":%q,"arguments":{"text":"hello"}`, name)), mcp.NameHeader, name)
		if !strings.Contains(body, "whoami "+tokenOf(c.Key)+" hello") {
			t.Errorf("%s: %s", name, body)
		}
	}
	if starts, _ := l.launched(); starts != 3 {
		t.Errorf("%d tasks were started", starts)
	}

	// The era with sessions: one session for all.
	resp, body := w.post(m, initialize)
	id := resp.Header.Get(mcp.SessionHeader)
	if id == "" || !strings.Contains(body, `"tools":{}`) || !strings.Contains(body, `mail__… is mail`) {
		t.Fatalf("%q %s", id, body)
	}
	_, body = w.post(m, `{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"mail__whoami","arguments":{"text":"again"}}}`, mcp.SessionHeader, id)
	if !strings.Contains(body, tokenOf(mail.Key)+" again") || !strings.Contains(body, `"id":"x"`) {
		t.Errorf("%s", body)
	}
	if resp, _ := w.post(m, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x"}}`, mcp.SessionHeader, id); resp.StatusCode != http.StatusAccepted {
		t.Errorf("a notification: %d", resp.StatusCode)
	}
	one := w.mint(notes)
	if resp, _ := w.post(one, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, mcp.SessionHeader, id); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the session of all at one server: %d", resp.StatusCode)
	}
	for method, status := range map[string]int{"prompts/list": 404, "resources/read": 404, "initialize": 404, "ping": 404} {
		header := []string{}
		if method == "resources/read" {
			header = []string{mcp.NameHeader, "x"}
		}
		resp, body := w.post(m, modern(method, `,"uri":"x"`), header...)
		if resp.StatusCode != status || !strings.Contains(body, "-32601") {
			t.Errorf("%s: %d %s", method, resp.StatusCode, body)
		}
	}
	if resp, body := w.post(m, modern("subscriptions/listen", `,"notifications":{}`)); resp.StatusCode != 200 || !strings.Contains(body, "acknowledged") || !strings.Contains(body, `"resultType":"complete"`) {
		t.Errorf("listen: %d %s", resp.StatusCode, body)
	}
}

// TestAllKeepsApart: another person's, another server's, what is withheld and
// what is broken.
func TestAllKeepsApart(t *testing.T) {
	t.Parallel()
	w, l, m := newAll(t, "notes", "mail")
	notes, mail := w.connect("ada", "notes"), w.connect("ada", "mail")
	theirs := w.connect("grace", "notes")
	w.connect("ada", "remote")
	call := func(name string) string {
		t.Helper()
		_, body := w.post(m, modern("tools/call", fmt.Sprintf(`,"name":%q`, name)), mcp.NameHeader, mcp.EncodeHeader(name))
		return body
	}
	set := func(c connection.Connection, change func(*connection.Connection)) {
		t.Helper()
		if _, err := w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error { change(c); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "whoami", "notes", "notes__", "grace__whoami", "remote__x", theirs.ID + "__whoami", "notes-0000__whoami", "mail_whoami", "ü__x"} {
		if name == "notes__" { // an empty name is the server's to refuse
			continue
		}
		if body := call(name); !strings.Contains(body, "-32602") || !strings.Contains(body, "list the tools again") {
			t.Errorf("%q: %s", name, body)
		}
	}
	if starts, _ := l.launched(); starts != 0 {
		t.Errorf("%d tasks were started for tools that do not exist", starts)
	}
	set(notes, func(c *connection.Connection) { c.Tools = connection.ToolFilter{Deny: []string{"who*"}} })
	set(mail, func(c *connection.Connection) { c.Status = connection.ReconnectNeeded })
	if names := w.listed(m); names != "" {
		t.Errorf("listed: %s", names)
	}
	if body := call("notes__whoami"); !strings.Contains(body, "-32602") {
		t.Errorf("withheld: %s", body)
	}
	if body := call("mail__whoami"); !strings.Contains(body, "reconnect") || strings.Contains(body, "canary") {
		t.Errorf("needs a reconnect: %s", body)
	}
	set(notes, func(c *connection.Connection) { c.Tools = connection.ToolFilter{} })
	if names := w.listed(m); names != "notes__whoami" {
		t.Errorf("listed: %q", names)
	}
	for method, want := range map[string]int{http.MethodGet: 502, http.MethodDelete: 400} {
		resp, err := w.send(t.Context(), method, m, "")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d", method, resp.StatusCode)
		}
	}
}

// TestWithheld: what a connection does not offer is neither listed nor called at
// its own endpoint.
func TestWithheld(t *testing.T) {
	t.Parallel()
	w, _ := newRunners(t)
	c := w.connect("ada", "notes")
	m := w.mint(c)
	if got := w.listed(m); got != "whoami" {
		t.Fatalf("listed: %q", got)
	}
	for _, f := range []connection.ToolFilter{{Deny: []string{"whoami"}}, {Allow: []string{"other"}}} {
		if _, err := w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error { c.Tools = f; return nil }); err != nil {
			t.Fatal(err)
		}
		if got := w.listed(m); got != "" {
			t.Errorf("%+v: listed: %q", f, got)
		}
		if _, body := w.post(m, call); !strings.Contains(body, "-32602") || strings.Contains(body, tokenOf(c.Key)) {
			t.Errorf("%+v: %s", f, body)
		}
	}
	_, err := w.store.Update(t.Context(), c.Key, func(c *connection.Connection) error {
		c.Tools = connection.ToolFilter{Allow: []string{"who*"}}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.listed(m); got != "whoami" {
		t.Errorf("listed: %q", got)
	}
	if _, body := w.post(m, call); !strings.Contains(body, tokenOf(c.Key)) {
		t.Errorf("%s", body)
	}
}

// TestEndedSession: a client that ended its session begins another one.
func TestEndedSession(t *testing.T) {
	t.Parallel()
	w, _, all := newAll(t)
	one := w.mint(w.connect("ada", "notes"))
	for name, m := range map[string]host.Minted{"one server": one, "all servers": all} {
		resp, _ := w.post(m, initialize)
		id := resp.Header.Get(mcp.SessionHeader)
		if resp, _ := w.post(m, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, mcp.SessionHeader, id); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: before: %d", name, resp.StatusCode)
		}
		deleted, err := w.send(t.Context(), http.MethodDelete, m, "", mcp.SessionHeader, id)
		if err != nil {
			t.Fatal(err)
		}
		deleted.Body.Close()
		if deleted.StatusCode != http.StatusNoContent {
			t.Errorf("%s: %d", name, deleted.StatusCode)
		}
		if resp, _ := w.post(m, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, mcp.SessionHeader, id); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: after: %d", name, resp.StatusCode)
		}
		if resp, _ := w.post(m, initialize); resp.Header.Get(mcp.SessionHeader) == id {
			t.Errorf("%s: the same id again", name)
		}
	}
}
