package web

import (
	"errors"
	"net/http"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Clients that whoever runs Lanyard enters, for MCP clients that want an id and
// perhaps a secret typed in. They are the deployment's, not a tenant's.

type oauthClientJSON struct {
	ID           string    `json:"client_id"`
	Secret       string    `json:"client_secret,omitempty"`
	Name         string    `json:"name"`
	RedirectURIs []string  `json:"redirect_uris"`
	AuthMethod   string    `json:"token_endpoint_auth_method"`
	CreatedAt    time.Time `json:"created_at"`
}

func oauthClientAnswer(c authserver.Client, secret token.Secret) oauthClientJSON {
	return oauthClientJSON{c.ID, secret.Reveal(), c.Name, c.RedirectURIs, c.AuthMethod, c.CreatedAt.UTC()}
}

// operator reports whether the default tenant's backend asks.
func (h *Connect) operator(r *http.Request) error {
	p, err := h.backend(r)
	if err == nil && p.Tenant != flow.DefaultTenant {
		err = errOperator
	}
	return err
}

var errOperator = &Problem{Status: 403, Code: "forbidden", Heading: "Not yours",
	Message: "clients are entered for the whole deployment", Next: "Use an API key of the tenant default."}

func (h *Connect) addOAuthClient(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Name         string   `json:"name"`
		RedirectURIs []string `json:"redirect_uris"`
		AuthMethod   string   `json:"token_endpoint_auth_method"`
	}
	if err := h.operator(r); err != nil {
		return err
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	if in.Name == "" {
		return badRequest("name is missing", "It is what people are shown when the client asks for access.")
	}
	if in.AuthMethod == authserver.AuthKeyJWT {
		return badRequest("a client that proves itself by a key publishes it at the address that is its id", "It needs no entry here.")
	}
	c, secret, err := h.OAuth.Enter(r.Context(), in.Name, in.RedirectURIs, in.AuthMethod)
	var refused *authserver.Error
	if errors.As(err, &refused) { // nobody is signing in
		p := badRequest(refused.Description, "")
		p.Code = refused.Code
		return p
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, oauthClientAnswer(c, secret))
	return nil
}

func (h *Connect) listOAuthClients(w http.ResponseWriter, r *http.Request) error {
	if err := h.operator(r); err != nil {
		return err
	}
	found, err := h.OAuth.Store.RegisteredClients(r.Context())
	if err != nil {
		return err
	}
	out := []oauthClientJSON{}
	for _, c := range found {
		out = append(out, oauthClientAnswer(c, ""))
	}
	writeJSON(w, http.StatusOK, map[string]any{"oauth_clients": out})
	return nil
}

// removeOAuthClient removes one that was entered here: the others come and go by
// themselves.
func (h *Connect) removeOAuthClient(w http.ResponseWriter, r *http.Request) error {
	if err := h.operator(r); err != nil {
		return err
	}
	c, err := h.OAuth.Store.GetClient(r.Context(), r.PathValue("id"))
	if err == nil && c.Kind != authserver.Registered {
		err = authserver.ErrNoClient
	}
	if err == nil {
		err = h.OAuth.Store.DeleteClient(r.Context(), c.ID)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
