package host_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/presets"
)

// knownServer is a server of which the preset knows what it lists.
func knownServer(name string, capabilities string) presets.Server {
	s := stdioServer(name)
	s.DisplayName = "The " + name
	known := &mcp.Catalogue{
		Initialized: json.RawMessage(`{"protocolVersion":"2025-11-25","capabilities":` + capabilities + `,"serverInfo":{"name":"known","version":"1"}}`),
		Tools:       json.RawMessage(`[{"name":"known"}]`),
	}
	s.Catalogue = func() (*mcp.Catalogue, error) { return known, nil }
	return s
}

const list = `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`

// begin initializes, and returns the session's id.
func (w *world) initialized(m host.Minted) string {
	w.t.Helper()
	resp, body := w.post(m, initialize)
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `"serverInfo"`) {
		w.t.Fatalf("%s %s", resp.Status, body)
	}
	return resp.Header.Get(mcp.SessionHeader)
}

// TestSessionsAreTheirs: a session's id is good at the connection that it was
// made for, until it is too old; whatever else comes is told to initialize again.
func TestSessionsAreTheirs(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t, knownServer("notes", `{"tools":{}}`))
	w.service.OnlyForCalls = true
	c := w.connect("ada", "notes")
	m := w.mint(c)
	other := w.mint(w.connect("ada", "notes"))
	foreign := c
	foreign.Tenant = "other"
	if err := w.store.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	abroad, err := w.service.Mint(t.Context(), host.MintRequest{Caller: pageOf("other", "ada"), Connection: foreign.Key})
	if err != nil {
		t.Fatal(err)
	}
	id := w.initialized(m)
	sealed, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	if resp, body := w.post(m, list, mcp.SessionHeader, id); resp.StatusCode != http.StatusOK || !strings.Contains(body, `"known"`) {
		t.Fatalf("%s %s", resp.Status, body)
	}
	if again := w.initialized(m); again == id {
		t.Error("two sessions have one id")
	}
	bad := map[string]string{"made up": "canary", "shorter": id[:len(id)-1], "longer": id + "A", "padded": id + "==", "only a version": "AQ", "huge": strings.Repeat("A", 8000)}
	for i := range sealed {
		flipped := append([]byte{}, sealed...)
		flipped[i] ^= 1 << (i % 8)
		bad["flipped at "+string(rune('a'+i%26))+string(rune('a'+i/26))] = base64.RawURLEncoding.EncodeToString(flipped)
	}
	wantGone := func(name string, m host.Minted, id string) {
		t.Helper()
		resp, body := w.post(m, list, mcp.SessionHeader, id)
		if resp.StatusCode != http.StatusNotFound || !strings.Contains(body, `"id":2,"error"`) || strings.Contains(body, "canary") {
			t.Errorf("%s: %s %s", name, resp.Status, body)
		}
	}
	for name, id := range bad {
		wantGone(name, m, id)
	}
	wantGone("another connection's", other, id)
	wantGone("another tenant's", abroad, id)
	if resp, _ := w.post(m, list); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("without a session: %s", resp.Status)
	}
	w.clock.advance(29 * 24 * time.Hour)
	if resp, _ := w.post(m, list, mcp.SessionHeader, id); resp.StatusCode != http.StatusOK {
		t.Errorf("after 29 days: %s", resp.Status)
	}
	w.clock.advance(2 * 24 * time.Hour)
	wantGone("old", m, id)
	if len(o.started) > 0 {
		t.Error("a task was started")
	}
}

