package demo

import (
	"context"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// ServeStdio is an MCP server for the notes API, over stdin and stdout. It
// returns nil when stdin ends. From its environment it needs
//
//	DEMO_NOTES_URL     the provider's base URL
//	DEMO_TOKEN_FILE    a file {"access_token": "…"}, read anew for each call
//	DEMO_ACCESS_TOKEN  or else the access token itself
//
// A call that the API refuses with 401 is a tool result with isError whose
// text begins with invalid_token.
func ServeStdio(ctx context.Context, stdin io.Reader, stdout io.Writer, getenv func(string) string) error {
	api, err := newNotesClient(getenv)
	if err != nil {
		return err
	}
	stdio := server.NewStdioServer(newServer(api))
	// What it would log is either returned by Listen or answered to the
	// client, and may quote the client's messages.
	stdio.SetErrorLogger(log.New(io.Discard, "", 0))
	return stdio.Listen(ctx, stdin, stdout)
}

func newServer(api *notesClient) *server.MCPServer {
	s := server.NewMCPServer("lanyard-demo-notes", "1.0.0",
		server.WithTitle("Demo notes"),
		server.WithToolCapabilities(false),
		server.WithInputSchemaValidation(),
		server.WithInstructions("The notes of one person at Lanyard's demo provider. They live on this machine."))
	s.AddTool(mcp.NewTool("list_notes",
		mcp.WithDescription("List all notes, oldest first, each with the id that delete_note wants."),
		mcp.WithToolAnnotation(hints("List notes", true, false, true)),
		mcp.WithOutputSchema[noteList]()), api.listTool)
	s.AddTool(mcp.NewTool("add_note",
		mcp.WithDescription("Add a note."),
		mcp.WithToolAnnotation(hints("Add a note", false, false, false)),
		mcp.WithString("text", mcp.Required(), mcp.MinLength(1), mcp.MaxLength(maxNoteRunes), mcp.Description("What the note says.")),
		mcp.WithOutputSchema[note]()), api.addTool)
	s.AddTool(mcp.NewTool("delete_note",
		mcp.WithDescription("Delete a note for good."),
		mcp.WithToolAnnotation(hints("Delete a note", false, true, true)),
		mcp.WithString("id", mcp.Required(), mcp.MinLength(1), mcp.Description("The note's id, from list_notes."))), api.deleteTool)
	s.AddTool(mcp.NewTool("whoami",
		mcp.WithDescription("Tell whose notes these are."),
		mcp.WithToolAnnotation(hints("Who am I?", true, false, true)),
		mcp.WithOutputSchema[account]()), api.whoamiTool)
	return s
}

// hints: all tools stay within the one notes service, a closed world.
func hints(title string, readOnly, destructive, idempotent bool) mcp.ToolAnnotation {
	return mcp.ToolAnnotation{
		Title:           title,
		ReadOnlyHint:    mcp.ToBoolPtr(readOnly),
		DestructiveHint: mcp.ToBoolPtr(destructive),
		IdempotentHint:  mcp.ToBoolPtr(idempotent),
		OpenWorldHint:   mcp.ToBoolPtr(false),
	}
}

func (c *notesClient) listTool(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	list, err := c.list(ctx)
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	var text strings.Builder
	switch n := len(list.Notes); n {
	case 0:
		text.WriteString("There are no notes.")
	case 1:
		text.WriteString("1 note:")
	default:
		fmt.Fprintf(&text, "%d notes:", n)
	}
	for _, n := range list.Notes {
		fmt.Fprintf(&text, "\n[%s] %s", n.ID, n.Text)
	}
	return mcp.NewToolResultStructured(list, text.String()), nil
}

func (c *notesClient) addTool(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	text, err := r.RequireString("text")
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	n, err := c.add(ctx, text)
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	return mcp.NewToolResultStructured(n, fmt.Sprintf("Added note [%s].", n.ID)), nil
}

func (c *notesClient) deleteTool(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	id, err := r.RequireString("id")
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	if err := c.delete(ctx, id); err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	return mcp.NewToolResultText(fmt.Sprintf("Deleted note [%s].", id)), nil
}

func (c *notesClient) whoamiTool(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	who, err := c.whoami(ctx)
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	return mcp.NewToolResultStructured(who, fmt.Sprintf("%s <%s>", who.Name, who.Email)), nil
}
