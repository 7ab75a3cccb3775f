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
)

type connectionJSON struct {
	ID            string              `json:"id"`
	UserID        string              `json:"user_id"`
	Server        string              `json:"server"`
	Provider      string              `json:"provider,omitempty"`
	Status        connection.Status   `json:"status"`
	Health        connection.Health   `json:"health,omitempty"`
	Label         string              `json:"label"`
	Tools         toolsJSON           `json:"tools"`
	Account       connection.Account  `json:"account"`
	Scopes        []string            `json:"scopes"`
	MissingScopes []string            `json:"missing_scopes,omitempty"`
	CreatedAt     time.Time           `json:"created_at"`
	ConnectedAt   *time.Time          `json:"connected_at"`
	ExpiresAt     *time.Time          `json:"expires_at"`
	LastRefreshAt *time.Time          `json:"last_refresh_at"`
	NextRefreshAt *time.Time          `json:"next_refresh_at"`
	EndsAt        *time.Time          `json:"ends_at"`
	LastUsedAt    *time.Time          `json:"last_used_at"`
	LastError     *connection.Failure `json:"last_error"`
}

// toolsJSON is a [connection.ToolFilter] with all its members.
type toolsJSON struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

// at is a time of an answer: null where there is none.
func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func connectionAnswer(c connection.Connection) connectionJSON {
	return connectionJSON{
		ID: c.ID, UserID: c.UserID, Server: c.Server, Provider: c.Provider, Status: c.Status, Health: c.Health, Label: c.DisplayLabel(),
		Tools:   toolsJSON{append([]string{}, c.Tools.Allow...), append([]string{}, c.Tools.Deny...)},
		Account: c.Account, Scopes: append([]string{}, c.Scopes...), MissingScopes: flow.MissingScopes(c.ScopesAsked, c.Scopes),
		CreatedAt: c.CreatedAt, ConnectedAt: at(c.ConnectedAt), ExpiresAt: at(c.Set.AccessExpiresAt),
		LastRefreshAt: at(c.LastRefreshAt), NextRefreshAt: at(nextRefresh(c)), EndsAt: at(c.EndsAt), LastUsedAt: at(c.LastUsedAt), LastError: c.Failure,
	}
}

// nextRefresh is when the tokens are renewed next although nobody asks; zero:
// they are renewed when somebody does, or never, or nobody knows yet.
func nextRefresh(c connection.Connection) time.Time {
	if c.Status != connection.Connected || !planned(c) {
		return time.Time{}
	}
	return c.RenewAt
}

// renewedOnUse reports whether the tokens are renewed when somebody uses them, and
// not before.
func renewedOnUse(c connection.Connection) bool {
	return c.Status == connection.Connected && c.Provider != "" && !c.Set.AccessExpiresAt.IsZero() && c.RenewAt.IsZero()
}

// planned reports whether RenewAt is when the tokens are renewed. Keys never are,
// and the time of a row that was just connected is that of its first attendance.
func planned(c connection.Connection) bool {
	return c.Provider != "" && c.RenewAt.After(c.ConnectedAt)
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

func (h *Connect) listConnections(w http.ResponseWriter, r *http.Request) error {
	p, err := h.principal(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f := connection.Filter{UserID: q.Get("user_id"), Server: q.Get("server")}
	if !p.APIKey() { // a backend may list everybody's
		if f.UserID, err = p.For(f.UserID); err != nil {
			return err
		}
	}
	pg, err := pageOf(r)
	if err != nil {
		return err
	}
	found, next, err := h.Connections.List(r.Context(), p.Tenant, f, pg)
	if err != nil {
		return err
	}
	out := []connectionJSON{}
	for _, c := range found {
		if c.Status != connection.Deleting && offers(p.Session, c.Server) {
			out = append(out, connectionAnswer(c))
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"connections": out, "next_cursor": next})
	return nil
}

// own returns the connection in the path if it is the principal's: of its user,
// and of a server that its link was for.
func own(ctx context.Context, store connection.Store, p Principal, id string) (connection.Connection, error) {
	c, err := store.Get(ctx, connection.Key{Tenant: p.Tenant, ID: id})
	if err == nil && (p.User != "" && c.UserID != p.User || !offers(p.Session, c.Server) || c.Status == connection.Deleting) {
		return connection.Connection{}, connection.ErrNotFound
	}
	return c, err
}

func (h *Connect) getConnection(w http.ResponseWriter, r *http.Request) error {
	p, err := h.principal(r)
	if err != nil {
		return err
	}
	c, err := own(r.Context(), h.Connections, p, r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, connectionAnswer(c))
	return nil
}

// changeConnection changes what a person may decide of a connection: how it is
// called, and which tools it offers. What is not named stays.
func (h *Connect) changeConnection(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Label *string    `json:"label"`
		Tools *toolsJSON `json:"tools"`
	}
	p, err := h.principal(r)
	if err != nil {
		return err
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	var label func(*connection.Connection)
	var offer func(*connection.Connection)
	if in.Label != nil {
		if label, err = relabel(*in.Label); err != nil {
			return err
		}
	}
	if in.Tools != nil {
		if offer, err = offerTools(in.Tools.Allow, in.Tools.Deny); err != nil {
			return err
		}
	}
	c, err := h.change(r.Context(), p, r.PathValue("id"), label, offer)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, connectionAnswer(c))
	return nil
}

// relabel gives a connection another name.
func relabel(label string) (func(*connection.Connection), error) {
	label = strings.TrimSpace(label)
	if len(label) > 200 {
		return nil, badRequest("the label is longer than 200 bytes", "Choose a shorter one.")
	}
	return func(c *connection.Connection) { c.Label = label }, nil
}

// offerTools has a connection offer other tools.
func offerTools(allow, deny []string) (func(*connection.Connection), error) {
	f, err := connection.NewToolFilter(allow, deny)
	if err != nil {
		return nil, badRequest(err.Error(), "Name tools as the server lists them.")
	}
	return func(c *connection.Connection) { c.Tools = f }, nil
}

// change applies the changes, of which some may be nil, to the principal's
// connection.
func (h *Connect) change(ctx context.Context, p Principal, id string, changes ...func(*connection.Connection)) (connection.Connection, error) {
	c, err := own(ctx, h.Connections, p, id)
	if err != nil {
		return c, err
	}
	return h.Connections.Update(ctx, c.Key, func(c *connection.Connection) error {
		for _, change := range changes {
			if change != nil {
				change(c)
			}
		}
		return nil
	})
}

func (h *Connect) audit(w http.ResponseWriter, r *http.Request) error {
	p, err := h.backend(r)
	if err != nil {
		return err
	}
	pg, err := pageOf(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	lines, next, err := h.Audit.List(r.Context(), p.Tenant, struct{ Connection, User string }{q.Get("connection_id"), q.Get("user_id")}, pg.Cursor, pg.Limit)
	if err != nil {
		return err
	}
	if lines == nil {
		lines = []vault.Line{}
	}
	writeJSON(w, http.StatusOK, map[string]any{"audit": lines, "next_cursor": next})
	return nil
}
