package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/presets"
)

// mountPages adds the pages of one connection: they show what its server can
// do, so they belong to the function that can ask it.
func (h *MCPRun) mountPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /mcp/connections/{id}", h.connectionPage)
	mux.HandleFunc("POST /mcp/connections/{id}/mcp-tokens", h.route(h.mintForm))
	mux.HandleFunc("POST /mcp/connections/{id}/mcp-tokens/{token}/revoke", h.route(h.revokeForm))
	mux.HandleFunc("POST /mcp/connections/{id}/tools/{tool}", h.tryForm)
}

func (h *MCPRun) connectionPage(w http.ResponseWriter, r *http.Request) {
	if h.canonical(w, r) {
		return
	}
	p, err := h.visitor(w, r)
	var c connection.Connection
	if err == nil {
		c, err = own(r.Context(), h.Connections, p, r.PathValue("id"))
	}
	if errors.Is(err, flow.ErrNoSession) {
		if err = h.notSignedIn(w, r, flow.DefaultTenant, r.URL.RequestURI()); err == nil {
			return
		}
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	v := h.view(w, r, c)
	if r.URL.Query().Has("tools") {
		h.loadTools(r, c, &v)
	}
	h.render(w, r, http.StatusOK, v)
}

// view fills what is known without asking the server.
func (h *MCPRun) view(w http.ResponseWriter, r *http.Request, c connection.Connection) page.ConnectionView {
	s, _ := h.Catalogue.Server(c.Server)
	v := page.ConnectionView{
		Chrome: h.chrome(w, r, s.DisplayName), ID: c.ID, ServerName: c.Server, ServerDisplayName: s.DisplayName, RemoteHost: s.RemoteHost(), AuthType: c.AuthType,
		Label: c.Label, Account: labelOr(c, s.DisplayName), Status: string(c.Status), Health: string(c.Health), StatusText: statusText(c), Detail: reason(c),
		Scopes: scopesOf(s, append([]string{}, c.Scopes...)), MissingScopes: scopesOf(s, append([]string{}, flow.MissingScopes(c.ScopesAsked, c.Scopes)...)),
		ConnectedAt: c.ConnectedAt, LastRefresh: c.LastRefreshAt, NextRefresh: nextRefresh(c), RenewedOnUse: renewedOnUse(c), EndsAt: c.EndsAt, LastUsed: c.LastUsedAt,
		MCPURL: h.Host.EndpointURL(c), Configs: configs(configName(s), h.Host.EndpointURL(c), "YOUR_TOKEN"),
	}
	if c.AuthType == string(presets.TypeOAuth) && len(c.Scopes) == 0 {
		v.MissingScopes = nil // the provider did not say what it granted
	}
	v.CanReconnect = c.AuthType == string(presets.TypeOAuth)
	found, err := h.Host.Store.MCPTokens(r.Context(), c.Key)
	if err != nil {
		h.Logger.WarnContext(r.Context(), "MCP tokens not listed", "connection", c.ID, "err", err)
	}
	for _, m := range found {
		v.Tokens = append(v.Tokens, page.MCPTokenRow{ID: m.ID, CreatedAt: m.CreatedAt, ExpiresAt: m.ExpiresAt})
	}
	clients, err := clientsOf(r.Context(), h.Grants, c.Tenant, c.UserID, ofConnection(c.ID))
	if err != nil {
		h.Logger.WarnContext(r.Context(), "clients not listed", "connection", c.ID, "err", err)
	}
	v.Clients = clientRows(clients)
	known, ok := h.Host.KnownTools(r.Context(), c)
	v.Tools, v.ToolsPending = withheld(toolViews(known), c.Tools), !ok && c.Status == connection.Connected
	return v
}

// loadTools waits for the server, for people without JavaScript.
func (h *MCPRun) loadTools(r *http.Request, c connection.Connection, v *page.ConnectionView) {
	p, err := h.principal(r)
	if err == nil {
		var found []mcp.Tool
		found, err = h.Host.Tools(r.Context(), caller(p), c.Key)
		v.Tools = withheld(toolViews(found), c.Tools)
	}
	v.ToolsPending = errors.Is(err, host.ErrStarting)
	if err != nil {
		problem := h.describe(r, toolError(h.withProgress(c, err)))
		v.ToolsError = sentence(problem.Message)
		if problem.Detail != "" {
			v.ToolsError = problem.Detail
		}
	}
}

// configs are what to paste into MCP clients.
func configs(name, endpoint, bearer string) []page.Config {
	header := "Authorization: Bearer " + bearer
	entry := map[string]any{"url": endpoint, "headers": map[string]string{"Authorization": "Bearer " + bearer}}
	return []page.Config{
		{Client: "Claude Code", Help: "Run this in a terminal.",
			Text: fmt.Sprintf("claude mcp add --transport http %s %s --header %q", name, endpoint, header)},
		{Client: "Claude Desktop", Help: "Add this to claude_desktop_config.json (Settings, Developer, Edit Config), then restart. It needs Node.js.",
			Text: indented(map[string]any{"mcpServers": map[string]any{name: map[string]any{
				"command": "npx", "args": []string{"mcp-remote", endpoint, "--header", "Authorization:${LANYARD_TOKEN}"},
				"env": map[string]string{"LANYARD_TOKEN": "Bearer " + bearer}}}})},
		{Client: "Cursor", Help: "Add this to ~/.cursor/mcp.json.",
			Text: indented(map[string]any{"mcpServers": map[string]any{name: entry}})},
		{Client: "VS Code", Help: "Add this to .vscode/mcp.json.",
			Text: indented(map[string]any{"servers": map[string]any{name: map[string]any{"type": "http", "url": endpoint,
				"headers": map[string]string{"Authorization": "Bearer " + bearer}}}})},
	}
}

func indented(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return ""
	}
	return string(b)
}

