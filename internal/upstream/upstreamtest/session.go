// Package upstreamtest calls the MCP servers that we ship as a client would.
package upstreamtest

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	mcpclient "github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Canary is the access token, which nothing that a server says may hold.
const Canary = "canary-access-token"

// Session is an MCP client of a server.
type Session struct {
	*mcpclient.Client
	t *testing.T
}

// Open begins a session with a server of this process.
func Open(t *testing.T, s *server.MCPServer) *Session {
	t.Helper()
	c, err := mcpclient.NewInProcessClient(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return begin(t, c)
}

// Over begins one with whatever answers at the other end.
func Over(t *testing.T, other *transport.Stdio) *Session {
	t.Helper()
	return begin(t, mcpclient.NewClient(other))
}

func begin(t *testing.T, c *mcpclient.Client) *Session {
	t.Helper()
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Initialize(t.Context(), mcp.InitializeRequest{Params: mcp.InitializeParams{
		ProtocolVersion: mcp.LATEST_PROTOCOL_VERSION, ClientInfo: mcp.Implementation{Name: "test", Version: "1"}}}); err != nil {
		t.Fatal(err)
	}
	return &Session{c, t}
}

// Call runs a tool. No answer may hold the token, in any of its forms.
func (s *Session) Call(name string, args map[string]any) (text string, result *mcp.CallToolResult) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	result, err := s.CallTool(ctx, mcp.CallToolRequest{Params: mcp.CallToolParams{Name: name, Arguments: args}})
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	if strings.Contains(JSON(result), Canary) {
		s.t.Fatalf("%s: the token is in the result", name)
	}
	content, ok := mcp.AsTextContent(result.Content[0])
	if !ok {
		s.t.Fatalf("%s: no text content", name)
	}
	return content.Text, result
}

// Structured is what a result says beside its text.
func (s *Session) Structured(r *mcp.CallToolResult, out any) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(JSON(r.StructuredContent)), out); err != nil {
		s.t.Fatal(err)
	}
}

// JSON encodes what can be encoded.
func JSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// Getenv is an environment of names and values, in turn.
func Getenv(pairs ...string) func(string) string {
	env := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return env[name] }
}
