package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// maxMCPBody bounds what a client may send to a server, in bytes.
const maxMCPBody = 8 << 20

// MCPRun is the function of everything between an MCP client and a running
// server.
type MCPRun struct {
	*Site
	Host        *host.Service
	Connections connection.Store
	Catalogue   Catalogue
	// Progress is what installing the server last said; empty: nothing.
	Progress func(server string) string
}

// Mount adds the function's routes.
func (h *MCPRun) Mount(mux *http.ServeMux) {
	mux.HandleFunc("/mcp/{server}", h.endpoint)
	mux.HandleFunc("POST /api/v1/connections/{id}/mcp-tokens", h.mint)
	mux.HandleFunc("GET /api/v1/connections/{id}/mcp-tokens", h.listTokens)
	mux.HandleFunc("DELETE /api/v1/connections/{id}/mcp-tokens/{token}", h.revoke)
	mux.HandleFunc("GET /api/v1/connections/{id}/tools", h.tools)
	mux.HandleFunc("POST /api/v1/connections/{id}/tools/{tool}", h.call)
	mux.HandleFunc("POST "+task.ClaimPath, h.claim)
	mux.HandleFunc("POST "+task.TokenPath, h.taskToken)
	mux.HandleFunc("POST "+task.ReportPath, h.report)
	h.mountPages(mux)
}

// endpoint is the MCP endpoint of one server: Streamable HTTP behind a bearer.
func (h *MCPRun) endpoint(w http.ResponseWriter, r *http.Request) {
	// A page of another origin must not reach a server through somebody's
	// browser (MCP, Streamable HTTP: Origin).
	if origin := r.Header.Get("Origin"); origin != "" && origin != originOf(h.BaseURL) {
		h.problemJSON(w, errCrossSite)
		return
	}
	server := r.PathValue("server")
	if _, ok := h.Catalogue.Server(server); !ok {
		h.problemJSON(w, errNotFound)
		return
	}
	c, _, err := h.Host.Bearer(r.Context(), bearer(r), server)
	if errors.Is(err, host.ErrNoToken) {
		challenge := `Bearer realm="lanyard"`
		if bearer(r) != "" {
			challenge += `, error="invalid_token"` // RFC 6750 §3.1
		}
		w.Header().Set("WWW-Authenticate", challenge)
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token",
			"error_description": host.ErrNoToken.Error(), "hint": "Make a token for this server on its connection's page: " + h.BaseURL + "/mcp/servers"})
		return
	}
	if err != nil {
		h.mcpProblem(w, r, err, connectionPath(c.ID))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxMCPBody)
	h.Host.Proxy(w, r, c, func(w http.ResponseWriter, r *http.Request, err error) { h.mcpProblem(w, r, err, connectionPath(c.ID)) })
}

// mcpProblem answers an MCP client in JSON-RPC, so that what went wrong
// reaches the person who asked.
func (h *MCPRun) mcpProblem(w http.ResponseWriter, r *http.Request, err error, path string) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return
	}
	p := h.describe(r, err)
	h.retryAfter(w, p)
	text := p.Message
	if p.Detail != "" {
		text = p.Detail
	}
	text += ". " + p.Next
	if path != "" {
		text += " " + h.BaseURL + path
	}
	writeJSON(w, p.Status, map[string]any{"jsonrpc": "2.0", "id": nil, "error": map[string]any{"code": -32000, "message": text,
		"data": map[string]string{"error": p.Code}}})
}

// connection returns the one in the path, if the principal may use it.
func (h *MCPRun) connection(r *http.Request) (Principal, connection.Connection, error) {
	p, err := h.principal(r)
	if err != nil {
		return p, connection.Connection{}, err
	}
	c, err := own(r.Context(), h.Connections, p, r.PathValue("id"))
	return p, c, err
}

