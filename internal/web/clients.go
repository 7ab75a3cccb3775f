package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/page"
)

// Grants are what persons allowed MCP clients that have signed in: the store of
// package authserver.
type Grants interface {
	Grants(ctx context.Context, tenant, user string) ([]authserver.Grant, error)
	DeleteGrant(ctx context.Context, id string) error
	GetConsent(ctx context.Context, tenant, user, client, resource string) (authserver.Consent, error)
	SaveConsent(ctx context.Context, c authserver.Consent) error
}

// mountClients adds what there is for the clients that have signed in.
func (h *MCPRun) mountClients(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/connections/{id}/clients", h.route(h.listClients))
	mux.HandleFunc("DELETE /api/v1/connections/{id}/clients/{grant}", h.route(h.endClient))
	mux.HandleFunc("GET /api/v1/mcp-clients", h.route(h.listAllClients))
	mux.HandleFunc("DELETE /api/v1/mcp-clients/{grant}", h.route(h.endAllClient))
	mux.HandleFunc("POST /mcp/connections/{id}/clients/{grant}/revoke", h.route(h.endClientForm))
	mux.HandleFunc("POST /mcp/all/clients/{grant}/revoke", h.route(h.endAllClientForm))
}

var errNoClient = &Problem{Status: 404, Code: "client_unknown", Heading: "There is no such client",
	Message: "no MCP client of that id has signed in here", Next: "It may have been revoked already. List the clients."}

// clientsOf are a user's grants that live and that match, oldest first.
func clientsOf(ctx context.Context, grants Grants, tenant, user string, match func(authserver.Grant) bool) ([]authserver.Grant, error) {
	if grants == nil {
		return nil, nil
	}
	found, err := grants.Grants(ctx, tenant, user)
	now := time.Now()
	return slices.DeleteFunc(found, func(g authserver.Grant) bool {
		return !g.Code.Taken || now.After(g.ExpiresAt) || !match(g) // a code that nobody took let nobody in
	}), err
}

func ofConnection(id string) func(authserver.Grant) bool {
	return func(g authserver.Grant) bool { return g.Connection == id }
}

// ofAll are those for all servers that the principal may know of: one whose link
// is for some servers sees those for no others.
func ofAll(p Principal) func(authserver.Grant) bool {
	return func(g authserver.Grant) bool { return g.Server == "" && within(p.Session, g.Servers) }
}

// revokeClient ends what a client was allowed, from its next request on, and
// that its person is not asked again.
func revokeClient(ctx context.Context, grants Grants, found []authserver.Grant, id string) error {
	i := slices.IndexFunc(found, func(g authserver.Grant) bool { return g.ID == id })
	if i < 0 {
		return errNoClient
	}
	g := found[i]
	if err := grants.DeleteGrant(ctx, g.ID); err != nil {
		return err
	}
	c, err := grants.GetConsent(ctx, g.Tenant, g.UserID, g.ClientID, g.Resource)
	if errors.Is(err, authserver.ErrNoConsent) {
		return nil
	}
	if err != nil {
		return err
	}
	c.ExpiresAt = time.Now().UTC()
	return grants.SaveConsent(ctx, c)
}

type clientJSON struct {
	ID string `json:"id"`
	// Name is what the client calls itself.
	Name      string     `json:"name"`
	ClientID  string     `json:"client_id"`
	Scopes    []string   `json:"scopes"`
	CreatedAt time.Time  `json:"created_at"`
	UsedAt    *time.Time `json:"used_at"`
	ExpiresAt time.Time  `json:"expires_at"`
}

func writeClients(w http.ResponseWriter, found []authserver.Grant) {
	out := []clientJSON{}
	for _, g := range found {
		out = append(out, clientJSON{g.ID, g.ClientName, g.ClientID, append([]string{}, g.Scopes...), g.CreatedAt, at(g.UsedAt), g.ExpiresAt})
	}
	writeJSON(w, http.StatusOK, map[string]any{"clients": out})
}

func clientRows(found []authserver.Grant) (out []page.ClientRow) {
	for _, g := range found {
		name := cmp.Or(bounded(g.ClientName), bounded(g.ClientID))
		out = append(out, page.ClientRow{ID: g.ID, Name: name, CreatedAt: g.CreatedAt, UsedAt: g.UsedAt})
	}
	return out
}

// clients are the clients of the connection in the path.
func (h *MCPRun) clients(r *http.Request) ([]authserver.Grant, error) {
	p, c, err := h.connection(r)
	if err != nil {
		return nil, err
	}
	return clientsOf(r.Context(), h.Grants, p.Tenant, c.UserID, ofConnection(c.ID))
}

func (h *MCPRun) listClients(w http.ResponseWriter, r *http.Request) error {
	found, err := h.clients(r)
	if err != nil {
		return err
	}
	writeClients(w, found)
	return nil
}

// end revokes the one of the clients that the path names, if they were found.
func (h *MCPRun) end(r *http.Request, found []authserver.Grant, err error) error {
	if err != nil {
		return err
	}
	return revokeClient(r.Context(), h.Grants, found, r.PathValue("grant"))
}

func (h *MCPRun) endClient(w http.ResponseWriter, r *http.Request) error {
	found, err := h.clients(r)
	if err := h.end(r, found, err); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *MCPRun) endClientForm(w http.ResponseWriter, r *http.Request) error {
	if err := h.form(w, r); err != nil {
		return err
	}
	found, err := h.clients(r)
	if err := h.end(r, found, err); err != nil {
		return err
	}
	http.Redirect(w, r, connectionPath(r.PathValue("id")), http.StatusSeeOther)
	return nil
}

// allClients are the user's clients that have signed in for all servers.
func (h *MCPRun) allClients(r *http.Request, named string) ([]authserver.Grant, error) {
	p, user, err := h.owner(r, named)
	if err != nil {
		return nil, err
	}
	return clientsOf(r.Context(), h.Grants, p.Tenant, user, ofAll(p))
}

func (h *MCPRun) listAllClients(w http.ResponseWriter, r *http.Request) error {
	found, err := h.allClients(r, r.URL.Query().Get("user_id"))
	if err != nil {
		return err
	}
	writeClients(w, found)
	return nil
}

func (h *MCPRun) endAllClient(w http.ResponseWriter, r *http.Request) error {
	found, err := h.allClients(r, r.URL.Query().Get("user_id"))
	if err := h.end(r, found, err); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *MCPRun) endAllClientForm(w http.ResponseWriter, r *http.Request) error {
	if err := h.form(w, r); err != nil {
		return err
	}
	found, err := h.allClients(r, "")
	if err := h.end(r, found, err); err != nil {
		return err
	}
	http.Redirect(w, r, "/mcp/all", http.StatusSeeOther)
	return nil
}
