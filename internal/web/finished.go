package web

import (
	"net/http"
	"net/url"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/presets"
)

// finished shows how a flow to connect the server ended, and leads on to where it
// began: the page of an MCP client's request, too. Both are empty where the state
// has not proven whose flow it is.
func (s *Site) finished(w http.ResponseWriter, r *http.Request, server presets.Server, f flow.Flow, err error) {
	if f.RequestID != "" && f.ID != "" {
		// An MCP client waits for what became of it.
		http.Redirect(w, r, requestPath(f.RequestID)+"?flow="+url.QueryEscape(f.ID), http.StatusSeeOther)
		return
	}
	var origin string
	if f.Popup {
		origin = originOf(f.ReturnURL)
	}
	if err != nil {
		p := s.describe(r, err)
		v := page.ErrorView{Popup: f.Popup, FlowID: f.ID, OpenerOrigin: origin}
		if f.RequestID != "" {
			v.Actions = append(v.Actions, page.Action{Label: "Try again", URL: requestPath(f.RequestID)})
		} else if f.Server != "" {
			v.Actions = append(v.Actions, page.Action{Label: "Try again", URL: "/mcp/servers?server=" + url.QueryEscape(f.Server)})
		}
		if f.ReturnURL != "" {
			v.Actions = append(v.Actions, page.Action{Label: "Back", URL: returnTo(f)})
		}
		s.errorPage(w, r, p, v)
		return
	}
	v := page.DoneView{Chrome: s.chrome(w, r, "Connected"), Connected: f.Status == flow.Connected, Pending: f.Status == flow.Pending,
		ServerDisplayName: server.DisplayName, Account: f.Result.Account, Popup: f.Popup, FlowID: f.ID, OpenerOrigin: origin, ReturnURL: returnTo(f)}
	// A flow that a backend began leads no further in a browser that has no
	// session of that user.
	if f.Result.ConnectionID != "" && f.Status == flow.Connected && v.User == f.UserID {
		v.ContinueURL = connectionPath(f.Result.ConnectionID)
	}
	if len(f.Result.Missing) > 0 {
		v.Missing = scopesOf(server, f.Result.Missing)
	}
	// A full-page flow that left nothing to be said goes straight on.
	if !f.Popup && len(v.Missing) == 0 && (f.ReturnURL != "" || v.ContinueURL != "") {
		target := v.ContinueURL
		if f.ReturnURL != "" {
			target = v.ReturnURL
		}
		if host := HostOf(target); host != "" && !safe(r.Method) {
			// What follows a form may not be a redirect to somebody else; see [Connect.leave].
			s.render(w, r, http.StatusOK, page.LeavingView{Chrome: s.chrome(w, r, "Connected"), URL: target, ProviderName: host, ProviderHost: host, Back: true})
			return
		}
		http.Redirect(w, r, target, http.StatusSeeOther)
		return
	}
	s.render(w, r, http.StatusOK, v)
}

// returnTo is the flow's return_url with what the tenant's backend needs to
// look the flow up. Nothing in it is secret or decides anything.
func returnTo(f flow.Flow) string {
	if f.ReturnURL == "" {
		return ""
	}
	u, err := url.Parse(f.ReturnURL)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("flow_id", f.ID)
	q.Set("status", string(f.Status))
	u.RawQuery = q.Encode()
	return u.String()
}