type mcpTokenJSON struct {
	ID        string    `json:"id"`
	Server    string    `json:"server"`
	Token     string    `json:"token,omitempty"`
	URL       string    `json:"url"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (h *MCPRun) mint(w http.ResponseWriter, r *http.Request) {
	var in struct {
		TTL int `json:"ttl"`
	}
	p, c, err := h.connection(r)
	if err == nil && r.ContentLength != 0 {
		err = readJSON(w, r, &in)
	}
	var ttl time.Duration
	if err == nil {
		ttl, err = seconds("ttl", in.TTL)
	}
	var m host.Minted
	if err == nil {
		m, err = h.Host.Mint(r.Context(), host.MintRequest{Caller: caller(p), Connection: c.Key, TTL: ttl, Seed: p.seed(r, "mcp-token "+c.ID)})
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, mcpTokenJSON{m.ID, m.Server, m.Token.Reveal(), m.URL, m.CreatedAt, m.ExpiresAt})
}

func (h *MCPRun) listTokens(w http.ResponseWriter, r *http.Request) {
	_, c, err := h.connection(r)
	var found []host.MCPToken
	if err == nil {
		found, err = h.Host.Store.MCPTokens(r.Context(), c.Key)
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	out := []mcpTokenJSON{}
	for _, m := range found {
		out = append(out, mcpTokenJSON{m.ID, m.Server, "", h.Host.EndpointURL(c), m.CreatedAt, m.ExpiresAt})
	}
	writeJSON(w, http.StatusOK, map[string]any{"mcp_tokens": out})
}

func (h *MCPRun) revoke(w http.ResponseWriter, r *http.Request) {
	_, c, err := h.connection(r)
	if err == nil {
		err = h.Host.Store.DeleteMCPToken(r.Context(), c.Key, r.PathValue("token"))
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *MCPRun) tools(w http.ResponseWriter, r *http.Request) {
	p, c, err := h.connection(r)
	if err != nil {
		h.problem(w, r, err)
		return
	}
	// A page that waits for a server asks again and again, and shows between
	// how far the start has come.
	if raw := r.URL.Query().Get("wait"); raw != "" {
		seconds, convErr := strconv.Atoi(raw)
		if convErr != nil || seconds < 0 || seconds > 60 {
			h.problem(w, r, badRequest("wait is a number of seconds from 0 to 60", ""))
			return
		}
		err = h.Host.Ready(r.Context(), caller(p), c.Key, time.Duration(seconds)*time.Second)
	}
	var found []mcp.Tool
	if err == nil {
		found, err = h.Host.Tools(r.Context(), caller(p), c.Key)
	}
	if err != nil {
		h.problem(w, r, h.withProgress(c, err))
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"tools": found})
}

// withProgress says how far a start has come.
func (h *MCPRun) withProgress(c connection.Connection, err error) error {
	if line := h.Progress(c.Server); errors.Is(err, host.ErrStarting) && line != "" {
		p := *problemOf(err)
		p.Detail = line
		return &p
	}
	return err
}

func (h *MCPRun) call(w http.ResponseWriter, r *http.Request) {
	p, c, err := h.connection(r)
	var arguments json.RawMessage
	if err == nil && r.ContentLength != 0 {
		err = readJSON(w, r, &arguments)
	}
	if err == nil && len(arguments) > 0 && arguments[0] != '{' {
		err = badRequest("a tool's arguments are a JSON object", "")
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	result, err := h.Host.CallTool(r.Context(), caller(p), c.Key, r.PathValue("tool"), arguments)
	if err != nil {
		h.problem(w, r, h.withProgress(c, toolError(err)))
		return
	}
	writeJSON(w, http.StatusOK, result)
}

// toolError: what the server itself answered is its own affair, and text to be
// shown as such.
func toolError(err error) error {
	if problemOf(err) != nil {
		return err
	}
	return &Problem{Status: http.StatusBadGateway, Code: "tool_failed", Heading: "The tool failed",
		Message: "the server answered with an error", Detail: err.Error(), Next: "Look at the tool's arguments and try again."}
}

// The control routes: a task speaks, and proves itself with what it was
// started with.

func (h *MCPRun) claim(w http.ResponseWriter, r *http.Request) {
	var in task.ClaimRequest
	h.control(w, r, &in, func(id token.Secret) (any, error) { return h.Host.Claim(r.Context(), id, in) })
}

func (h *MCPRun) taskToken(w http.ResponseWriter, r *http.Request) {
	var in task.TokenRequest
	h.control(w, r, &in, func(id token.Secret) (any, error) { return h.Host.TaskToken(r.Context(), id, in) })
}

func (h *MCPRun) report(w http.ResponseWriter, r *http.Request) {
	var in task.Report
	h.control(w, r, &in, func(id token.Secret) (any, error) { return struct{}{}, h.Host.Report(r.Context(), id, in) })
}

func (h *MCPRun) control(w http.ResponseWriter, r *http.Request, in any, do func(token.Secret) (any, error)) {
	identity := bearer(r)
	err := readJSON(w, r, in)
	var out any
	switch {
	case identity == "":
		err = task.ErrRefused
	case err == nil:
		out, err = do(identity)
	}
	if err != nil {
		h.problemJSON(w, h.describe(r, err))
		return
	}
	writeJSON(w, http.StatusOK, out)
}
