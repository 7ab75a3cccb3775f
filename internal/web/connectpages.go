package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/presets"
)

func (h *Connect) mountPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /mcp/servers", h.route(h.serversPage))
	mux.HandleFunc("GET /mcp/servers/{name}/setup", h.route(h.setupPage))
	mux.HandleFunc("POST /mcp/servers/{name}/connect", h.route(h.connectForm))
	mux.HandleFunc("POST /mcp/connections/{id}/rename", h.route(h.renameForm))
	mux.HandleFunc("POST /mcp/connections/{id}/offer", h.route(h.offerForm))
	mux.HandleFunc("GET /l/{link}", h.route(h.linkPage))
	mux.HandleFunc("POST /l/{link}", h.route(h.claimLink))
	mux.HandleFunc("GET /c/{flow}", h.route(h.consentPage))
	mux.HandleFunc("POST /c/{flow}", h.route(h.consentForm))
}

func (h *Connect) home(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/mcp/servers", http.StatusFound)
}

func (h *Connect) serversPage(w http.ResponseWriter, r *http.Request) error {
	if h.canonical(w, r) {
		return nil
	}
	p, err := h.person(w, r)
	if errors.Is(err, flow.ErrNoSession) {
		return h.notSignedIn(w, r, flow.DefaultTenant, r.URL.RequestURI())
	}
	if err != nil {
		return err
	}
	own, err := h.connectionsOf(r.Context(), p.Tenant, p.User)
	if err != nil {
		return err
	}
	v := page.ServersView{Chrome: h.chrome(w, r, "Your servers"), Query: r.URL.Query().Get("q"),
		Starting: r.URL.Query().Get("server"), ReturnURL: p.Session.ReturnURL}
	for _, s := range h.offered(p.Session) {
		v.Servers = append(v.Servers, h.card(r, p, s, own))
	}
	h.render(w, r, http.StatusOK, v)
	return nil
}

func (h *Connect) card(r *http.Request, p Principal, s presets.Server, own []connection.Connection) page.ServerCard {
	answer := h.serverAnswer(r.Context(), p.Tenant, s, own)
	c := page.ServerCard{Name: s.Name, DisplayName: s.DisplayName, Description: s.Description, RemoteHost: s.RemoteHost(), AuthType: string(s.AuthType),
		Status: answer.Status, ToolsCount: -1, Scopes: scopesOf(s, nil)}
	if answer.ToolsCount != nil {
		c.ToolsCount = *answer.ToolsCount
	}
	if answer.Status == page.StatusNeedsClient && guest(p) {
		c.Status = page.StatusNotYet
	}
	if s.AuthType == presets.TypeNone && len(answer.Connections) == 0 {
		c.Status = page.StatusNoneNeeded
	}
	if prov, ok := h.Catalogue.Provider(s.OAuthService); ok {
		c.ProviderName = prov.DisplayName
	} else if s.Discovers() {
		c.ProviderName = s.DisplayName
	}
	for _, conn := range own {
		if conn.Server == s.Name && conn.Status != connection.Deleting {
			c.Connections = append(c.Connections, page.ConnectionRow{ID: conn.ID, Label: labelOr(conn, s.DisplayName),
				Status: string(conn.Status), Health: string(conn.Health),
				StatusText: statusText(conn), Detail: reason(conn)})
		}
	}
	for _, f := range flow.Asked(h.Catalogue, s) {
		c.Parameters = append(c.Parameters, page.Parameter{Name: f.Name, Label: f.Label, Pattern: f.Pattern, Help: f.Help,
			Value: cmp.Or(p.Session.Parameters[f.Name], f.Default), Optional: f.Pattern != "" && f.Allows("") == nil})
	}
	for _, e := range s.EnvValues {
		c.EnvValues = append(c.EnvValues, page.EnvValue{Name: e.Name, Label: e.Label, HelpURL: e.HelpURL, Secret: e.Secret})
	}
	return c
}

func labelOr(c connection.Connection, otherwise string) string {
	if l := c.DisplayLabel(); l != "" {
		return l
	}
	return otherwise
}

