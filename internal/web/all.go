package web

import (
	"errors"
	"net/http"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/presets"
)

// mountAll adds what there is for all servers of a person at once: one address
// for MCP clients, its tokens, and a page.
func (h *MCPRun) mountAll(mux *http.ServeMux) {
	mux.HandleFunc("/mcp", h.allEndpoint)
	mux.HandleFunc("/t/{tenant}/mcp", h.allEndpoint)
	mux.HandleFunc("POST /api/v1/mcp-tokens", h.route(h.mintAll))
	mux.HandleFunc("GET /api/v1/mcp-tokens", h.route(h.listAll))
	mux.HandleFunc("DELETE /api/v1/mcp-tokens/{token}", h.route(h.revokeAll))
	mux.HandleFunc("GET /mcp/all", h.allPage)
	mux.HandleFunc("POST /mcp/all/mcp-tokens", h.route(h.mintAllForm))
	mux.HandleFunc("POST /mcp/all/mcp-tokens/{token}/revoke", h.route(h.revokeAllForm))
}

// owner is the user that a call about all their servers is for: the principal's
// own, or the one that a backend names.
func (h *MCPRun) owner(r *http.Request, named string) (Principal, string, error) {
	p, err := h.principal(r)
	if err != nil {
		return p, "", err
	}
	user, err := p.For(named)
	return p, user, err
}

func (h *MCPRun) mintAll(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		UserID  string   `json:"user_id"`
		Servers []string `json:"servers"`
		TTL     int      `json:"ttl"`
	}
	if r.ContentLength != 0 {
		if err := readJSON(w, r, &in); err != nil {
			return err
		}
	}
	p, user, err := h.owner(r, in.UserID)
	if err != nil {
		return err
	}
	ttl, err := seconds("ttl", in.TTL)
	if err != nil {
		return err
	}
	servers, err := h.narrowed(p, in.Servers)
	if err != nil {
		return err
	}
	m, err := h.Host.MintAll(r.Context(), host.MintAllRequest{Tenant: p.Tenant, UserID: user, Servers: servers, TTL: ttl, Seed: p.seed(r, "mcp-token of "+user)})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, h.allTokenAnswer(m.MCPToken, m.Token.Reveal()))
	return nil
}

// narrowed is which servers a token is for: none means all. A person who came
// by a link has no more than what the link is for.
func (h *MCPRun) narrowed(p Principal, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return p.Session.Servers, nil
	}
	for _, name := range asked {
		if _, ok := h.Catalogue.Server(name); !ok || !offers(p.Session, name) {
			return nil, flow.ErrServer
		}
	}
	return asked, nil
}

