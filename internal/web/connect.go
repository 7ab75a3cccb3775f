package web

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
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
	// Owner signs a browser of this machine in as its user; empty: nobody.
	Owner string
	// ToolsCount is how many tools a connection's server last listed.
	ToolsCount func(k connection.Key) (int, bool)
}

// Mount adds the function's routes.
func (h *Connect) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", h.home)
	mux.Handle("GET /static/", h.Pages.Static())
	mux.HandleFunc("POST /api/v1/links", h.createLink)
	mux.HandleFunc("GET /api/v1/links/{id}", h.getLink)
	mux.HandleFunc("DELETE /api/v1/links/{id}", h.deleteLink)
	mux.HandleFunc("GET /api/v1/mcp/servers", h.listServers)
	mux.HandleFunc("POST /api/v1/mcp/servers/{name}/oauth/connect", h.startFlow)
	mux.HandleFunc("GET /api/v1/flows/{id}", h.getFlow)
	mux.HandleFunc("POST /api/v1/flows/{id}/confirm", h.confirmFlow)
	mux.HandleFunc("GET /api/v1/connections", h.listConnections)
	mux.HandleFunc("GET /api/v1/connections/{id}", h.getConnection)
	mux.HandleFunc("PATCH /api/v1/connections/{id}", h.renameConnection)
	mux.HandleFunc("GET /api/v1/audit", h.audit)
	h.mountPages(mux)
}

type linkJSON struct {
	ID        string    `json:"id"`
	URL       string    `json:"url,omitempty"`
	UserID    string    `json:"user_id"`
	Servers   []string  `json:"servers,omitempty"`
	ReturnURL string    `json:"return_url,omitempty"`
	Claimed   bool      `json:"claimed"`
	ExpiresAt time.Time `json:"expires_at"`
}

func linkAnswer(l flow.Link, url string) linkJSON {
	return linkJSON{ID: l.ID, URL: url, UserID: l.UserID, Servers: l.Servers, ReturnURL: l.ReturnURL, Claimed: l.Browser != "", ExpiresAt: l.ExpiresAt}
}

