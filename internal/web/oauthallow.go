package web

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/presets"
)

// requestForm is the person's answer.
func (h *Connect) requestForm(w http.ResponseWriter, r *http.Request) error {
	if err := h.form(w, r); err != nil {
		return err
	}
	if r.PostForm.Get("action") == "cancel" {
		return h.denyRequest(w, r)
	}
	a, err := h.ask(w, r)
	if errors.Is(err, flow.ErrNoSession) {
		return h.requestSignIn(w, r, a)
	}
	if err != nil {
		return err
	}
	if r.PostForm.Get("action") != "allow" {
		return badRequest("the form says neither yes nor no", "Go back and press one of the buttons.")
	}
	if a.req.Server == "" {
		return h.grant(w, r, a, "")
	}
	chosen := r.PostForm.Get("connection")
	if chosen == page.OtherAccount {
		return h.allowOther(w, r, a)
	}
	i := slices.IndexFunc(a.own, func(c connection.Connection) bool { return c.ID == chosen })
	switch {
	case i < 0:
		return connection.ErrNotFound
	case !a.renew(a.own[i]):
		return h.grant(w, r, a, chosen)
	case a.server.AuthType != presets.TypeOAuth:
		return h.allowOther(w, r, a)
	}
	return h.allowFlow(w, r, a, flow.StartRequest{ConnectionID: chosen})
}

func (h *Connect) denyRequest(w http.ResponseWriter, r *http.Request) error {
	browser, _ := h.browser(w, r)
	_, client, err := h.OAuth.Request(r.Context(), r.PathValue("id"), browser)
	if err != nil {
		return err
	}
	target, err := h.OAuth.Deny(r.Context(), r.PathValue("id"), browser)
	if err != nil {
		return err
	}
	return h.depart(w, r, target, client)
}

// allowOther goes on to where an account is connected that is not yet, or a key
// is typed.
func (h *Connect) allowOther(w http.ResponseWriter, r *http.Request, a asked) error {
	if a.server.AuthType != presets.TypeOAuth {
		if _, err := h.OAuth.Allow(r.Context(), a.req.ID, a.person.Browser, a.user, "", ""); err != nil {
			return err
		}
		http.Redirect(w, r, requestPath(a.req.ID), http.StatusSeeOther)
		return nil
	}
	params := map[string]string{}
	for name, values := range r.PostForm {
		if key, ok := strings.CutPrefix(name, page.ParameterPrefix); ok && len(values) == 1 {
			params[key] = strings.TrimSpace(values[0])
		}
	}
	if len(params) == 0 && len(a.own) > 0 && len(h.parametersOf(a.server, a.person)) > 0 {
		http.Redirect(w, r, requestPath(a.req.ID)+"?again=1&other=1", http.StatusSeeOther) // to be typed there
		return nil
	}
	return h.allowFlow(w, r, a, flow.StartRequest{Parameters: params})
}

// allowFlow begins the flow that makes, or renews, the connection. Only when the
// consent is stored is a state made and the provider asked.
func (h *Connect) allowFlow(w http.ResponseWriter, r *http.Request, a asked, s flow.StartRequest) error {
	s.Tenant, s.UserID, s.Server, s.RequestID = a.person.Tenant, a.person.User, a.server.Name, a.req.ID
	s.ReturnURL, s.Browser, s.Proven = a.person.Session.ReturnURL, a.person.Browser, proven(a.person)
	f, err := h.Flows.Start(r.Context(), s)
	if errors.Is(err, flow.ErrNoClient) {
		return h.toSetup(w, r, a.server.Name)
	}
	if err != nil {
		return err
	}
	if _, err := h.OAuth.Allow(r.Context(), a.req.ID, a.person.Browser, a.user, f.ID, ""); err != nil {
		return err
	}
	return h.leave(w, r, f.ID, a.person.Browser)
}