type allTokenJSON struct {
	ID        string    `json:"id"`
	UserID    string    `json:"user_id"`
	Servers   []string  `json:"servers"`
	Token     string    `json:"token,omitempty"`
	URL       string    `json:"url"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (h *MCPRun) allTokenAnswer(m host.MCPToken, secret string) allTokenJSON {
	return allTokenJSON{m.ID, m.UserID, append([]string{}, m.Servers...), secret, h.Host.AllURL(m.Connection.Tenant), m.CreatedAt, m.ExpiresAt}
}

func (h *MCPRun) listAll(w http.ResponseWriter, r *http.Request) error {
	p, user, err := h.owner(r, r.URL.Query().Get("user_id"))
	if err != nil {
		return err
	}
	found, err := h.tokensForAll(r, p, user)
	if err != nil {
		return err
	}
	out := []allTokenJSON{}
	for _, m := range found {
		out = append(out, h.allTokenAnswer(m, ""))
	}
	writeJSON(w, http.StatusOK, map[string]any{"mcp_tokens": out})
	return nil
}

// tokensForAll are the user's tokens for all servers that the principal may
// know of: one whose link is for some servers sees those for no others.
func (h *MCPRun) tokensForAll(r *http.Request, p Principal, user string) ([]host.MCPToken, error) {
	found, err := h.Host.Store.MCPTokens(r.Context(), host.ForUser(p.Tenant, user))
	var out []host.MCPToken
	for _, m := range found {
		if within(p.Session, m.Servers) {
			out = append(out, m)
		}
	}
	return out, err
}

// within reports whether a session may do all that a token for these servers
// can.
func within(ses flow.Session, servers []string) bool {
	if len(servers) == 0 {
		return len(ses.Servers) == 0
	}
	for _, name := range servers {
		if !offers(ses, name) {
			return false
		}
	}
	return true
}

func (h *MCPRun) revokeAll(w http.ResponseWriter, r *http.Request) error {
	p, user, err := h.owner(r, r.URL.Query().Get("user_id"))
	if err != nil {
		return err
	}
	if err := h.forgetAll(r, p, user); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// forgetAll revokes the token in the path.
func (h *MCPRun) forgetAll(r *http.Request, p Principal, user string) error {
	found, err := h.tokensForAll(r, p, user)
	if err != nil {
		return err
	}
	for _, m := range found {
		if m.ID == r.PathValue("token") {
			err := h.Host.Store.DeleteMCPToken(r.Context(), m.Connection, m.ID)
			if errors.Is(err, host.ErrNoToken) {
				return errNoTokenForAll
			}
			return err
		}
	}
	return errNoTokenForAll
}

var errNoTokenForAll = &Problem{Status: 404, Code: "token_unknown", Heading: "There is no such token",
	Message: "this person has no MCP token of that id for all servers", Next: "It may have been revoked already. List the tokens."}

func (h *MCPRun) allPage(w http.ResponseWriter, r *http.Request) {
	if h.canonical(w, r) {
		return
	}
	p, err := h.visitor(w, r)
	var user string
	if err == nil {
		user, err = p.For("")
	}
	if errors.Is(err, flow.ErrNoSession) {
		if err = h.notSignedIn(w, r, flow.DefaultTenant, r.URL.RequestURI()); err == nil {
			return
		}
	}
	var v page.AllView
	if err == nil {
		v, err = h.allView(w, r, p, user)
	}
	if err != nil {
		h.problem(w, r, err)
		return
	}
	h.render(w, r, http.StatusOK, v)
}

func (h *MCPRun) allView(w http.ResponseWriter, r *http.Request, p Principal, user string) (page.AllView, error) {
	v := page.AllView{Chrome: h.chrome(w, r, "All servers"), MCPURL: h.Host.AllURL(p.Tenant), Configs: configs("lanyard", h.Host.AllURL(p.Tenant), "YOUR_TOKEN")}
	found, err := h.tokensForAll(r, p, user)
	if err != nil {
		return v, err
	}
	for _, m := range found {
		v.Tokens = append(v.Tokens, page.MCPTokenRow{ID: m.ID, CreatedAt: m.CreatedAt, ExpiresAt: m.ExpiresAt})
	}
	clients, err := clientsOf(r.Context(), h.Grants, p.Tenant, user, ofAll(p))
	if err != nil {
		return v, err
	}
	v.Clients = clientRows(clients)
	members, err := h.Host.Members(r.Context(), host.Holder{Tenant: p.Tenant, User: user, Servers: p.Session.Servers})
	if err != nil {
		return v, err
	}
	for _, m := range members {
		v.Members = append(v.Members, h.memberRow(r, m))
	}
	return v, nil
}

func (h *MCPRun) memberRow(r *http.Request, m host.Member) page.MemberRow {
	s, _ := h.Catalogue.Server(m.Server)
	row := page.MemberRow{ServerDisplayName: nameOf(s), Example: m.ToolName("…"), ConnectionRow: page.ConnectionRow{
		ID: m.ID, Label: labelOr(m.Connection, nameOf(s)), Status: string(m.Status), Health: string(m.Health), StatusText: statusText(m.Connection)}}
	known, _ := h.Host.KnownTools(r.Context(), m.Connection)
	for _, t := range known {
		if m.Tools.Offers(t.Name) {
			row.Example = m.ToolName(t.Name)
			break
		}
	}
	return row
}

func (h *MCPRun) mintAllForm(w http.ResponseWriter, r *http.Request) error {
	if err := h.form(w, r); err != nil {
		return err
	}
	p, user, err := h.owner(r, "")
	if err != nil {
		return err
	}
	m, err := h.Host.MintAll(r.Context(), host.MintAllRequest{Tenant: p.Tenant, UserID: user, Servers: p.Session.Servers})
	if err != nil {
		return err
	}
	v, err := h.allView(w, r, p, user)
	if err != nil {
		return err
	}
	v.NewToken = m.Token.Reveal()
	v.Configs = configs("lanyard", m.URL, m.Token.Reveal())
	h.render(w, r, http.StatusOK, v)
	return nil
}

func (h *MCPRun) revokeAllForm(w http.ResponseWriter, r *http.Request) error {
	if err := h.form(w, r); err != nil {
		return err
	}
	p, user, err := h.owner(r, "")
	if err != nil {
		return err
	}
	if err := h.forgetAll(r, p, user); err != nil {
		return err
	}
	http.Redirect(w, r, "/mcp/all", http.StatusSeeOther)
	return nil
}

// configName is how a client is told to call one server of ours.
func configName(s presets.Server) string { return "lanyard-" + s.Name }

// withheld marks the tools that the connection does not offer to clients.
func withheld(tools []page.Tool, f connection.ToolFilter) []page.Tool {
	for i := range tools {
		tools[i].Withheld = !f.Offers(tools[i].Name)
	}
	return tools
}