func (h *Connect) createLink(w http.ResponseWriter, r *http.Request) {
	var in struct {
		UserID    string            `json:"user_id"`
		Servers   []string          `json:"servers"`
		ReturnURL string            `json:"return_url"`
		TTL       int               `json:"ttl"`
		Params    map[string]string `json:"params"`
	}
	p, err := h.backend(r)
	if err == nil {
		err = readJSON(w, r, &in)
	}
	user := ""
	if err == nil {
		user, err = p.For(in.UserID)
	}
	var ttl time.Duration
	if err == nil {
		ttl, err = seconds("ttl", in.TTL)
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	l, path, err := h.Flows.CreateLink(r.Context(), flow.LinkRequest{
		Tenant: p.Tenant, UserID: user, Servers: in.Servers, ReturnURL: in.ReturnURL, Parameters: in.Params,
		TTL: ttl, Seed: p.seed(r, "link"),
	})
	if err != nil {
		h.problem(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, linkAnswer(l, h.BaseURL+path))
}

func (h *Connect) getLink(w http.ResponseWriter, r *http.Request) {
	p, err := h.backend(r)
	var l flow.Link
	if err == nil {
		l, err = h.Flows.Store.GetLink(r.Context(), p.Tenant, r.PathValue("id"))
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, linkAnswer(l, ""))
}

func (h *Connect) deleteLink(w http.ResponseWriter, r *http.Request) {
	p, err := h.backend(r)
	if err == nil {
		err = h.Flows.Store.DeleteLink(r.Context(), p.Tenant, r.PathValue("id"))
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

type serverJSON struct {
	Name         string            `json:"name"`
	DisplayName  string            `json:"display_name"`
	AuthType     presets.AuthType  `json:"auth_type"`
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
func (h *Connect) listServers(w http.ResponseWriter, r *http.Request) {
	p, user, err := h.forUser(r, r.URL.Query().Get("user_id"))
	if err != nil {
		h.problem(w, r, err)
		return
	}
	own, err := h.connectionsOf(r.Context(), p.Tenant, user)
	if err != nil {
		h.problem(w, r, err)
		return
	}
	out := []serverJSON{}
	for _, s := range h.offered(p.Session) {
		out = append(out, h.serverAnswer(r.Context(), p.Tenant, s, own))
	}
	writeJSON(w, http.StatusOK, map[string]any{"servers": out})
}

func (h *Connect) serverAnswer(ctx context.Context, tenant string, s presets.Server, own []connection.Connection) serverJSON {
	j := serverJSON{Name: s.Name, DisplayName: s.DisplayName, AuthType: s.AuthType, Scopes: []scopeJSON{}, Connections: []connectionBrief{}}
	for _, sc := range s.OAuthScopes {
		j.Scopes = append(j.Scopes, scopeJSON{sc.Scope, sc.Why})
	}
	j.Status = "available"
	if s.AuthType == presets.TypeOAuth {
		if _, _, err := h.Flows.Clients.ClientID(ctx, tenant, s.OAuthService); err != nil {
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
		if n, ok := h.ToolsCount(c.Key); ok {
			j.ToolsCount = &n
		}
	}
	if j.ToolsCount == nil && len(s.Tools) > 0 {
		n := len(s.Tools)
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

func (h *Connect) startFlow(w http.ResponseWriter, r *http.Request) {
	var in struct {
		UserID            string            `json:"user_id"`
		Scopes            []string          `json:"scopes"`
		ReturnURL         string            `json:"return_url"`
		Params            map[string]string `json:"params"`
		ConnectionID      string            `json:"connection_id"`
		AllowOtherAccount bool              `json:"allow_other_account"`
		Popup             bool              `json:"popup"`
	}
	p, err := h.principal(r)
	if err == nil {
		err = readJSON(w, r, &in)
	}
	user := ""
	if err == nil {
		user, err = p.For(in.UserID)
	}
	if err == nil && !offers(p.Session, r.PathValue("name")) {
		err = flow.ErrServer
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	f, err := h.Flows.Start(r.Context(), flow.StartRequest{
		Tenant: p.Tenant, UserID: user, Server: r.PathValue("name"), Scopes: in.Scopes, ReturnURL: in.ReturnURL,
		Parameters: in.Params, ConnectionID: in.ConnectionID, AllowOtherAccount: in.AllowOtherAccount, Popup: in.Popup,
		Browser: p.Browser, Owner: ownerSession(p), Seed: p.seed(r, "flow"),
	})
	if err != nil {
		h.problem(w, r, err)
		return
	}
	// state repeats the flow's id: the OAuth state proper is minted after
	// consent and is nobody's business but the browser's.
	writeJSON(w, http.StatusOK, map[string]string{"authorization_url": h.BaseURL + "/c/" + f.ID, "flow_id": f.ID, "state": f.ID})
}

// ownerSession reports whether the person at this machine asks, not somebody
// who was sent a link.
func ownerSession(p Principal) bool { return !p.APIKey() && p.Session.LinkID == "" }

type flowJSON struct {
	ID           string      `json:"id"`
	Server       string      `json:"server"`
	Status       flow.Status `json:"status"`
	ConnectionID string      `json:"connection_id,omitempty"`
	Error        string      `json:"error,omitempty"`
	Description  string      `json:"error_description,omitempty"`
	Missing      []string    `json:"missing_scopes,omitempty"`
	ExpiresAt    time.Time   `json:"expires_at"`
}

func flowAnswer(f flow.Flow) flowJSON {
	return flowJSON{f.ID, f.Server, f.Status, f.Result.ConnectionID, f.Result.Code, f.Result.Detail, f.Result.Missing, f.ExpiresAt}
}

// getFlow is what a page that opened a popup polls.
func (h *Connect) getFlow(w http.ResponseWriter, r *http.Request) {
	tenant := ""
	if bearer(r) != "" {
		p, err := h.backend(r)
		if err != nil {
			h.problem(w, r, err)
			return
		}
		tenant = p.Tenant
	}
	f, err := h.Flows.Look(r.Context(), r.PathValue("id"))
	if err == nil && f.Tenant != tenant && (tenant != "" || f.Browser == "" || f.Browser != h.known(r)) {
		err = flow.ErrFlowUnknown
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, flowAnswer(f))
}

func (h *Connect) confirmFlow(w http.ResponseWriter, r *http.Request) {
	var in struct {
		UserID string `json:"user_id"`
	}
	p, err := h.backend(r)
	if err == nil {
		err = readJSON(w, r, &in)
	}
	var f flow.Flow
	if err == nil {
		f, err = h.Flows.Confirm(r.Context(), p.Tenant, r.PathValue("id"), in.UserID)
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, flowAnswer(f))
}

type connectionJSON struct {
	ID            string              `json:"id"`
	UserID        string              `json:"user_id"`
	Server        string              `json:"server"`
	Provider      string              `json:"provider,omitempty"`
	Status        connection.Status   `json:"status"`
	Label         string              `json:"label"`
	Account       connection.Account  `json:"account"`
	Scopes        []string            `json:"scopes"`
	MissingScopes []string            `json:"missing_scopes,omitempty"`
	CreatedAt     time.Time           `json:"created_at"`
	ConnectedAt   *time.Time          `json:"connected_at"`
	ExpiresAt     *time.Time          `json:"expires_at"`
	LastRefreshAt *time.Time          `json:"last_refresh_at"`
	LastUsedAt    *time.Time          `json:"last_used_at"`
	LastError     *connection.Failure `json:"last_error"`
}

func connectionAnswer(c connection.Connection) connectionJSON {
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	return connectionJSON{
		ID: c.ID, UserID: c.UserID, Server: c.Server, Provider: c.Provider, Status: c.Status, Label: c.DisplayLabel(),
		Account: c.Account, Scopes: append([]string{}, c.Scopes...), MissingScopes: flow.MissingScopes(c.ScopesAsked, c.Scopes),
		CreatedAt: c.CreatedAt, ConnectedAt: at(c.ConnectedAt), ExpiresAt: at(c.Set.AccessExpiresAt),
		LastRefreshAt: at(c.LastRefreshAt), LastUsedAt: at(c.LastUsedAt), LastError: c.Failure,
	}
}

// pageOf reads cursor and limit.
func pageOf(r *http.Request) (connection.Page, error) {
	p := connection.Page{Cursor: r.URL.Query().Get("cursor"), Limit: 50}
	if raw := r.URL.Query().Get("limit"); raw != "" {
		n, err := strconv.Atoi(raw)
		if err != nil || n < 1 || n > 200 {
			return p, badRequest("limit is a number from 1 to 200", "")
		}
		p.Limit = n
	}
	return p, nil
}

func (h *Connect) listConnections(w http.ResponseWriter, r *http.Request) {
	p, err := h.principal(r)
	q := r.URL.Query()
	f := connection.Filter{UserID: q.Get("user_id"), Server: q.Get("server")}
	if err == nil && !p.APIKey() {
		f.UserID, err = p.For(f.UserID)
	}
	var pg connection.Page
	if err == nil {
		pg, err = pageOf(r)
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	found, next, err := h.Connections.List(r.Context(), p.Tenant, f, pg)
	if err != nil {
		h.problem(w, r, err)
		return
	}
	out := []connectionJSON{}
	for _, c := range found {
		if c.Status != connection.Deleting {
			out = append(out, connectionAnswer(c))
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"connections": out, "next_cursor": next})
}

// own returns the connection in the path if it is the principal's.
func own(ctx context.Context, store connection.Store, p Principal, id string) (connection.Connection, error) {
	c, err := store.Get(ctx, connection.Key{Tenant: p.Tenant, ID: id})
	if err == nil && (p.User != "" && c.UserID != p.User || c.Status == connection.Deleting) {
		return connection.Connection{}, connection.ErrNotFound
	}
	return c, err
}

func (h *Connect) getConnection(w http.ResponseWriter, r *http.Request) {
	p, err := h.principal(r)
	var c connection.Connection
	if err == nil {
		c, err = own(r.Context(), h.Connections, p, r.PathValue("id"))
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, connectionAnswer(c))
}

func (h *Connect) renameConnection(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Label string `json:"label"`
	}
	p, err := h.principal(r)
	if err == nil {
		err = readJSON(w, r, &in)
	}
	var c connection.Connection
	if err == nil {
		c, err = h.rename(r.Context(), p, r.PathValue("id"), in.Label)
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, connectionAnswer(c))
}

func (h *Connect) rename(ctx context.Context, p Principal, id, label string) (connection.Connection, error) {
	label = strings.TrimSpace(label)
	if len(label) > 200 {
		return connection.Connection{}, badRequest("the label is longer than 200 bytes", "Choose a shorter one.")
	}
	c, err := own(ctx, h.Connections, p, id)
	if err != nil {
		return c, err
	}
	return h.Connections.Update(ctx, c.Key, func(c *connection.Connection) error {
		c.Label = label
		return nil
	})
}

func (h *Connect) audit(w http.ResponseWriter, r *http.Request) {
	p, err := h.backend(r)
	var pg connection.Page
	if err == nil {
		pg, err = pageOf(r)
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	q := r.URL.Query()
	lines, next, err := h.Audit.List(r.Context(), p.Tenant, struct{ Connection, User string }{q.Get("connection_id"), q.Get("user_id")}, pg.Cursor, pg.Limit)
	if err != nil {
		h.problem(w, r, err)
		return
	}
	if lines == nil {
		lines = []vault.Line{}
	}
	writeJSON(w, http.StatusOK, map[string]any{"audit": lines, "next_cursor": next})
}
