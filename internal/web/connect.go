package web

import (
	"context"
	"net/http"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// AuditReader lists the audit.
type AuditReader interface {
	// List returns a tenant's lines, newest first, and the cursor of the next
	// page. Empty fields of the filter select all.
	List(ctx context.Context, tenant string, f struct{ Connection, User string }, after string, limit int) ([]vault.Line, string, error)
}

// Catalogue is what the pages show of the presets.
type Catalogue interface {
	flow.Catalogue
	Servers() []presets.Server
}

// Connect is the function of everything before the provider: links, flows, our
// consent page, the lists. It can open no secret.
type Connect struct {
	*Site
	Flows       *flow.Starter
	Connections connection.Store
	Catalogue   Catalogue
	Audit       AuditReader
	SignIns     *signin.Starter
	// OAuth signs MCP clients in.
	OAuth *authserver.Server
	// Viewer is the address that a request came from; nil: its peer's.
	Viewer func(r *http.Request) string
	// ClientCommand is the command that sets a tenant's client for a provider;
	// nil: clients are set in the environment.
	ClientCommand func(tenant, provider string) string
	// ToolsCount is how many tools a connection's server has, where that is known;
	// nil: what the preset knows is known.
	ToolsCount func(ctx context.Context, c connection.Connection) (int, bool)
	// Reconnected is told that a connection has other tokens than before.
	Reconnected func(ctx context.Context, k connection.Key)
}

// Mount adds the function's routes.
func (h *Connect) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", h.home)
	mux.Handle("GET /static/", h.Pages.Static())
	mux.HandleFunc("GET /oauth/client-metadata/{name}", h.route(h.clientDocument))
	mux.HandleFunc("POST /api/v1/links", h.route(h.createLink))
	mux.HandleFunc("GET /api/v1/links/{id}", h.route(h.getLink))
	mux.HandleFunc("DELETE /api/v1/links/{id}", h.route(h.deleteLink))
	mux.HandleFunc("GET /api/v1/mcp/servers", h.route(h.listServers))
	mux.HandleFunc("POST /api/v1/mcp/servers/{name}/oauth/connect", h.route(h.startFlow))
	mux.HandleFunc("GET /api/v1/flows/{id}", h.route(h.getFlow))
	mux.HandleFunc("POST /api/v1/flows/{id}/confirm", h.route(h.confirmFlow))
	mux.HandleFunc("GET /api/v1/connections", h.route(h.listConnections))
	mux.HandleFunc("GET /api/v1/connections/{id}", h.route(h.getConnection))
	mux.HandleFunc("PATCH /api/v1/connections/{id}", h.route(h.changeConnection))
	mux.HandleFunc("GET /api/v1/audit", h.route(h.audit))
	h.mountPages(mux)
	h.mountOAuth(mux)
	h.mountSignIn(mux)
}

type serverJSON struct {
	Name        string           `json:"name"`
	DisplayName string           `json:"display_name"`
	AuthType    presets.AuthType `json:"auth_type"`
	// RemoteHost is where the server runs, if not here.
	RemoteHost   string            `json:"remote_host,omitempty"`
	Scopes       []scopeJSON       `json:"scopes"`
	Status       string            `json:"status"`
	Connected    bool              `json:"connected"`
	ConnectionID *string           `json:"connection_id"`
	Connections  []connectionBrief `json:"connections"`
	ToolsCount   *int              `json:"tools_count"`
}

type scopeJSON struct {
	Scope string `json:"scope"`
	Why   string `json:"why,omitempty"`
}

type connectionBrief struct {
	ID     string            `json:"id"`
	Label  string            `json:"label"`
	Status connection.Status `json:"status"`
}

// listServers answers whole: a deployment has dozens of servers, not thousands.
func (h *Connect) listServers(w http.ResponseWriter, r *http.Request) error {
	p, user, err := h.forUser(r, r.URL.Query().Get("user_id"))
	if err != nil {
		return err
	}
	own, err := h.connectionsOf(r.Context(), p.Tenant, user)
	if err != nil {
		return err
	}
	out := []serverJSON{}
	for _, s := range h.offered(p.Session) {
		out = append(out, h.serverAnswer(r.Context(), p.Tenant, s, own))
	}
	writeJSON(w, http.StatusOK, map[string]any{"servers": out})
	return nil
}

func (h *Connect) serverAnswer(ctx context.Context, tenant string, s presets.Server, own []connection.Connection) serverJSON {
	j := serverJSON{Name: s.Name, DisplayName: s.DisplayName, AuthType: s.AuthType, RemoteHost: s.RemoteHost(), Scopes: []scopeJSON{}, Connections: []connectionBrief{}}
	for _, sc := range s.OAuthScopes {
		j.Scopes = append(j.Scopes, scopeJSON{sc.Scope, sc.Why})
	}
	j.Status = "available"
	if s.AuthType == presets.TypeOAuth && !s.Discovers() { // which finds out who needs one
		if err := h.Flows.HasClient(ctx, tenant, s); err != nil {
			j.Status = "needs_client"
		}
	}
	for _, c := range own {
		if c.Server != s.Name || c.Status == connection.Deleting {
			continue
		}
		j.Connections = append(j.Connections, connectionBrief{c.ID, c.DisplayLabel(), c.Status})
		id := c.ID
		j.ConnectionID, j.Status = &id, string(c.Status)
		j.Connected = j.Connected || c.Status == connection.Connected
		if h.ToolsCount == nil {
			continue
		}
		if n, ok := h.ToolsCount(ctx, c); ok {
			j.ToolsCount = &n
		}
	}
	if n, ok := s.ToolsCount(); ok && j.ToolsCount == nil {
		j.ToolsCount = &n
	}
	return j
}

// offered are the servers that a session may connect; for a backend, all.
func (h *Connect) offered(ses flow.Session) []presets.Server {
	all := h.Catalogue.Servers()
	if len(ses.Servers) == 0 {
		return all
	}
	var out []presets.Server
	for _, s := range all {
		if offers(ses, s.Name) {
			out = append(out, s)
		}
	}
	return out
}

func offers(ses flow.Session, server string) bool {
	if len(ses.Servers) == 0 {
		return true
	}
	for _, name := range ses.Servers {
		if name == server {
			return true
		}
	}
	return false
}

// forUser returns who asks and for which user.
func (h *Connect) forUser(r *http.Request, named string) (Principal, string, error) {
	p, err := h.principal(r)
	if err != nil {
		return p, "", err
	}
	user, err := p.For(named)
	return p, user, err
}

func (h *Connect) connectionsOf(ctx context.Context, tenant, user string) ([]connection.Connection, error) {
	var all []connection.Connection
	page := connection.Page{Limit: 100}
	for {
		found, next, err := h.Connections.List(ctx, tenant, connection.Filter{UserID: user}, page)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
		if next == "" {
			return all, nil
		}
		page.Cursor = next
	}
}
