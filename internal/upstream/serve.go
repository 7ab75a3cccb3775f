package upstream

import (
	"context"
	"io"
	"log"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// ServeStdio returns nil when stdin ends.
func ServeStdio(ctx context.Context, s *server.MCPServer, stdin io.Reader, stdout io.Writer) error {
	stdio := server.NewStdioServer(s)
	// What it would log is either returned by Listen or answered to the
	// client, and may quote the client's messages.
	stdio.SetErrorLogger(log.New(io.Discard, "", 0))
	return stdio.Listen(ctx, stdin, stdout)
}

// Failed is the result of a tool that has an error to tell of.
func Failed(err error) (*mcp.CallToolResult, error) {
	return mcp.NewToolResultError(err.Error()), nil
}
