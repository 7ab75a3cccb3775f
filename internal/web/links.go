package web

import (
	"net/http"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
)

type linkJSON struct {
	ID        string    `json:"id"`
	URL       string    `json:"url,omitempty"`
	UserID    string    `json:"user_id"`
	Servers   []string  `json:"servers,omitempty"`
	ReturnURL string    `json:"return_url,omitempty"`
	Claimed   bool      `json:"claimed"`
	ExpiresAt time.Time `json:"expires_at"`
}

func linkAnswer(l flow.Link, url string) linkJSON {
	return linkJSON{ID: l.ID, URL: url, UserID: l.UserID, Servers: l.Servers, ReturnURL: l.ReturnURL, Claimed: l.Browser != "", ExpiresAt: l.ExpiresAt}
}

func (h *Connect) createLink(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		UserID    string            `json:"user_id"`
		Servers   []string          `json:"servers"`
		ReturnURL string            `json:"return_url"`
		TTL       int               `json:"ttl"`
		Params    map[string]string `json:"params"`
	}
	p, err := h.backend(r)
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
	ttl, err := seconds("ttl", in.TTL)
	if err != nil {
		return err
	}
	l, path, err := h.Flows.CreateLink(r.Context(), flow.LinkRequest{
		Tenant: p.Tenant, UserID: user, Servers: in.Servers, ReturnURL: in.ReturnURL, Parameters: in.Params,
		TTL: ttl, Seed: p.seed(r, "link"),
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, linkAnswer(l, h.BaseURL+path))
	return nil
}

func (h *Connect) getLink(w http.ResponseWriter, r *http.Request) error {
	p, err := h.backend(r)
	if err != nil {
		return err
	}
	l, err := h.Flows.Store.GetLink(r.Context(), p.Tenant, r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, linkAnswer(l, ""))
	return nil
}

func (h *Connect) deleteLink(w http.ResponseWriter, r *http.Request) error {
	p, err := h.backend(r)
	if err != nil {
		return err
	}
	if err := h.Flows.Store.DeleteLink(r.Context(), p.Tenant, r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
