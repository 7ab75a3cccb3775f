package host

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/client"
	mcptransport "github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// toolTimeout bounds one tool call that is made from the page or the API.
const toolTimeout = 2 * time.Minute

// maxToolPages bounds how often a server may say that its list goes on.
const maxToolPages = 50

// maxTools bounds what is kept of a list in memory.
const maxTools = 5000

// toolCache keeps what each connection's server last listed.
type toolCache struct {
	mu     sync.Mutex
	listed map[connection.Key][]mcp.Tool
}

func (t *toolCache) put(k connection.Key, tools []mcp.Tool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listed == nil {
		t.listed = map[connection.Key][]mcp.Tool{}
	}
	t.listed[k] = tools
}

func (t *toolCache) get(k connection.Key) ([]mcp.Tool, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tools, ok := t.listed[k]
	return tools, ok
}

func (t *toolCache) drop(k connection.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.listed, k)
}

// KnownTools returns what the connection's server last listed, if it has run
// in this process.
func (s *Service) KnownTools(k connection.Key) ([]mcp.Tool, bool) { return s.tools.get(k) }

// Tools asks the connection's server for its tools, starting it if need be.
func (s *Service) Tools(ctx context.Context, caller vault.Caller, k connection.Key) ([]mcp.Tool, error) {
	var all []mcp.Tool
	err := s.session(ctx, caller, k, func(ctx context.Context, c *client.Client) error {
		var req mcp.ListToolsRequest
		for range maxToolPages {
			page, err := c.ListTools(ctx, req)
			if err != nil {
				return err
			}
			all = append(all, page.Tools...)
			if len(all) > maxTools {
				return fmt.Errorf("the server lists more than %d tools", maxTools)
			}
			if page.NextCursor == "" {
				return nil
			}
			req.Params.Cursor = page.NextCursor
		}
		return fmt.Errorf("the server's list of tools does not end")
	})
	if err == nil {
		s.tools.put(k, all)
	}
	return all, err
}

// CallTool calls one tool of the connection's server.
func (s *Service) CallTool(ctx context.Context, caller vault.Caller, k connection.Key, name string, arguments json.RawMessage) (*mcp.CallToolResult, error) {
	var out *mcp.CallToolResult
	err := s.session(ctx, caller, k, func(ctx context.Context, c *client.Client) (err error) {
		var req mcp.CallToolRequest
		req.Params.Name = name
		req.Params.Arguments = arguments
		out, err = c.CallTool(ctx, req)
		return err
	})
	return out, err
}

// session runs one short MCP session with the connection's task.
func (s *Service) session(ctx context.Context, caller vault.Caller, k connection.Key, do func(context.Context, *client.Client) error) error {
	conn, err := s.connection(ctx, caller, k)
	if err != nil {
		return err
	}
	if _, elsewhere := s.remote(conn); !elsewhere {
		if _, err := s.task(ctx, conn); err != nil { // its errors say more than a failed session
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	// The transport fills in the address, and the task's own bearer.
	c, err := client.NewStreamableHttpClient("https://task.invalid/mcp",
		mcptransport.WithHTTPBasicClient(&http.Client{Transport: s.upstream(conn)}))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Start(ctx); err != nil {
		return err
	}
	var init mcp.InitializeRequest
	init.Params.ProtocolVersion = "2025-11-25"
	init.Params.ClientInfo = mcp.Implementation{Name: "lanyard", Version: "1"}
	if _, err := c.Initialize(ctx, init); err != nil {
		return fmt.Errorf("%w: %w", ErrServerFailed, err)
	}
	return do(ctx, c)
}
