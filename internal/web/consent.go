package web

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/page"
)

// consentPage is what a person reads before going to the provider: what is asked
// for, and why. It changes nothing.
func (h *Connect) consentPage(w http.ResponseWriter, r *http.Request) error {
	if h.canonical(w, r) {
		return nil
	}
	f, err := h.Flows.Look(r.Context(), r.PathValue("flow"))
	if err == nil && f.Status == flow.Picking && f.Browser == h.known(r) {
		http.Redirect(w, r, placesPath(f.ID), http.StatusSeeOther) // by the browser's Back
		return nil
	}
	if err == nil && f.Elicited {
		p, err := h.person(w, r)
		if errors.Is(err, flow.ErrNoSession) {
			return h.signIn(w, r, f.Tenant, "/c/"+url.PathEscape(f.ID))
		}
		if err == nil {
			err = f.Asks(p.Session)
		}
		if err != nil {
			return err
		}
	}
	browser, _ := h.browser(w, r)
	c, err := h.Flows.Consent(r.Context(), r.PathValue("flow"), browser)
	if err != nil {
		return h.flowProblem(w, r, err)
	}
	v := page.ConsentView{Chrome: h.chrome(w, r, "Connect "+c.Server.DisplayName), FlowID: c.Flow.ID,
		ServerDisplayName: c.Server.DisplayName, ProviderName: c.Provider.DisplayName, ProviderHost: c.ProviderHost, RemoteHost: c.Server.RemoteHost(),
		Scopes: scopesOf(c.Server, c.Asked), Reconnect: c.Reconnect, Popup: c.Flow.Popup}
	if c.Flow.Browser == browser {
		v.UserID = c.Flow.UserID // not for somebody who merely has the address
	}
	h.render(w, r, http.StatusOK, v, c.ProviderOrigin)
	return nil
}

// flowProblem leads the operator to the page that tells what to register.
func (h *Connect) flowProblem(w http.ResponseWriter, r *http.Request, err error) error {
	if errors.Is(err, flow.ErrNoClient) {
		if f, lookErr := h.Flows.Look(r.Context(), r.PathValue("flow")); lookErr == nil {
			return h.toSetup(w, r, f.Server)
		}
	}
	return err
}

func (h *Connect) consentForm(w http.ResponseWriter, r *http.Request) error {
	if err := h.form(w, r); err != nil {
		return err
	}
	browser, _ := h.browser(w, r)
	id := r.PathValue("flow")
	if err := h.answers(r, id); err != nil {
		return err
	}
	if r.PostForm.Get("action") == "cancel" {
		f, err := h.Flows.Cancel(r.Context(), id, browser)
		if err != nil {
			return err
		}
		server, _ := h.Catalogue.Server(f.Server)
		h.finished(w, r, server, f, flow.ErrDenied)
		return nil
	}
	return h.flowProblem(w, r, h.leave(w, r, id, browser))
}

// leave sends the person to the provider. It is no redirect: browsers hold every
// redirect that follows a form against form-action, and a provider's sign-in may
// cross hosts nobody can list.
func (h *Connect) leave(w http.ResponseWriter, r *http.Request, id, browser string) error {
	consent, err := h.Flows.Consent(r.Context(), id, browser)
	if err != nil {
		return err
	}
	target, err := h.Flows.Authorize(r.Context(), id, browser)
	if err != nil {
		return err
	}
	h.render(w, r, http.StatusOK, page.LeavingView{Chrome: h.chrome(w, r, "Continue"), URL: target,
		ProviderName: consent.Provider.DisplayName, ProviderHost: consent.ProviderHost})
	return nil
}

// answers checks that an elicited flow is taken up by the person whom it asks.
func (h *Connect) answers(r *http.Request, id string) error {
	f, err := h.Flows.Look(r.Context(), id)
	if err != nil || !f.Elicited {
		return err
	}
	p, err := h.principal(r)
	if err != nil {
		return err
	}
	return h.Flows.TakeUp(r.Context(), f, p.Session)
}
