package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Clients that whoever runs Lanyard registers, for MCP clients that want an id and
// perhaps a secret typed in. They are the deployment's, not a tenant's.

type oauthClientJSON struct {
	ID           string   `json:"client_id"`
	Secret       string   `json:"client_secret,omitempty"`
	Name         string   `json:"name"`
	RedirectURIs []string `json:"redirect_uris"`
	AuthMethod   string   `json:"token_endpoint_auth_method"`
	CreatedAt    string   `json:"created_at"`
}

func oauthClientAnswer(c authserver.Client, secret token.Secret) oauthClientJSON {
	return oauthClientJSON{c.ID, secret.Reveal(), c.Name, c.RedirectURIs, c.AuthMethod, c.CreatedAt.UTC().Format(time.RFC3339)}
}

// operator returns who asks if that is the default tenant's backend.
func (h *Connect) operator(r *http.Request) (Principal, error) {
	p, err := h.backend(r)
	if err == nil && p.Tenant != flow.DefaultTenant {
		err = errOperator
	}
	return p, err
}

var errOperator = &Problem{Status: 403, Code: "forbidden", Heading: "Not yours",
	Message: "clients are registered for the whole deployment", Next: "Use an API key of the tenant default."}

// Bounds of a registered client.
const (
	maxClientURIs = 10
	maxClientURI  = 2048
)

func (h *Connect) addOAuthClient(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Name         string   `json:"name"`
		RedirectURIs []string `json:"redirect_uris"`
		AuthMethod   string   `json:"token_endpoint_auth_method"`
	}
	p, err := h.operator(r)
	if err != nil {
		return err
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	c := authserver.Client{ID: token.NewID("ocl"), Kind: authserver.Registered, Name: strings.TrimSpace(in.Name), RedirectURIs: in.RedirectURIs,
		AuthMethod: in.AuthMethod, CreatedAt: time.Now().UTC()}
	if c.AuthMethod == "" {
		c.AuthMethod = authserver.AuthBasic
	}
	if err := h.checkOAuthClient(c); err != nil {
		return err
	}
	secret := token.NewSecret()
	seed := p.seed(r, "oauth-client")
	if seed != nil {
		c.ID, secret = token.DeriveID("ocl", seed), token.DeriveSecret(seed)
	}
	if c.AuthMethod == authserver.AuthNone {
		secret = ""
	} else {
		c.SecretHash = token.Hash(secret)
	}
	err = h.OAuth.Store.AddClient(r.Context(), c)
	if errors.Is(err, authserver.ErrExists) && seed != nil {
		old, err := h.OAuth.Store.GetClient(r.Context(), c.ID)
		if err != nil || old.Name != c.Name || old.AuthMethod != c.AuthMethod || !slices.Equal(old.RedirectURIs, c.RedirectURIs) {
			return flow.ErrExists
		}
		c = old
	} else if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, oauthClientAnswer(c, secret))
	return nil
}

func (h *Connect) checkOAuthClient(c authserver.Client) error {
	switch {
	case c.Name == "" || len(c.Name) > 200:
		return badRequest("name is what people are shown when the client asks for access: 1 to 200 bytes", "")
	case len(c.RedirectURIs) == 0 || len(c.RedirectURIs) > maxClientURIs:
		return badRequest("redirect_uris are 1 to 10 addresses", "The client's own documentation names them.")
	case !slices.Contains([]string{authserver.AuthNone, authserver.AuthBasic, authserver.AuthPost}, c.AuthMethod):
		return badRequest("token_endpoint_auth_method is none, client_secret_basic or client_secret_post", "Leave it out for client_secret_basic.")
	}
	for _, raw := range c.RedirectURIs {
		if !h.mayRedirect(raw) {
			return badRequest("a redirect URI is neither https, nor http on loopback, nor one that this deployment allows",
				"It has no fragment and no user. One with a scheme of its own is allowed in LANYARD_OAUTH_REDIRECTS.")
		}
	}
	return nil
}

func (h *Connect) mayRedirect(raw string) bool {
	if slices.Contains(h.OAuth.Redirects, raw) {
		return true
	}
	u, err := url.Parse(raw)
	return err == nil && len(raw) <= maxClientURI && u.Host != "" && u.User == nil && !strings.Contains(raw, "#") &&
		(u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
}

func (h *Connect) listOAuthClients(w http.ResponseWriter, r *http.Request) error {
	if _, err := h.operator(r); err != nil {
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

// removeOAuthClient removes one that was registered here: the others come and go
// by themselves.
func (h *Connect) removeOAuthClient(w http.ResponseWriter, r *http.Request) error {
	if _, err := h.operator(r); err != nil {
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