// personal is connection for a form of one of our pages.
func (h *MCPRun) personal(w http.ResponseWriter, r *http.Request) (Principal, connection.Connection, error) {
	if err := h.form(w, r); err != nil {
		return Principal{}, connection.Connection{}, err
	}
	return h.connection(r)
}

func (h *MCPRun) mintForm(w http.ResponseWriter, r *http.Request) error {
	p, c, err := h.personal(w, r)
	if err != nil {
		return err
	}
	m, err := h.Host.Mint(r.Context(), host.MintRequest{Caller: caller(p), Connection: c.Key})
	if err != nil {
		return err
	}
	v := h.view(w, r, c)
	s, _ := h.Catalogue.Server(c.Server)
	v.NewToken = m.Token.Reveal()
	v.Configs = configs(configName(s), m.URL, m.Token.Reveal())
	h.render(w, r, http.StatusOK, v)
	return nil
}

func (h *MCPRun) revokeForm(w http.ResponseWriter, r *http.Request) error {
	_, c, err := h.personal(w, r)
	if err != nil {
		return err
	}
	if err := h.forget(r, c); err != nil {
		return err
	}
	http.Redirect(w, r, connectionPath(c.ID), http.StatusSeeOther)
	return nil
}

func (h *MCPRun) tryForm(w http.ResponseWriter, r *http.Request) {
	p, c, err := h.personal(w, r)
	if err != nil {
		h.problem(w, r, err)
		return
	}
	name := r.PathValue("tool")
	known, ok := h.Host.KnownTools(r.Context(), c)
	if !ok {
		known, err = h.Host.Tools(r.Context(), caller(p), c.Key)
	}
	v := h.view(w, r, c)
	v.TryResult = &page.TryResult{Tool: name}
	arguments, argErr := formArguments(r.PostForm, known, name)
	var result *mcp.CallToolResult
	switch {
	case err != nil:
	case argErr != nil:
		err = argErr
	default:
		result, err = h.Host.CallTool(r.Context(), caller(p), c.Key, name, arguments)
	}
	if err != nil {
		problem := h.describe(r, toolError(err))
		v.TryResult.IsError, v.TryResult.Text = true, strings.TrimSpace(problem.Message+"\n"+problem.Detail)
	} else {
		v.TryResult.IsError, v.TryResult.Text = result.IsError, resultText(result)
	}
	v.Tools, v.ToolsPending = withheld(toolViews(known), c.Tools), false
	h.render(w, r, http.StatusOK, v)
}

