package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/presets"
)

// The page of an authorization request: it asks the person, waits for what makes
// the connection, and leads back to the client. What a GET shows follows from the
// records; only a form changes them, but for the code at the end of what was
// allowed.

const requestsPath = "/oauth/requests/"

func requestPath(id string) string { return requestsPath + url.PathEscape(id) }

// asked is a request, with who asks for what and who is asked.
type asked struct {
	req    authserver.Request
	client authserver.Client
	// server is empty where the request is for all of a person's.
	server presets.Server
	person Principal
	user   authserver.User
	// own are the person's connections of the server that can be chosen, the newest
	// first; of a request for all, every one that works.
	own []connection.Connection
}

var (
	errRequestEnded = &Problem{Status: 409, Code: "request_ended", Heading: "This has been answered",
		Message: "the client has had its answer", Next: "Go back to your MCP client. If it still waits, start again there."}
	errRequestServer = &Problem{Status: 403, Code: "server_not_offered", Heading: "Your link is for something else",
		Message: "the link that you opened does not include this server", Next: "Ask for a link that does, where you got yours, and open it in this browser."}
	errRequestUser = &Problem{Status: 403, Code: "request_other_user", Heading: "Somebody else began this",
		Message: "this was allowed by another user than the one who is signed in now", Next: "Start again in your MCP client."}
)

// ask finds the request in the path, and who is signed in for it. The error
// flow.ErrNoSession comes with what is known without a person.
func (h *Connect) ask(w http.ResponseWriter, r *http.Request) (a asked, err error) {
	browser, _ := h.browser(w, r)
	if a.req, a.client, err = h.OAuth.Request(r.Context(), r.PathValue("id"), browser); err != nil {
		return a, err
	}
	if a.req.Status == authserver.Answered || a.req.Status == authserver.Denied {
		return a, errRequestEnded
	}
	if a.req.Server != "" {
		ok := false
		if a.server, ok = h.Catalogue.Server(a.req.Server); !ok {
			return a, flow.ErrServer
		}
	}
	if a.person, err = h.personOf(w, r, a.req.Tenant); err != nil {
		return a, err
	}
	switch {
	case a.req.Server != "" && !offers(a.person.Session, a.req.Server):
		return a, errRequestServer
	case a.req.UserID != "" && a.req.UserID != a.person.User:
		return a, errRequestUser
	}
	a.user = authserver.User{Tenant: a.person.Tenant, ID: a.person.User, Servers: a.person.Session.Servers}
	all, err := h.connectionsOf(r.Context(), a.person.Tenant, a.person.User)
	for _, c := range slices.Backward(all) {
		mine := c.Server == a.req.Server || a.req.Server == "" && offers(a.person.Session, c.Server)
		if mine && (c.Status == connection.Connected || c.Status == connection.ReconnectNeeded) {
			a.own = append(a.own, c)
		}
	}
	return a, err
}

func (h *Connect) requestPage(w http.ResponseWriter, r *http.Request) error {
	if h.canonical(w, r) {
		return nil
	}
	a, err := h.ask(w, r)
	if errors.Is(err, flow.ErrNoSession) {
		return h.requestSignIn(w, r, a)
	}
	if err != nil {
		return err
	}
	if a.req.Status == authserver.Allowed && r.URL.Query().Get("again") == "" {
		return h.requestGoesOn(w, r, a)
	}
	if done, err := h.unasked(w, r, a); done || err != nil {
		return err
	}
	return h.requestAsks(w, r, a)
}

// unasked answers a client that the person has given the same before, if there
// is nothing to choose: one connection that works, the same as then, the same
// user, and a browser that was led here, not a page that embeds us.
func (h *Connect) unasked(w http.ResponseWriter, r *http.Request, a asked) (bool, error) {
	dest := r.Header.Get("Sec-Fetch-Dest")
	if a.req.Status != authserver.Asked || a.req.Server == "" || len(a.own) != 1 || a.renew(a.own[0]) || dest != "" && dest != "document" {
		return false, nil
	}
	known, err := h.OAuth.Remembered(r.Context(), a.req, a.client, a.user, a.own[0].ID)
	if err != nil || !known {
		return false, err
	}
	return true, h.grant(w, r, a, a.own[0].ID)
}

// grant gives the client access to a connection that works; to all, where the
// request is for all.
func (h *Connect) grant(w http.ResponseWriter, r *http.Request, a asked, connectionID string) error {
	if _, err := h.OAuth.Allow(r.Context(), a.req.ID, a.person.Browser, a.user, "", connectionID); err != nil {
		return err
	}
	return h.finishRequest(w, r, a, connectionID)
}

