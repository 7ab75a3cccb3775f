package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/page"
)

// Who granted access to several places of a provider, such as sites, picks here
// which one the connection is for.

func placesPath(flowID string) string { return "/mcp/oauth/places/" + url.PathEscape(flowID) }

// pickURL is where the flow's browser is needed, if it is there that one is picked.
func (s *Site) pickURL(f flow.Flow) string {
	if f.Status != flow.Picking {
		return ""
	}
	return s.BaseURL + placesPath(f.ID)
}

// placesPage changes nothing.
func (h *Callback) placesPage(w http.ResponseWriter, r *http.Request) error {
	o, err := h.Flows.Offered(r.Context(), r.PathValue("flow"), h.known(r))
	if err != nil {
		return h.placesEnded(w, r, o.Flow, err)
	}
	server, _ := h.Catalogue.Server(o.Flow.Server)
	provider, _ := h.Catalogue.Provider(o.Flow.Provider)
	v := page.PlacesView{Chrome: h.chrome(w, r, "Which "+o.Kind+"?"), FlowID: o.Flow.ID, ServerDisplayName: server.DisplayName,
		ProviderName: provider.DisplayName, Kind: o.Kind, Account: o.Flow.Result.Account, More: o.More}
	for _, p := range o.Places {
		v.Places = append(v.Places, page.Place{ID: p.ID, Name: cmp.Or(p.Name, p.Label), Label: p.Label})
	}
	if o.Lost != nil {
		v.Lost = cmp.Or(o.Lost.Label, "the one before")
	}
	h.render(w, r, http.StatusOK, v)
	return nil
}

func (h *Callback) placesForm(w http.ResponseWriter, r *http.Request) error {
	if err := h.form(w, r); err != nil {
		return err
	}
	id, browser := r.PathValue("flow"), h.known(r)
	answer := func() (flow.Flow, error) { return h.Flows.Pick(r.Context(), id, r.PostForm.Get("place"), browser) }
	if r.PostForm.Get("action") == "cancel" {
		answer = func() (flow.Flow, error) { return h.Flows.Decline(r.Context(), id, browser) }
	}
	f, err := answer()
	if f.Status == flow.Picking && (errors.Is(err, flow.ErrPlace) || errors.Is(err, flow.ErrStore)) {
		h.errorPage(w, r, h.describe(r, err), page.ErrorView{Actions: []page.Action{{Label: "Back to the list", URL: placesPath(id)}}})
		return nil
	}
	if err == nil {
		h.tell(r, f)
	}
	return h.placesEnded(w, r, f, err)
}

// placesEnded leads on from where the flow stands now.
func (h *Callback) placesEnded(w http.ResponseWriter, r *http.Request, f flow.Flow, err error) error {
	if f.ID == "" {
		return err // the browser may not know of it
	}
	if errors.Is(err, flow.ErrFlowEnded) && (f.Status == flow.Connected || f.Status == flow.Pending) {
		err = nil // the page again, after it was answered
	}
	server, _ := h.Catalogue.Server(f.Server)
	h.finished(w, r, server, f, err)
	return nil
}