// TestSessionsAreSmall: whatever a client says of itself, the id stays small, and
// the task hears what is known.
func TestSessionsAreSmall(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t, knownServer("notes", `{"tools":{}}`))
	m := w.mint(w.connect("ada", "notes"))
	heard := make(chan http.Header, 4)
	task := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		heard <- r.Header
		_, _ = io.WriteString(rw, `{"jsonrpc":"2.0","id":3,"result":{}}`)
	})
	long := strings.Repeat(`\u0007\"é€`, 5000)
	resp, body := w.post(m, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{
		"roots":{"listChanged":true,"more":1},"sampling":{"tools":{},"context":{}},"elicitation":{"form":{},"url":{}},"experimental":{"`+long+`":{}},
		"tasks":{"list":{},"cancel":{},"requests":{"sampling":{"createMessage":{}},"elicitation":{"create":{}}}}},
		"clientInfo":{"name":"`+long+`","title":"`+long+`","version":"`+long+`","icons":["`+long+`"]},"more":"`+long+`"}}`)
	id := resp.Header.Get(mcp.SessionHeader)
	if resp.StatusCode != http.StatusOK || id == "" {
		t.Fatalf("%s %s", resp.Status, body)
	}
	if len(id) > 1500 || strings.ContainsFunc(id, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		t.Errorf("the id has %d bytes: %s", len(id), id)
	}
	task.play(w, o.next(t)) // it was started when the client began
	call := `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"whoami"}}`
	for range 2 {
		if resp, body := w.post(m, call, mcp.SessionHeader, id, mcp.VersionHeader, "2025-11-25"); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", resp.Status, body)
		}
	}
	first, second := <-heard, <-heard
	if inner := first.Get(mcp.SessionHeader); inner == "" || inner == id || inner != second.Get(mcp.SessionHeader) {
		t.Errorf("the task heard of the sessions %q and %q", inner, second.Get(mcp.SessionHeader))
	}
	params, err := base64.RawURLEncoding.DecodeString(first.Get("Lanyard-Session"))
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("é€", 25) + "é"
	want := `{"protocolVersion":"2025-11-25","capabilities":{"roots":{"listChanged":true},"sampling":{"context":{},"tools":{}},"elicitation":{"form":{},"url":{}},` +
		`"tasks":{"list":{},"cancel":{},"requests":{"sampling":{"createMessage":{}},"elicitation":{"create":{}}}}},` +
		`"clientInfo":{"name":"` + name + `","title":"` + name + `","version":"` + strings.Repeat("é€", 12) + `é"}}`
	if string(params) != want {
		t.Errorf("the task heard\n%s, want\n%s", params, want)
	}
}

// TestRefusals are those of the bridge behind it.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t, knownServer("notes", `{"tools":{}}`))
	w.service.OnlyForCalls = true
	m := w.mint(w.connect("ada", "notes"))
	id := w.initialized(m)
	modernList := `{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	for name, test := range map[string]struct {
		body   string
		status int
		code   string
		header []string
	}{
		"a batch":                    {`[` + list + `]`, 400, "-32600", nil},
		"no JSON":                    {`{"id":1`, 400, "-32700", nil},
		"JSON and more":              {list + list, 400, "-32700", nil},
		"nothing":                    {``, 400, "-32700", nil},
		"an id twice":                {`{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}`, 400, "-32600", nil},
		"a method twice":             {`{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}`, 400, "-32600", nil},
		"a method in another case":   {`{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call"}`, 400, "-32600", nil},
		"a method with escapes":      {`{"jsonrpc":"2.0","id":1,"method":"tools/list","m\u0065thod":"tools/call"}`, 400, "-32600", nil},
		"a version twice":            {`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{},"_meta":{}}}`, 400, "-32600", nil},
		"an id that is none":         {`{"jsonrpc":"2.0","id":{},"method":"tools/list"}`, 400, "-32600", nil},
		"another type":               {list, 415, "-32600", []string{"Content-Type", "text/plain"}},
		"no type":                    {list, 415, "-32600", []string{"Content-Type", ""}},
		"a revision nobody knows":    {list, 400, "-32600", []string{mcp.VersionHeader, "2025-01-01"}},
		"a later revision":           {list, 400, "", []string{mcp.VersionHeader, "2099-01-01"}},
		"modern without its method":  {modernList, 400, "-32020", []string{mcp.MethodHeader, ""}},
		"modern, another method":     {modernList, 400, "-32020", []string{mcp.MethodHeader, "tools/call"}},
		"modern without its version": {modernList, 400, "-32020", []string{mcp.VersionHeader, ""}},
		"modern, another tool":       {call, 400, "-32020", []string{mcp.NameHeader, "known"}},
		"modern, a past method":      {strings.Replace(modernList, "tools/list", "ping", 1), 404, "-32601", nil},
		"no revision":                {`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`, 400, "-32602", nil},
	} {
		resp, body := w.post(m, test.body, append([]string{mcp.SessionHeader, id}, test.header...)...)
		if resp.StatusCode != test.status || !strings.Contains(body, test.code) || !json.Valid([]byte(body)) {
			t.Errorf("%s: %s %s", name, resp.Status, body)
		}
	}
	for _, version := range []string{"", "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"} {
		if resp, body := w.post(m, list, mcp.SessionHeader, id, mcp.VersionHeader, version); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", version, resp.Status, body)
		}
	}
	for _, method := range []string{"PUT", "PATCH", "OPTIONS"} {
		resp, err := w.send(t.Context(), method, m, "")
		if err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %v %v", method, resp.Status, err)
		}
		resp.Body.Close()
	}
	if len(o.started) > 0 {
		t.Error("a task was started")
	}
}

