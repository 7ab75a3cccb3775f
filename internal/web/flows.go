package web

import (
	"context"
	"net/http"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

func (h *Connect) startFlow(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		UserID            string            `json:"user_id"`
		Scopes            []string          `json:"scopes"`
		ReturnURL         string            `json:"return_url"`
		Params            map[string]string `json:"params"`
		ConnectionID      string            `json:"connection_id"`
		AllowOtherAccount bool              `json:"allow_other_account"`
		Popup             bool              `json:"popup"`
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
	if !offers(p.Session, r.PathValue("name")) {
		return flow.ErrServer
	}
	f, err := h.Flows.Start(r.Context(), flow.StartRequest{
		Tenant: p.Tenant, UserID: user, Server: r.PathValue("name"), Scopes: in.Scopes, ReturnURL: in.ReturnURL,
		Parameters: in.Params, ConnectionID: in.ConnectionID, AllowOtherAccount: in.AllowOtherAccount, Popup: in.Popup,
		Browser: p.Browser, Proven: proven(p), Seed: p.seed(r, "flow"),
	})
	if err != nil {
		return err
	}
	// state repeats the flow's id: the OAuth state proper is minted after
	// consent and is nobody's business but the browser's.
	writeJSON(w, http.StatusOK, map[string]string{"authorization_url": h.BaseURL + "/c/" + f.ID, "flow_id": f.ID, "state": f.ID})
	return nil
}

// proven reports whether the person has shown who they are, as the owner of this
// machine or by signing in, and is not somebody who was sent a link: nobody has
// to confirm them.
func proven(p Principal) bool { return !p.APIKey() && (p.Session.Owner || p.Session.Proven) }

type flowJSON struct {
	ID           string      `json:"id"`
	Server       string      `json:"server"`
	Status       flow.Status `json:"status"`
	ConnectionID string      `json:"connection_id,omitempty"`
	Error        string      `json:"error,omitempty"`
	Description  string      `json:"error_description,omitempty"`
	Missing      []string    `json:"missing_scopes,omitempty"`
	PickURL      string      `json:"pick_url,omitempty"`
	ExpiresAt    time.Time   `json:"expires_at"`
}

func (s *Site) flowAnswer(f flow.Flow) flowJSON {
	return flowJSON{f.ID, f.Server, f.Status, f.Result.ConnectionID, f.Result.Code, f.Result.Detail, f.Result.Missing, s.pickURL(f), f.ExpiresAt}
}

// getFlow is what a page that opened a popup polls.
func (h *Connect) getFlow(w http.ResponseWriter, r *http.Request) error {
	tenant := ""
	if bearer(r) != "" {
		p, err := h.backend(r)
		if err != nil {
			return err
		}
		tenant = p.Tenant
	}
	f, err := h.Flows.Look(r.Context(), r.PathValue("id"))
	if err == nil && f.Tenant != tenant && (tenant != "" || f.Browser == "" || f.Browser != h.known(r)) {
		err = flow.ErrFlowUnknown
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, h.flowAnswer(f))
	return nil
}

func (h *Connect) confirmFlow(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		UserID string `json:"user_id"`
	}
	p, err := h.backend(r)
	if err != nil {
		return err
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	f, err := h.Flows.Confirm(r.Context(), p.Tenant, r.PathValue("id"), in.UserID)
	if err != nil {
		return err
	}
	h.Reconnected(context.WithoutCancel(r.Context()), connection.Key{Tenant: f.Tenant, ID: f.Result.ConnectionID})
	writeJSON(w, http.StatusOK, h.flowAnswer(f))
	return nil
}