// formArguments makes a tool's arguments from the form that its schema made.
func formArguments(form url.Values, tools []mcp.Tool, name string) (json.RawMessage, error) {
	if raw := strings.TrimSpace(form.Get("arguments")); raw != "" {
		if !json.Valid([]byte(raw)) {
			return nil, badRequest("the arguments are not JSON", "")
		}
		return json.RawMessage(raw), nil
	}
	out := map[string]any{}
	for _, t := range tools {
		if t.Name != name {
			continue
		}
		for _, f := range fields(t) {
			// Browsers send the lines of a form with CRLF.
			raw := strings.ReplaceAll(form.Get(page.ArgumentPrefix+f.Name), "\r\n", "\n")
			if raw == "" && (!f.Required || f.Type != "string") && f.Type != "boolean" {
				continue
			}
			value, err := typed(f.Type, raw)
			if err != nil {
				return nil, badRequest(fmt.Sprintf("%s must be of type %s", f.Name, f.Type), "")
			}
			out[f.Name] = value
		}
	}
	return json.Marshal(out)
}

func typed(kind, raw string) (any, error) {
	switch kind {
	case "integer":
		return strconv.ParseInt(raw, 10, 64)
	case "number":
		return strconv.ParseFloat(raw, 64)
	case "boolean":
		return raw == "true" || raw == "on", nil
	}
	return raw, nil
}

// resultText is a tool's answer as text. It is hostile and shown escaped.
func resultText(r *mcp.CallToolResult) string {
	var b strings.Builder
	for _, c := range r.Content {
		switch c := c.(type) {
		case mcp.TextContent:
			b.WriteString(c.Text + "\n")
		case mcp.ImageContent:
			fmt.Fprintf(&b, "[image, %s]\n", c.MIMEType)
		case mcp.AudioContent:
			fmt.Fprintf(&b, "[audio, %s]\n", c.MIMEType)
		default:
			b.WriteString(indented(c) + "\n")
		}
	}
	if b.Len() == 0 && r.StructuredContent != nil {
		return indented(r.StructuredContent)
	}
	return strings.TrimRight(b.String(), "\n")
}

func toolViews(tools []mcp.Tool) []page.Tool {
	var out []page.Tool
	for _, t := range tools {
		v := page.Tool{Name: t.Name, Title: t.Annotations.Title, Description: t.Description, Fields: fields(t)}
		if t.Annotations.ReadOnlyHint != nil {
			v.ReadOnly = *t.Annotations.ReadOnlyHint
		}
		v.Schema, v.NoArguments = schemaOf(t), noArguments(t)
		out = append(out, v)
	}
	return out
}

func schemaOf(t mcp.Tool) string {
	if len(t.RawInputSchema) > 0 {
		return string(t.RawInputSchema)
	}
	return indented(t.InputSchema)
}

// noArguments reports whether the schema leaves nothing to be given.
func noArguments(t mcp.Tool) bool {
	var schema struct {
		Properties        map[string]any `json:"properties"`
		PatternProperties map[string]any `json:"patternProperties"`
		AllOf             []any          `json:"allOf"`
		AnyOf             []any          `json:"anyOf"`
		OneOf             []any          `json:"oneOf"`
		Ref               string         `json:"$ref"`
	}
	err := json.Unmarshal([]byte(schemaOf(t)), &schema)
	return err == nil && len(schema.Properties)+len(schema.PatternProperties)+len(schema.AllOf)+len(schema.AnyOf)+len(schema.OneOf) == 0 && schema.Ref == ""
}

// fields makes a form of a flat schema; nil if the schema is not flat.
func fields(t mcp.Tool) []page.Field {
	var schema struct {
		Properties map[string]struct {
			Type        any    `json:"type"`
			Title       string `json:"title"`
			Description string `json:"description"`
			Enum        []any  `json:"enum"`
			Default     any    `json:"default"`
		} `json:"properties"`
		Required []string `json:"required"`
	}
	if err := json.Unmarshal([]byte(schemaOf(t)), &schema); err != nil {
		return nil
	}
	required := map[string]bool{}
	for _, name := range schema.Required {
		required[name] = true
	}
	var first, rest []page.Field
	for _, name := range sortedKeys(schema.Properties) {
		p := schema.Properties[name]
		kind, ok := p.Type.(string)
		if !ok || kind == "object" || kind == "array" {
			if required[name] {
				return nil
			}
			continue // an optional argument that a plain form cannot give
		}
		f := page.Field{Name: name, Type: kind, Label: p.Title, Description: p.Description, Required: required[name]}
		if f.Label == "" {
			f.Label = name
		}
		for _, e := range p.Enum {
			f.Enum = append(f.Enum, fmt.Sprint(e))
		}
		if p.Default != nil {
			f.Default = fmt.Sprint(p.Default)
		}
		if f.Required {
			first = append(first, f)
		} else {
			rest = append(rest, f)
		}
	}
	return append(first, rest...)
}
