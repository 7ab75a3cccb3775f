package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/mcp"
)

const modern = "2026-07-28"

// useTools lists the server's tools and calls the first, as an MCP client of ours
// in the era of the scenario.
func (c *client) useTools(ctx context.Context, id string) error {
	conn, err := c.starter.Connections.Get(ctx, connection.Key{Tenant: flow.DefaultTenant, ID: id})
	if err != nil {
		return err
	}
	s := session{host: c.host, conn: conn}
	if os.Getenv("MCP_CONFORMANCE_PROTOCOL_VERSION") != modern {
		if _, err := s.send(ctx, "initialize", map[string]any{"protocolVersion": "2025-11-25", "capabilities": map[string]any{},
			"clientInfo": map[string]any{"name": "conformance", "version": "1"}}); err != nil {
			return err
		}
	}
	result, err := s.send(ctx, "tools/list", map[string]any{})
	if err != nil {
		return err
	}
	var listed struct{ Tools []struct{ Name string } }
	if err := json.Unmarshal(result, &listed); err != nil || len(listed.Tools) == 0 {
		return fmt.Errorf("no tools are listed: %s", result)
	}
	_, err = s.send(ctx, "tools/call", map[string]any{"name": listed.Tools[0].Name, "arguments": map[string]any{}})
	return err
}

// session is an MCP client's at our endpoint of the connection.
type session struct {
	host *host.Service
	conn connection.Connection
	id   string
}

// send returns the result of a request. Where it fails on our side, the error is
// the one that our endpoint puts into words.
func (s *session) send(ctx context.Context, method string, params map[string]any) (json.RawMessage, error) {
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	if os.Getenv("MCP_CONFORMANCE_PROTOCOL_VERSION") == modern {
		params["_meta"] = map[string]any{"io.modelcontextprotocol/protocolVersion": modern, "io.modelcontextprotocol/clientCapabilities": map[string]any{}}
		header.Set(mcp.VersionHeader, modern)
		header.Set("Mcp-Method", method)
		if name, ok := params["name"].(string); ok {
			header.Set("Mcp-Name", name)
		}
	} else if s.id != "" {
		header.Set(mcp.VersionHeader, "2025-11-25")
		header.Set(mcp.SessionHeader, s.id)
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return nil, err
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/mcp/"+server, strings.NewReader(string(body)))
	r.Header = header
	w := httptest.NewRecorder()
	var failed error
	s.host.Serve(w, r, host.Visit{Connection: s.conn, Holder: host.Holder{Client: "conformance"},
		Say:  func(err error) (string, string) { failed = err; return err.Error(), "failed" },
		Deny: func(w http.ResponseWriter, err error) { failed = err; w.WriteHeader(http.StatusInternalServerError) }})
	if failed != nil {
		return nil, failed
	}
	if id := w.Header().Get(mcp.SessionHeader); id != "" {
		s.id = id
	}
	text := w.Body.String()
	if _, data, ok := strings.Cut(text, "data:"); ok { // a stream with the one event that is the answer
		text, _, _ = strings.Cut(data, "\n")
	}
	var answer struct{ Result, Error json.RawMessage }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Result == nil {
		return nil, fmt.Errorf("%s: %s %s", method, answer.Error, text)
	}
	return answer.Result, nil
}
