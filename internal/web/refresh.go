package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Refresh is the function of everything that hands tokens out or ends them.
type Refresh struct {
	*Site
	Service     *refresh.Service
	Connections connection.Store
	// Flows holds the links and sessions of a user who is deleted.
	Flows flow.Store
	// Grants are ended with their connections; nil: no client can sign in.
	Grants UserGrants
	// Disconnected is told that a connection has gone.
	Disconnected func(ctx context.Context, k connection.Key)
	Webhooks     Webhooks
}

// UserGrants is [Grants], and ends all that a user has allowed.
type UserGrants interface {
	Grants
	DeleteUser(ctx context.Context, tenant, user string) error
}

// Webhooks tries the tenants' webhook endpoints.
type Webhooks interface {
	// Test sends an event now and returns the status that it was taken with, or
	// an error of package notify.
	Test(ctx context.Context, tenant string) (status int, err error)
}

// Mount adds the function's routes.
func (h *Refresh) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/connections/{id}/token", h.route(h.token))
	mux.HandleFunc("DELETE /api/v1/connections/{id}", h.route(h.disconnect))
	mux.HandleFunc("DELETE /api/v1/users/{id}", h.route(h.deleteUser))
	mux.HandleFunc("POST /api/v1/webhooks/test", h.route(h.testWebhook))
	mux.HandleFunc("POST /mcp/connections/{id}/disconnect", h.route(h.disconnectForm))
}

func caller(p Principal) vault.Caller {
	return vault.Caller{Tenant: p.Tenant, User: p.User, Actor: p.Actor()}
}

// Bounds of min_ttl, in seconds.
const (
	defaultMinTTL = 300
	maxMinTTL     = 24 * 60 * 60
)

var errNoSuchToken = &Problem{Status: 404, Code: "token_unknown", Heading: "There is no such token",
	Message: "this connection has no token of that name",
	Next:    "Leave name out for the main token. A server that takes pasted keys has none."}

func (h *Refresh) token(w http.ResponseWriter, r *http.Request) error {
	p, err := h.backend(r)
	if err != nil {
		return err
	}
	minTTL := defaultMinTTL
	if raw := r.URL.Query().Get("min_ttl"); raw != "" {
		if minTTL, err = strconv.Atoi(raw); err != nil || minTTL < 0 || minTTL > maxMinTTL {
			return badRequest("min_ttl is a number of seconds from 0 to 86400", "Leave it out for five minutes.")
		}
	}
	k := connection.Key{Tenant: p.Tenant, ID: r.PathValue("id")}
	a, c, err := h.Service.Token(r.Context(), caller(p), k, time.Duration(minTTL)*time.Second, "token")
	if err != nil {
		return err
	}
	t, ok := a.Tokens[r.URL.Query().Get("name")]
	if !ok {
		return errNoSuchToken
	}
	scopes := t.Scopes
	if len(scopes) == 0 {
		scopes = c.Scopes
	}
	out := struct {
		AccessToken string            `json:"access_token"`
		TokenType   string            `json:"token_type"`
		ExpiresAt   *time.Time        `json:"expires_at"`
		Scopes      []string          `json:"scopes"`
		Metadata    map[string]string `json:"metadata"`
	}{AccessToken: t.AccessToken.Reveal(), TokenType: "Bearer", Scopes: append([]string{}, scopes...), Metadata: a.Metadata}
	if !t.ExpiresAt.IsZero() {
		out.ExpiresAt = &t.ExpiresAt
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (h *Refresh) disconnect(w http.ResponseWriter, r *http.Request) error {
	p, err := h.principal(r)
	if err != nil {
		return err
	}
	out, err := h.end(r, p, r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (h *Refresh) end(r *http.Request, p Principal, id string) (refresh.Outcome, error) {
	k := connection.Key{Tenant: p.Tenant, ID: id}
	c, err := h.Connections.Get(r.Context(), k)
	if len(p.Session.Servers) > 0 {
		c, err = own(r.Context(), h.Connections, p, id)
	}
	if err != nil {
		return refresh.Outcome{}, err
	}
	out, err := h.Service.Disconnect(r.Context(), caller(p), k)
	if err == nil {
		ctx := context.WithoutCancel(r.Context())
		h.Disconnected(ctx, k)
		h.endGrants(ctx, c)
	}
	return out, err
}

// endGrants ends what clients were allowed at a connection that has gone. Without
// it they let nobody in either.
func (h *Refresh) endGrants(ctx context.Context, c connection.Connection) {
	if h.Grants == nil {
		return
	}
	found, err := h.Grants.Grants(ctx, c.Tenant, c.UserID)
	for _, g := range found {
		if err == nil && g.Connection == c.ID {
			err = h.Grants.DeleteGrant(ctx, g.ID)
		}
	}
	if err != nil {
		h.Logger.WarnContext(ctx, "what clients were allowed was not removed", "connection", c.ID, "err", err)
	}
}

// deleteUser disconnects everything of one user and ends their sessions.
func (h *Refresh) deleteUser(w http.ResponseWriter, r *http.Request) error {
	p, err := h.backend(r)
	if err != nil {
		return err
	}
	user := r.PathValue("id")
	// First, so that nothing new is begun meanwhile.
	if err := h.Flows.DeleteUser(r.Context(), p.Tenant, user); err != nil {
		return err
	}
	h.Disconnected(context.WithoutCancel(r.Context()), host.ForUser(p.Tenant, user)) // the tokens for all their servers
	if h.Grants != nil {
		if err := h.Grants.DeleteUser(r.Context(), p.Tenant, user); err != nil {
			return err
		}
	}
	type ended struct {
		ID string `json:"id"`
		refresh.Outcome
	}
	out := []ended{}
	for {
		// Each page is the first: what was on it before is gone.
		found, _, err := h.Connections.List(r.Context(), p.Tenant, connection.Filter{UserID: user}, connection.Page{Limit: 50})
		if err != nil {
			return err
		}
		for _, c := range found {
			o, err := h.end(r, p, c.ID)
			if errors.Is(err, connection.ErrNotFound) {
				continue // somebody else was faster
			}
			if err != nil {
				return err
			}
			out = append(out, ended{c.ID, o})
		}
		if len(found) == 0 {
			writeJSON(w, http.StatusOK, map[string]any{"connections": out})
			return nil
		}
	}
}

// testWebhook sends an event to the tenant's endpoint, so that its owner sees
// what becomes of one.
func (h *Refresh) testWebhook(w http.ResponseWriter, r *http.Request) error {
	p, err := h.backend(r)
	if err != nil {
		return err
	}
	status, err := h.Webhooks.Test(r.Context(), p.Tenant)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"delivered": true, "status": status})
	return nil
}

func (h *Refresh) disconnectForm(w http.ResponseWriter, r *http.Request) error {
	if err := h.form(w, r); err != nil {
		return err
	}
	p, err := h.principal(r)
	if err != nil {
		return err
	}
	out, err := h.end(r, p, r.PathValue("id"))
	if err != nil {
		return err
	}
	v := page.EndedView{Chrome: h.chrome(w, r, "Disconnected"), Revoked: out.Revoked == refresh.RevokedAtProvider, Detail: sentence(out.Detail)}
	h.render(w, r, http.StatusOK, v)
	return nil
}
