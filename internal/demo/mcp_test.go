package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
)

func getenv(pairs ...string) func(string) string {
	env := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return env[name] }
}

// mcpClient talks to a server made as [ServeStdio] makes it.
func mcpClient(t *testing.T, env func(string) string) *client.Client {
	t.Helper()
	api, err := newNotesClient(env)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.NewInProcessClient(newServer(api))
	if err != nil {
		t.Fatal(err)
	}
	return initialized(t, c)
}

func initialized(t *testing.T, c *client.Client) *client.Client {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Initialize(t.Context(), mcp.InitializeRequest{Params: mcp.InitializeParams{
		ProtocolVersion: mcp.LATEST_PROTOCOL_VERSION, ClientInfo: mcp.Implementation{Name: "test", Version: "1"}}}); err != nil {
		t.Fatal(err)
	}
	return c
}

func callTool(t *testing.T, c *client.Client, name string, args map[string]any) (text string, result *mcp.CallToolResult) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	result, err := c.CallTool(ctx, mcp.CallToolRequest{Params: mcp.CallToolParams{Name: name, Arguments: args}})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	content, ok := mcp.AsTextContent(result.Content[0])
	if !ok {
		t.Fatalf("%s: no text content", name)
	}
	return content.Text, result
}

func structured(t *testing.T, r *mcp.CallToolResult, out any) {
	t.Helper()
	data, err := json.Marshal(r.StructuredContent)
	if err == nil {
		err = json.Unmarshal(data, out)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTools(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	c := mcpClient(t, getenv(envURL, s.url+"/", envToken, s.connect().AccessToken))

	if text, r := callTool(t, c, "whoami", nil); r.IsError || text != "Ada Lovelace <ada@demo.example>" {
		t.Errorf("whoami: %s", text)
	}
	text, r := callTool(t, c, "list_notes", nil)
	var list noteList
	structured(t, r, &list)
	if !strings.HasPrefix(text, "3 notes:\n[1] Welcome!") || len(list.Notes) != 3 {
		t.Errorf("list_notes: %q %+v", text, list)
	}
	_, r = callTool(t, c, "add_note", map[string]any{"text": "by a tool"})
	var added note
	structured(t, r, &added)
	if r.IsError || added.Text != "by a tool" || added.CreatedAt.IsZero() {
		t.Errorf("add_note: %+v", added)
	}
	for _, n := range append(list.Notes, added) {
		if text, r := callTool(t, c, "delete_note", map[string]any{"id": n.ID}); r.IsError {
			t.Errorf("delete_note: %s", text)
		}
	}
	text, r = callTool(t, c, "list_notes", nil)
	structured(t, r, &list)
	if text != "There are no notes." || len(list.Notes) != 0 {
		t.Errorf("list_notes: %q %+v", text, list)
	}

	for name, tt := range map[string]struct {
		tool string
		args map[string]any
		want string
	}{
		"note that is not there": {"delete_note", map[string]any{"id": added.ID}, "there is no such note"},
		"id that is a path":      {"delete_note", map[string]any{"id": "../userinfo"}, "there is no such note"},
		"no text":                {"add_note", nil, "text"},
		"empty text":             {"add_note", map[string]any{"text": ""}, "text"},
		"text of a wrong type":   {"add_note", map[string]any{"text": 7}, "text"},
	} {
		if text, r := callTool(t, c, tt.tool, tt.args); !r.IsError || !strings.Contains(text, tt.want) {
			t.Errorf("%s: isError %v, %q", name, r.IsError, text)
		}
	}
}

func TestToolAnnotations(t *testing.T) {
	t.Parallel()
	c := mcpClient(t, getenv(envURL, "http://127.0.0.1:1", envToken, "x"))
	got, err := c.ListTools(t.Context(), mcp.ListToolsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	readOnly := map[string]bool{"list_notes": true, "whoami": true, "add_note": false, "delete_note": false}
	if len(got.Tools) != len(readOnly) {
		t.Errorf("%d tools, want %d", len(got.Tools), len(readOnly))
	}
	for _, tool := range got.Tools {
		a := tool.Annotations
		if *a.ReadOnlyHint != readOnly[tool.Name] || *a.DestructiveHint != (tool.Name == "delete_note") || *a.OpenWorldHint || a.Title == "" {
			t.Errorf("%s: %+v", tool.Name, a)
		}
	}
}

// The file that a runner rewrites is what the next call uses.
func TestTokenFileIsReadAnew(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	first := s.connect()
	path := filepath.Join(t.TempDir(), "token.json")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := mcpClient(t, getenv(envURL, s.url, envTokenFile, path))
	if text, r := callTool(t, c, "whoami", nil); !r.IsError || !strings.Contains(text, path) {
		t.Errorf("before there is a file: %q", text)
	}
	write(`{"access_token": "` + first.AccessToken + `"}`)
	if text, r := callTool(t, c, "whoami", nil); r.IsError {
		t.Errorf("with the first token: %q", text)
	}
	s.clock.advance(5 * time.Minute)
	if text, r := callTool(t, c, "whoami", nil); !r.IsError || !strings.Contains(text, "invalid_token") || !strings.Contains(text, "reconnect") || strings.Contains(text, first.AccessToken) {
		t.Errorf("with an expired token: %q", text)
	}
	write(`{"access_token": "` + s.tokens(renewForm(first.RefreshToken)).AccessToken + `", "expires_at": "later"}`)
	if text, r := callTool(t, c, "whoami", nil); r.IsError {
		t.Errorf("with the renewed token: %q", text)
	}
	write(`{"access": "canary-secret"}`)
	if text, r := callTool(t, c, "whoami", nil); !r.IsError || strings.Contains(text, "canary-secret") {
		t.Errorf("with a broken file: %q", text)
	}
}

func TestToolsSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	c := mcpClient(t, getenv(envURL, s.url, envToken, s.tokens(redeemForm(s.code("profile"))).AccessToken))
	if text, r := callTool(t, c, "add_note", map[string]any{"text": "x"}); !r.IsError || !strings.Contains(text, "insufficient_scope") || !strings.Contains(text, "notes.write") {
		t.Errorf("without the scope: %q", text)
	}

	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token was carried along") }))
	defer elsewhere.Close()
	for name, h := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"no JSON":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"a failure":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
	} {
		srv := httptest.NewServer(h)
		c := mcpClient(t, getenv(envURL, srv.URL, envToken, "canary-secret"))
		if text, r := callTool(t, c, "whoami", nil); !r.IsError || strings.Contains(text, "canary-secret") {
			t.Errorf("%s: %q", name, text)
		}
		srv.Close()
		if text, r := callTool(t, c, "whoami", nil); !r.IsError || !strings.Contains(text, "is Lanyard running?") {
			t.Errorf("after %s, gone: %q", name, text)
		}
	}
}

func TestServeStdioRefuses(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]func(string) string{
		"no URL":      getenv(envToken, "canary-secret"),
		"bad URL":     getenv(envURL, "file:///etc", envToken, "canary-secret"),
		"no token":    getenv(envURL, "http://127.0.0.1:1"),
		"both tokens": getenv(envURL, "http://127.0.0.1:1", envToken, "canary-secret", envTokenFile, "x"),
	} {
		err := ServeStdio(t.Context(), strings.NewReader(""), io.Discard, env)
		if err == nil || strings.Contains(err.Error(), "canary-secret") || !strings.Contains(err.Error(), "DEMO_") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Not parallel: mcp-go keeps one stdio session a process.
func TestServeStdio(t *testing.T) {
	s := newSite(t, "")
	env := getenv(envURL, s.url, envToken, s.connect().AccessToken)
	fromClient, toServer := io.Pipe()
	fromServer, toClient := io.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- ServeStdio(context.Background(), fromClient, toClient, env)
		toClient.Close()
	}()
	c := initialized(t, client.NewClient(transport.NewIO(fromServer, toServer, io.NopCloser(new(bytes.Buffer)))))
	if text, r := callTool(t, c, "list_notes", nil); r.IsError || !strings.HasPrefix(text, "3 notes:") {
		t.Errorf("list_notes: %q", text)
	}
	if a := s.post("/revoke", url.Values{"token": {env(envToken)}}); a.StatusCode != http.StatusOK {
		t.Fatal("revoke failed")
	}
	if text, r := callTool(t, c, "list_notes", nil); !r.IsError || !strings.HasPrefix(text, "invalid_token") {
		t.Errorf("list_notes after disconnect: %q", text)
	}
	toServer.Close()
	select {
	case err := <-served:
		if err != nil {
			t.Errorf("at the end of stdin: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("did not end with stdin")
	}
}