// TestNotes: what is no request starts nothing, and is passed on to what runs.
func TestNotes(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t, knownServer("notes", `{"tools":{}}`))
	w.service.OnlyForCalls = true
	c := w.connect("ada", "notes")
	m := w.mint(c)
	id := w.initialized(m)
	notes := []string{
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`,
		`{"jsonrpc":"2.0","id":5,"result":{}}`,
	}
	for _, note := range notes {
		if resp, body := w.post(m, note, mcp.SessionHeader, id); resp.StatusCode != http.StatusAccepted {
			t.Errorf("%s: %s %s", note, resp.Status, body)
		}
	}
	if resp, body := w.post(m, `{"jsonrpc":"2.0","id":"p","method":"ping"}`, mcp.SessionHeader, id); body != `{"jsonrpc":"2.0","id":"p","result":{}}` {
		t.Errorf("ping: %s %s", resp.Status, body)
	}
	if len(o.started) > 0 {
		t.Fatal("a task was started")
	}
	heard := make(chan string, 8)
	task := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		heard <- r.Method + " " + string(body)
		rw.WriteHeader(http.StatusAccepted)
	})
	task.play(w, w.begin(o, c))
	for _, note := range notes {
		w.post(m, note, mcp.SessionHeader, id)
	}
	resp, err := w.send(t.Context(), http.MethodDelete, m, "", mcp.SessionHeader, id)
	if err != nil || resp.StatusCode != http.StatusNoContent {
		t.Errorf("%v %v", resp, err)
	}
	resp.Body.Close()
	for _, want := range []string{"POST " + notes[1], "POST " + notes[2], "DELETE "} {
		if got := <-heard; got != want {
			t.Errorf("the task heard %s, want %s", got, want)
		}
	}
	resp, err = w.send(t.Context(), http.MethodDelete, m, "", mcp.SessionHeader, "canary")
	if err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("another session: %v %v", resp, err)
	}
	resp.Body.Close()
	if resp, _ := w.post(m, notes[1], mcp.SessionHeader, id); resp.StatusCode != http.StatusNotFound || len(heard) > 0 {
		t.Errorf("of a session that has ended: %s, heard %d", resp.Status, len(heard))
	}
	resp, _ = w.post(m, initialize)
	id = resp.Header.Get(mcp.SessionHeader)
	w.with(c, connection.ReconnectNeeded)
	if resp, _ := w.post(m, notes[1], mcp.SessionHeader, id); resp.StatusCode != http.StatusAccepted || len(heard) > 0 {
		t.Errorf("of a connection that is refused: %s, heard %d", resp.Status, len(heard))
	}
}