func (h *Connect) finishRequest(w http.ResponseWriter, r *http.Request, a asked, connectionID string) error {
	target, err := h.OAuth.Finish(r.Context(), a.req.ID, a.person.Browser, a.user, connectionID)
	if err != nil {
		return err
	}
	return h.depart(w, r, target, a.client)
}

// renew reports whether a connection has to be granted anew before it serves the
// request: its access has ended, or lacks what is asked for.
func (a asked) renew(c connection.Connection) bool {
	return c.Status != connection.Connected ||
		a.server.AuthType == presets.TypeOAuth && len(c.Scopes) > 0 && len(flow.MissingScopes(a.req.Scopes, c.Scopes)) > 0
}

// requestAsks is our consent page.
func (h *Connect) requestAsks(w http.ResponseWriter, r *http.Request, a asked) error {
	v := page.AccessView{Chrome: h.chrome(w, r, "Allow access"), RequestID: a.req.ID, Asker: asker(a.client, a.req.RedirectURI)}
	if a.req.Server == "" {
		for _, c := range a.own {
			s, _ := h.Catalogue.Server(c.Server)
			if c.Status == connection.Connected && !slices.Contains(v.Servers, nameOf(s)) {
				v.Servers = append(v.Servers, nameOf(s))
			}
		}
		slices.Sort(v.Servers)
		h.render(w, r, http.StatusOK, v)
		return nil
	}
	v.ServerDisplayName, v.RemoteHost, v.AuthType = a.server.DisplayName, a.server.RemoteHost(), string(a.server.AuthType)
	if r.URL.Query().Get("other") == "" {
		for _, c := range a.own {
			row := page.Account{ID: c.ID, Label: labelOr(c, a.server.DisplayName), Renew: a.renew(c)}
			switch {
			case c.Status != connection.Connected:
				row.Detail = statusText(c)
			case row.Renew:
				row.Detail = "More access is asked for"
			}
			v.Accounts = append(v.Accounts, row)
		}
	}
	if a.server.AuthType == presets.TypeOAuth {
		// Not only those that the client asks for: it uses the connection as a whole,
		// and the provider is asked for no less.
		v.Scopes = scopesOf(a.server, nil)
		v.Typed = page.Typed{Name: a.server.Name, Parameters: h.parametersOf(a.server, a.person)}
		err := h.provider(r, a, &v)
		if errors.Is(err, flow.ErrNoClient) && len(v.Accounts) == 0 {
			return h.toSetup(w, r, a.server.Name)
		}
		if err != nil && !errors.Is(err, flow.ErrNoClient) {
			return err
		}
	}
	h.render(w, r, http.StatusOK, v)
	return nil
}

// provider tells the page where an account is connected. Where that depends on
// what the person has yet to type, the preset's own address says it.
func (h *Connect) provider(r *http.Request, a asked, v *page.AccessView) error {
	c, err := h.Flows.Preview(r.Context(), flow.StartRequest{Tenant: a.person.Tenant, Server: a.server.Name, Parameters: a.person.Session.Parameters})
	if err == nil {
		v.ProviderName, v.ProviderHost = c.Provider.DisplayName, c.ProviderHost
		return nil
	}
	if p, ok := h.Catalogue.Provider(a.server.OAuthService); ok && errors.Is(err, flow.ErrParameter) {
		_, rest, _ := strings.Cut(p.AuthorizationEndpoint, "://")
		v.ProviderName = p.DisplayName
		v.ProviderHost, _, _ = strings.Cut(rest, "/")
		return nil
	}
	return err
}

// toSetup leads the operator to the page that tells what to register. Who came by a
// link can register nothing.
func (h *Connect) toSetup(w http.ResponseWriter, r *http.Request, server string) error {
	if p, err := h.principal(r); err == nil && guest(p) {
		return errNotYet
	}
	http.Redirect(w, r, "/mcp/servers/"+url.PathEscape(server)+"/setup", http.StatusSeeOther)
	return nil
}

// parametersOf are the values that a person is asked before connecting.
func (h *Connect) parametersOf(s presets.Server, p Principal) (out []page.Parameter) {
	for _, f := range flow.Asked(h.Catalogue, s) {
		out = append(out, page.Parameter{Name: f.Name, Label: f.Label, Pattern: f.Pattern, Help: f.Help, Value: p.Session.Parameters[f.Name]})
	}
	return out
}