func statusText(c connection.Connection) string {
	switch c.Status {
	case connection.Connected:
		switch {
		case c.Health == connection.ProviderDown:
			return "Provider not answering"
		case c.Health == connection.ClientMisconfigured:
			return "Needs the operator"
		case c.Health == connection.Transient:
			return "No access for now"
		case c.Health == connection.ScopeLost:
			return "Connected, with less access"
		case c.Failure != nil:
			return "Connected, renewal delayed"
		case c.AuthType == string(presets.TypeAPIKey):
			return "Key saved" // whether it is any good, the first call tells
		}
		return "Connected"
	case connection.ReconnectNeeded:
		return "Reconnect needed"
	case connection.Pending:
		if c.Proposal != nil && len(c.Proposal.Places) > 0 {
			return "Not finished yet"
		}
		return "Waiting to be confirmed"
	}
	return string(c.Status)
}

// reason says in plain words why a connection is not well.
func reason(c connection.Connection) string {
	if c.Failure == nil {
		if c.Status == connection.Pending && c.Proposal != nil && len(c.Proposal.Places) > 0 {
			return "Access was granted to several places, and nobody has picked one yet. Go on in the window that asks, or connect again."
		}
		if lost := c.LostScopes(); lost != "" {
			return sentence(lost)
		}
		if c.Status == connection.Connected && !c.EndsAt.IsZero() && !c.EndAnnounced.IsZero() {
			return "The provider ends this access on " + c.EndsAt.UTC().Format("2 January 2006") + ". Reconnect before then: your MCP clients keep working with the same address."
		}
		return ""
	}
	return sentence(c.Failure.Detail)
}

// scopesOf are the scopes of a server with their reasons: all, or those named.
func scopesOf(s presets.Server, only []string) []page.Scope {
	var out []page.Scope
	for _, sc := range s.OAuthScopes {
		if only == nil {
			out = append(out, page.Scope{Name: sc.Scope, Why: sc.Why})
		}
		for _, name := range only {
			if name == sc.Scope {
				out = append(out, page.Scope{Name: sc.Scope, Why: sc.Why})
			}
		}
	}
	for _, name := range only {
		known := false
		for _, sc := range s.OAuthScopes {
			known = known || sc.Scope == name
		}
		if !known {
			out = append(out, page.Scope{Name: name})
		}
	}
	return out
}

// nameOf is a server's name in a list: one that runs here and one that its provider
// runs may have the same.
func nameOf(s presets.Server) string {
	if host := s.RemoteHost(); host != "" {
		return s.DisplayName + " at " + host
	}
	return s.DisplayName
}

func connectionPath(id string) string { return "/mcp/connections/" + url.PathEscape(id) }

// linkPage asks for a click: a bot that previews links in a chat must not be
// the first browser to open one.
func (h *Connect) linkPage(w http.ResponseWriter, r *http.Request) error {
	if h.canonical(w, r) {
		return nil
	}
	l, err := h.Flows.FindLink(r.Context(), r.PathValue("link"))
	if browser := h.known(r); err == nil && l.Browser != "" && l.Browser != browser {
		err = flow.ErrLinkClaimed
	}
	if err != nil {
		return err
	}
	v := page.LinkView{Chrome: h.chrome(w, r, "Connect"), URL: r.URL.Path}
	if v.User != "" && v.User != l.UserID {
		v.Replaces = v.User
	}
	for _, name := range l.Servers {
		if s, ok := h.Catalogue.Server(name); ok {
			v.Servers = append(v.Servers, nameOf(s))
		}
	}
	h.render(w, r, http.StatusOK, v)
	return nil
}

func (h *Connect) claimLink(w http.ResponseWriter, r *http.Request) error {
	if err := h.form(w, r); err != nil {
		return err
	}
	browser, _ := h.browser(w, r)
	ses, secret, err := h.Flows.ClaimLink(r.Context(), r.PathValue("link"), browser)
	if err != nil {
		return err
	}
	h.setCookie(w, "session", secret, maxSession)
	target := h.resume(w, r)
	if target == "" {
		target = "/mcp/servers"
		if len(ses.Servers) == 1 {
			target += "?server=" + url.QueryEscape(ses.Servers[0])
		}
	}
	http.Redirect(w, r, target, http.StatusSeeOther)
	return nil
}

// guest reports whether somebody came by a link that was sent to them: what a
// server needs of its operator is none of their business.
func guest(p Principal) bool { return p.Session.LinkID != "" && !p.Session.Owner }

