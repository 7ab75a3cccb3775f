package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/mark3labs/mcp-go/client"
	mcptransport "github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// toolTimeout bounds one tool call that is made from the page or the API.
const toolTimeout = 2 * time.Minute

// maxToolPages bounds how often a server may say that its list goes on.
const maxToolPages = 50

// maxTools bounds what is kept of a list in memory, maxListed, in bytes, what is
// read of it.
const (
	maxTools  = 5000
	maxListed = 10 << 20
)

// KnownTools are the tools of the connection's server, as far as they are known
// without asking it.
func (s *Service) KnownTools(ctx context.Context, c connection.Connection) ([]mcp.Tool, bool) {
	list := s.catalogue(ctx, c).Tools
	var tools []mcp.Tool
	if list == nil || json.Unmarshal(list, &tools) != nil {
		return nil, false
	}
	return tools, true
}

// ToolsCount is how many they are.
func (s *Service) ToolsCount(ctx context.Context, c connection.Connection) (int, bool) {
	return presets.CountTools(s.catalogue(ctx, c))
}

// Tools asks the connection's server for its tools, starting it if need be.
func (s *Service) Tools(ctx context.Context, caller vault.Caller, k connection.Key) ([]mcp.Tool, error) {
	var all []mcp.Tool
	err := s.session(ctx, caller, k, maxListed, func(ctx context.Context, c *client.Client) error {
		var req mcp.ListToolsRequest
		for range maxToolPages {
			page, err := c.ListToolsByPage(ctx, req)
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
	return all, err
}

// CallTool calls one tool of the connection's server.
func (s *Service) CallTool(ctx context.Context, caller vault.Caller, k connection.Key, name string, arguments json.RawMessage) (*mcp.CallToolResult, error) {
	var out *mcp.CallToolResult
	err := s.session(ctx, caller, k, maxAnswer, func(ctx context.Context, c *client.Client) (err error) {
		var req mcp.CallToolRequest
		req.Params.Name = name
		req.Params.Arguments = arguments
		out, err = c.CallTool(ctx, req)
		return err
	})
	return out, err
}

// session runs one short MCP session with the connection's task, of whose answers
// it reads so many bytes.
func (s *Service) session(ctx context.Context, caller vault.Caller, k connection.Key, most int64, do func(context.Context, *client.Client) error) error {
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
	ours, err := newSession(ourParams)
	if err != nil {
		return err
	}
	via := own{upstream: s.upstream(conn), conn: conn, client: "lanyard:" + caller.Actor, session: ours, left: new(atomic.Int64)}
	via.left.Store(most)
	defer s.leave(ctx, via)
	// The transport fills in the address, and the task's own bearer.
	c, err := client.NewStreamableHttpClient(taskURL, mcptransport.WithHTTPBasicClient(&http.Client{Transport: via}))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Start(ctx); err != nil {
		return err
	}
	var init mcp.InitializeRequest
	if err := json.Unmarshal(ourParams, &init.Params); err != nil {
		return err
	}
	if _, err := c.Initialize(ctx, init); err != nil {
		return fmt.Errorf("%w: %w", ErrServerFailed, err)
	}
	return do(ctx, c)
}

// ourParams are those of initialize, of a client that is ourselves.
var ourParams = []byte(`{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"lanyard","version":"1"}}`)

// own sends the requests of a client that is ourselves.
type own struct {
	upstream http.RoundTripper
	conn     connection.Connection
	client   string
	session  session
	// left is how many bytes of answers are still read, of all together.
	left *atomic.Int64
}

// RoundTrip implements [http.RoundTripper].
func (o own) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	introduce(out.Header, o.client, &o.session)
	resp, err := o.upstream.RoundTrip(out)
	if err == nil {
		resp.Body = &metered{resp.Body, o.left}
	}
	return resp, err
}

// metered is a body whose bytes count with those of others.
type metered struct {
	io.ReadCloser
	left *atomic.Int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if m.left.Add(-int64(n)) < 0 {
		return 0, errors.New("the server says more than is read")
	}
	return n, err
}

// leave tells the server's side that a session of ours has ended.
func (s *Service) leave(ctx context.Context, o own) {
	s.background(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, taskURL, nil)
		if err != nil {
			return
		}
		o.upstream = s.asItIs(o.conn)
		if resp, err := o.RoundTrip(req); err == nil {
			resp.Body.Close()
		}
	})
}