// requestGoesOn shows how far a request is that was allowed, and finishes it when
// there is a connection.
func (h *Connect) requestGoesOn(w http.ResponseWriter, r *http.Request, a asked) error {
	if a.req.Server == "" {
		return h.finishRequest(w, r, a, "")
	}
	if a.req.ConnectionID != "" {
		if !slices.ContainsFunc(a.own, func(c connection.Connection) bool { return c.ID == a.req.ConnectionID }) {
			return h.requestAsks(w, r, a) // it was disconnected meanwhile
		}
		return h.finishRequest(w, r, a, a.req.ConnectionID)
	}
	f, err := h.flowOf(r, a)
	if errors.Is(err, flow.ErrFlowUnknown) {
		return h.requestWantsKey(w, r, a)
	}
	if err != nil {
		return err
	}
	switch f.Status {
	case flow.Connected:
		return h.finishRequest(w, r, a, f.Result.ConnectionID)
	case flow.Denied, flow.Failed:
		h.requestFailed(w, r, a, f)
		return nil
	case flow.Picking:
		http.Redirect(w, r, placesPath(f.ID), http.StatusSeeOther)
		return nil
	}
	v := page.WaitView{Chrome: h.chrome(w, r, "One moment"), RequestID: a.req.ID, Asker: asker(a.client, a.req.RedirectURI),
		ServerDisplayName: a.server.DisplayName, Confirming: f.Status == flow.Pending, ReturnURL: returnTo(f)}
	w.Header().Set("Refresh", waitSeconds)
	h.render(w, r, http.StatusOK, v)
	return nil
}

// waitSeconds is when a page that waits asks again.
const waitSeconds = "5"

// flowOf is the flow that makes the request's connection: the one that was begun
// with the consent, or the key that was typed for it, which the address names.
// Whose it is, the flow itself says.
func (h *Connect) flowOf(r *http.Request, a asked) (flow.Flow, error) {
	id := a.req.FlowID
	if id == "" {
		id = r.URL.Query().Get("flow")
	}
	if id == "" {
		return flow.Flow{}, flow.ErrFlowUnknown
	}
	f, err := h.Flows.Look(r.Context(), id)
	if err == nil && (f.RequestID != a.req.ID || f.Browser != a.person.Browser || f.Tenant != a.person.Tenant || f.UserID != a.person.User || f.Server != a.server.Name) {
		err = flow.ErrFlowUnknown
	}
	return f, err
}

// requestWantsKey asks for what a server without a provider needs.
func (h *Connect) requestWantsKey(w http.ResponseWriter, r *http.Request, a asked) error {
	if a.server.AuthType == presets.TypeOAuth {
		return h.requestAsks(w, r, a)
	}
	v := page.KeyView{Chrome: h.chrome(w, r, "Connect "+a.server.DisplayName), RequestID: a.req.ID, Asker: asker(a.client, a.req.RedirectURI),
		ServerDisplayName: a.server.DisplayName, Typed: page.Typed{Name: a.server.Name, Parameters: h.parametersOf(a.server, a.person)}}
	for _, e := range a.server.EnvValues {
		v.Typed.EnvValues = append(v.Typed.EnvValues, page.EnvValue{Name: e.Name, Label: e.Label, HelpURL: e.HelpURL, Secret: e.Secret})
	}
	h.render(w, r, http.StatusOK, v)
	return nil
}

// requestFailed says why there is no connection, and leaves the client's answer
// to the person.
func (h *Connect) requestFailed(w http.ResponseWriter, r *http.Request, a asked, f flow.Flow) {
	p := &Problem{Status: http.StatusOK, Code: f.Result.Code, Heading: a.server.DisplayName + " is not connected", Message: f.Result.Detail,
		Next: "Nothing was given to the client. Try again, or cancel, which tells it that you did not allow it."}
	if f.Status == flow.Denied {
		p.Heading = "Access was not granted"
	}
	h.errorPage(w, r, p, page.ErrorView{Actions: []page.Action{
		{Label: "Try again", URL: requestPath(a.req.ID) + "?again=1"},
		{Label: "Cancel", URL: requestPath(a.req.ID), Post: true, Do: "cancel"},
	}})
}

// requestSignIn lets somebody sign in who has no session of the request's tenant.
// What follows a form of ours is a page that leads there.
func (h *Connect) requestSignIn(w http.ResponseWriter, r *http.Request, a asked) error {
	if r.Method == http.MethodGet {
		return h.signIn(w, r, a.req.Tenant, requestPath(a.req.ID))
	}
	return h.notSignedIn(w, r, a.req.Tenant, requestPath(a.req.ID))
}