var errNotYet = &Problem{Status: 409, Code: flow.ErrNoClient.Code, Heading: "Not available yet", Message: "this server still has to be set up by whoever runs Lanyard",
	Next: "Tell whoever sent you the link. It works as soon as they have done so."}

// setupPage tells the operator how to register a client at a provider.
func (h *Connect) setupPage(w http.ResponseWriter, r *http.Request) error {
	p, err := h.person(w, r)
	if err == nil && guest(p) {
		err = errNotYet
	}
	if err != nil {
		return err
	}
	s, ok := h.Catalogue.Server(r.PathValue("name"))
	if ok && s.Discovers() {
		return h.setupFound(w, r, p, s)
	}
	prov, found := h.Catalogue.Provider(s.OAuthService)
	if !ok || !found {
		return flow.ErrServer
	}
	if prov, err = prov.Resolve("", h.Catalogue.Provider); err != nil {
		return err
	}
	redirect := h.BaseURL + flow.CallbackPath
	env := flow.EnvPrefix(prov.ID)
	v := page.SetupView{Chrome: h.chrome(w, r, "Set up "+prov.DisplayName), ProviderName: prov.DisplayName, RedirectURI: redirect,
		ConsoleURL: prov.Registration.ConsoleURL, Help: prov.Registration.Help,
		EnvID: env + "_CLIENT_ID", EnvSecret: env + "_CLIENT_SECRET"}
	if h.ClientCommand != nil {
		v.Command = h.ClientCommand(p.Tenant, prov.ID)
	}
	for _, name := range prov.ClientParameters() {
		param := prov.Parameters[name]
		v.Parameters = append(v.Parameters, page.ClientParameter{Label: cmp.Or(param.Label, name), Help: param.Help, Default: param.Default,
			Variable: flow.ClientVariable(prov.ID, name), Flag: "--param " + name + "="})
	}
	if prov.RedirectURI.Single {
		v.Help = strings.TrimSpace(v.Help + " " + prov.DisplayName + " takes one redirect URI for a client: register another client for another address.")
	}
	if err := prov.CheckRedirect(redirect); err != nil {
		v.Unusable = sentence(err.Error()) // which is what the note says, and more
	} else {
		v.Help = strings.TrimSpace(v.Help + " " + prov.Registration.RedirectNote)
	}
	var elsewhere flow.Elsewhere
	if errors.As(h.Flows.HasClient(r.Context(), p.Tenant, s), &elsewhere) {
		v.Help = strings.TrimSpace(sentence(elsewhere.Error()) + " " + v.Help)
	}
	for _, sc := range s.OAuthScopes {
		v.Scopes = append(v.Scopes, sc.Scope)
	}
	for _, e := range presets.ToEnable(prov.ID, h.Catalogue.Servers()) {
		on := page.Enable{Name: e.Name, URL: e.URL}
		for _, s := range e.Servers {
			on.Servers = append(on.Servers, s.DisplayName)
		}
		v.Enable = append(v.Enable, on)
	}
	h.render(w, r, http.StatusOK, v)
	return nil
}

// setupFound is setupPage for a server that says itself who grants access to it.
func (h *Connect) setupFound(w http.ResponseWriter, r *http.Request, p Principal, s presets.Server) error {
	found, err := h.Flows.Find(r.Context(), p.Tenant, s, p.Session.Parameters, nil)
	if err != nil && !errors.Is(err, flow.ErrNoClient) {
		return err
	}
	env := flow.EnvPrefix(s.ProviderID())
	v := page.SetupView{Chrome: h.chrome(w, r, "Set up "+s.DisplayName), ProviderName: s.DisplayName, RedirectURI: h.BaseURL + flow.CallbackPath,
		EnvID: env + "_CLIENT_ID", EnvSecret: env + "_CLIENT_SECRET", EnvIssuer: env + "_CLIENT_ISSUER=" + found.Issuer, Scopes: found.Scopes,
		Help: "It is the client of " + found.Issuer + " alone: should the server name another issuer one day, it needs another client."}
	if err != nil {
		v.Help += " " + sentence(err.Error())
	}
	if h.ClientCommand != nil {
		v.Command = h.ClientCommand(p.Tenant, s.ProviderID()) + " --issuer " + found.Issuer
	}
	h.render(w, r, http.StatusOK, v)
	return nil
}
