package web

import (
	"context"
	"net/http"
	"strings"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Callback is the function of everything that turns what a person gave into a
// sealed set.
type Callback struct {
	*Site
	Flows     *flow.Finisher
	Catalogue Catalogue
	SignIns   *signin.Finisher
	// Reconnected is told that a connection has other tokens than before.
	Reconnected func(ctx context.Context, k connection.Key)
}

// Mount adds the function's routes.
func (h *Callback) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET "+flow.CallbackPath, led(h.page))
	mux.HandleFunc("GET "+flow.CallbackPath+"/{issuer}", led(h.page))
	mux.HandleFunc("GET /api/v1"+flow.CallbackPath, led(h.route(h.json)))
	mux.HandleFunc("GET /mcp/oauth/places/{flow}", h.route(h.placesPage))
	mux.HandleFunc("POST /mcp/oauth/places/{flow}", h.route(h.placesForm))
	mux.HandleFunc("POST /api/v1/mcp/servers/{name}/connect", h.route(h.connect))
	mux.HandleFunc("POST /mcp/servers/{name}/key", h.route(h.keyForm))
	mux.HandleFunc("GET "+signin.CallbackPath, led(h.signInCallback))
}

func (h *Callback) page(w http.ResponseWriter, r *http.Request) {
	f, err := h.Flows.FinishAt(r.Context(), r.PathValue("issuer"), r.URL.Query(), h.known(r))
	if err == nil && f.Status == flow.Picking {
		// Not in place: the page may be reloaded, and the answer works once.
		http.Redirect(w, r, placesPath(f.ID), http.StatusSeeOther)
		return
	}
	h.tell(r, f)
	server, _ := h.Catalogue.Server(f.Server)
	h.finished(w, r, server, f, err)
}

func (h *Callback) tell(r *http.Request, f flow.Flow) {
	if f.Status == flow.Connected {
		h.Reconnected(context.WithoutCancel(r.Context()), connection.Key{Tenant: f.Tenant, ID: f.Result.ConnectionID})
	}
}

// json is the same for front ends that keep the redirect to themselves. It
// never waits for a server: the count is the catalogue's, or null.
func (h *Callback) json(w http.ResponseWriter, r *http.Request) error {
	f, err := h.Flows.Finish(r.Context(), r.URL.Query(), h.known(r))
	if err != nil {
		return err
	}
	h.tell(r, f)
	s, _ := h.Catalogue.Server(f.Server)
	type server struct {
		Name       string `json:"name"`
		Connected  bool   `json:"connected"`
		ToolsCount *int   `json:"tools_count"`
	}
	out := server{Name: f.Server, Connected: f.Status == flow.Connected}
	if n, ok := s.ToolsCount(); ok {
		out.ToolsCount = &n
	}
	answer := map[string]any{
		"success": true, "server": out, "connection_id": f.Result.ConnectionID, "token_id": f.Result.SetID,
		"status": f.Status, "missing_scopes": append([]string{}, f.Result.Missing...),
	}
	if url := h.pickURL(f); url != "" {
		answer["pick_url"] = url
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// connect takes an API key from a program.
func (h *Callback) connect(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		UserID       string                  `json:"user_id"`
		EnvValues    map[string]token.Secret `json:"env_values"`
		Params       map[string]string       `json:"params"`
		ConnectionID string                  `json:"connection_id"`
	}
	p, err := h.principal(r)
	if err != nil {
		return err
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	user, err := p.For(in.UserID)
	if err != nil {
		return err
	}
	_, c, err := h.paste(r, p, flow.KeyRequest{UserID: user, Values: in.EnvValues, Parameters: in.Params, ConnectionID: in.ConnectionID})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, connectionAnswer(c))
	return nil
}

func (h *Callback) paste(r *http.Request, p Principal, k flow.KeyRequest) (flow.Flow, connection.Connection, error) {
	k.Tenant, k.Server, k.Browser, k.ReturnURL = p.Tenant, r.PathValue("name"), p.Browser, p.Session.ReturnURL
	if !offers(p.Session, k.Server) {
		return flow.Flow{}, connection.Connection{}, flow.ErrServer
	}
	t, err := h.Tenants.Tenant(r.Context(), p.Tenant)
	if err != nil {
		return flow.Flow{}, connection.Connection{}, err
	}
	// A backend that sends the values itself knows whose they are.
	k.Confirm = t.Confirm && !p.APIKey() && !proven(p)
	f, c, err := h.Flows.Connect(r.Context(), k)
	h.tell(r, f)
	return f, c, err
}

// maxRequestID bounds the id of an authorization request, in bytes.
const maxRequestID = 64

// keyForm takes an API key from our page.
func (h *Callback) keyForm(w http.ResponseWriter, r *http.Request) error {
	if err := h.form(w, r); err != nil {
		return err
	}
	p, err := h.principal(r)
	if err != nil {
		return err
	}
	k := flow.KeyRequest{UserID: p.User, Values: map[string]token.Secret{}, Parameters: map[string]string{}, ConnectionID: r.PostForm.Get("connection_id")}
	for name := range r.PostForm {
		if key, ok := strings.CutPrefix(name, page.EnvPrefix); ok {
			k.Values[key] = token.Secret(r.PostForm.Get(name))
		}
		if key, ok := strings.CutPrefix(name, page.ParameterPrefix); ok {
			k.Parameters[key] = strings.TrimSpace(r.PostForm.Get(name))
		}
	}
	if id := r.PostForm.Get("request"); len(id) <= maxRequestID {
		k.RequestID = id
	}
	f, _, err := h.paste(r, p, k)
	if f.ID == "" {
		f.RequestID = k.RequestID // it was not even begun
	}
	server, _ := h.Catalogue.Server(f.Server)
	h.finished(w, r, server, f, err)
	return nil
}
