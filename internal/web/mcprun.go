package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// maxReport bounds what a task reports, in bytes: its server's lists are in it.
const maxReport = 10 << 20

// MCPRun is the function of everything between an MCP client and a running
// server.
type MCPRun struct {
	*Site
	Host        *host.Service
	Connections connection.Store
	Catalogue   Catalogue
	// SignIn leads clients to where they sign in; nil: they cannot. Grants are what
	// persons allowed those that have.
	SignIn SignIn
	Grants Grants
	// Progress is what installing the server last said; empty: nothing.
	Progress func(server string) string
	// TaskIdentity is who the platform says a task that calls us is; empty:
	// nobody. Nil: a task shows the secret that it was started with.
	TaskIdentity func(r *http.Request) token.Secret
}

// SignIn is the authorization server, as far as an MCP endpoint speaks of it.
type SignIn interface {
	// Challenge is what WWW-Authenticate says at the path of an endpoint: see
	// [authserver.Server.Challenge].
	Challenge(path, code, description string, scopes []string) string
}

// Mount adds the function's routes.
func (h *MCPRun) Mount(mux *http.ServeMux) {
	h.MountEndpoint(mux)
	mux.HandleFunc("POST /api/v1/connections/{id}/mcp-tokens", h.route(h.mint))
	mux.HandleFunc("GET /api/v1/connections/{id}/mcp-tokens", h.route(h.listTokens))
	mux.HandleFunc("DELETE /api/v1/connections/{id}/mcp-tokens/{token}", h.route(h.revoke))
	mux.HandleFunc("GET /api/v1/connections/{id}/tools", h.route(h.tools))
	mux.HandleFunc("POST /api/v1/connections/{id}/tools/{tool}", h.route(h.call))
	mux.HandleFunc("POST "+task.ClaimPath, h.claim)
	mux.HandleFunc("POST "+task.TokenPath, h.taskToken)
	mux.HandleFunc("POST "+task.ReportPath, h.report)
	mux.HandleFunc("POST "+task.WarmPath, h.warm)
	h.mountPages(mux)
	h.mountAll(mux)
	h.mountClients(mux)
}

// MountEndpoint adds the endpoint of MCP clients alone.
func (h *MCPRun) MountEndpoint(mux *http.ServeMux) {
	mux.HandleFunc("/mcp/{server}", h.endpoint)
	mux.HandleFunc("/t/{tenant}/mcp/{server}", h.endpoint)
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

func (h *MCPRun) mint(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		TTL int `json:"ttl"`
	}
	p, c, err := h.connection(r)
	if err != nil {
		return err
	}
	if r.ContentLength != 0 {
		if err := readJSON(w, r, &in); err != nil {
			return err
		}
	}
	ttl, err := seconds("ttl", in.TTL)
	if err != nil {
		return err
	}
	m, err := h.Host.Mint(r.Context(), host.MintRequest{Caller: caller(p), Connection: c.Key, TTL: ttl, Seed: p.seed(r, "mcp-token "+c.ID)})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, mcpTokenJSON{m.ID, m.Server, m.Token.Reveal(), m.URL, m.CreatedAt, m.ExpiresAt})
	return nil
}

func (h *MCPRun) listTokens(w http.ResponseWriter, r *http.Request) error {
	_, c, err := h.connection(r)
	if err != nil {
		return err
	}
	found, err := h.Host.Store.MCPTokens(r.Context(), c.Key)
	if err != nil {
		return err
	}
	out := []mcpTokenJSON{}
	for _, m := range found {
		out = append(out, mcpTokenJSON{m.ID, m.Server, "", h.Host.EndpointURL(c), m.CreatedAt, m.ExpiresAt})
	}
	writeJSON(w, http.StatusOK, map[string]any{"mcp_tokens": out})
	return nil
}

func (h *MCPRun) revoke(w http.ResponseWriter, r *http.Request) error {
	_, c, err := h.connection(r)
	if err != nil {
		return err
	}
	if err := h.forget(r, c); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

var errNoSuchMCPToken = &Problem{Status: 404, Code: "token_unknown", Heading: "There is no such token",
	Message: "this connection has no MCP token of that id", Next: "It may have been revoked already. List the connection's tokens."}

// forget revokes the MCP token in the path.
func (h *MCPRun) forget(r *http.Request, c connection.Connection) error {
	err := h.Host.Store.DeleteMCPToken(r.Context(), c.Key, r.PathValue("token"))
	if errors.Is(err, host.ErrNoToken) {
		return errNoSuchMCPToken
	}
	return err
}

func (h *MCPRun) tools(w http.ResponseWriter, r *http.Request) error {
	p, c, err := h.connection(r)
	if err != nil {
		return err
	}
	// A page that waits for a server asks again and again, and shows between
	// how far the start has come.
	if raw := r.URL.Query().Get("wait"); raw != "" {
		n, err := strconv.Atoi(raw)
		if err != nil || n < 0 || n > 60 {
			return badRequest("wait is a number of seconds from 0 to 60", "Leave it out to wait as long as it takes.")
		}
		if err := h.Host.Ready(r.Context(), caller(p), c.Key, time.Duration(n)*time.Second); err != nil {
			return h.withProgress(c, err)
		}
	}
	found, err := h.Host.Tools(r.Context(), caller(p), c.Key)
	if err != nil {
		return h.withProgress(c, err)
	}
	writeJSON(w, http.StatusOK, map[string]any{"tools": found})
	return nil
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

func (h *MCPRun) call(w http.ResponseWriter, r *http.Request) error {
	p, c, err := h.connection(r)
	if err != nil {
		return err
	}
	var arguments json.RawMessage
	if r.ContentLength != 0 {
		if err := readJSON(w, r, &arguments); err != nil {
			return err
		}
	}
	if len(arguments) > 0 && arguments[0] != '{' {
		return badRequest("a tool's arguments are a JSON object", "Send {} for a tool without arguments.")
	}
	result, err := h.Host.CallTool(r.Context(), caller(p), c.Key, r.PathValue("tool"), arguments)
	if err != nil {
		return h.withProgress(c, toolError(err))
	}
	writeJSON(w, http.StatusOK, result)
	return nil
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
	h.control(w, r, &in, maxBody, func(id token.Secret) (any, error) { return h.Host.Claim(r.Context(), id, in) })
}

func (h *MCPRun) taskToken(w http.ResponseWriter, r *http.Request) {
	var in task.TokenRequest
	h.control(w, r, &in, maxBody, func(id token.Secret) (any, error) { return h.Host.TaskToken(r.Context(), id, in) })
}

func (h *MCPRun) report(w http.ResponseWriter, r *http.Request) {
	var in task.Report
	h.control(w, r, &in, maxReport, func(id token.Secret) (any, error) { return struct{}{}, h.Host.Report(r.Context(), id, in) })
}

func (h *MCPRun) warm(w http.ResponseWriter, r *http.Request) {
	var in task.WarmRequest
	h.control(w, r, &in, maxBody, func(id token.Secret) (any, error) { return h.Host.Register(r.Context(), id, in) })
}

func (h *MCPRun) control(w http.ResponseWriter, r *http.Request, in any, most int64, do func(token.Secret) (any, error)) {
	identity := bearer(r)
	if h.TaskIdentity != nil {
		identity = h.TaskIdentity(r)
	}
	err := readLargeJSON(w, r, in, most)
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
