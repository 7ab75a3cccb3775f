package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/token"
)

func (h *Connect) mountSignIn(mux *http.ServeMux) {
	mux.HandleFunc("GET "+signin.BeginPath, led(h.route(h.beginSignIn)))
	mux.HandleFunc("GET /oauth/sign-ins/{id}", led(h.route(h.continueSignIn)))
	mux.HandleFunc("POST /api/v1/sign-ins/{id}/confirm", h.route(h.confirmSignIn))
	mux.HandleFunc("POST /oauth/sign-out", h.route(h.signOut))
}

// beginSignIn is where a person goes who wants to sign in to a tenant.
func (h *Connect) beginSignIn(w http.ResponseWriter, r *http.Request) error {
	if h.canonical(w, r) {
		return nil
	}
	q := r.URL.Query()
	tenant, back := q.Get("tenant"), q.Get("return")
	if tenant == "" {
		tenant = flow.DefaultTenant
	}
	if back == "" {
		back = "/mcp/servers"
	}
	return h.signIn(w, r, tenant, back)
}

// signIn lets a person sign in to the tenant by its own method, and leads back to
// the path, which is one of our pages. The browser leaves for the tenant's login,
// or, where there is none, is told what to open; when that is opened, it goes on
// there, too.
func (h *Connect) signIn(w http.ResponseWriter, r *http.Request, tenant, returnPath string) error {
	if err := signin.CheckReturn(returnPath); err != nil {
		return err
	}
	t, err := h.Tenants.Tenant(r.Context(), tenant)
	if err != nil {
		return err
	}
	switch t.SignIn.Way() {
	case flow.OIDC, flow.LoginURL:
		browser, _ := h.browser(w, r)
		to, err := h.SignIns.Begin(r.Context(), tenant, browser, returnPath)
		if err != nil {
			return err
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil
	case flow.Local:
		if _, err := h.personOf(w, r, tenant); err == nil {
			http.Redirect(w, r, returnPath, http.StatusSeeOther)
			return nil
		}
	}
	h.remember(w, returnPath)
	return h.notSignedIn(w, r, tenant, returnPath)
}

// personOf is person for pages of one tenant: somebody who is signed in to
// another one is nobody here.
func (h *Connect) personOf(w http.ResponseWriter, r *http.Request, tenant string) (Principal, error) {
	p, err := h.person(w, r)
	if err == nil && p.Tenant != tenant {
		return Principal{}, flow.ErrNoSession
	}
	return p, err
}

// notSignedIn tells how people of the tenant sign in, and leads there and back to
// the path.
func (s *Site) notSignedIn(w http.ResponseWriter, r *http.Request, tenant, returnPath string) error {
	t, err := s.Tenants.Tenant(r.Context(), tenant)
	if err != nil {
		return err
	}
	v := page.SignInView{Chrome: s.chrome(w, r, "Sign in"), Host: t.SignIn.Elsewhere(), Waits: strings.HasPrefix(returnPath, requestsPath)}
	if tenant != flow.DefaultTenant {
		v.Tenant = tenant
	}
	v.Owner = s.Owner != "" && tenant == flow.DefaultTenant
	if signin.CheckReturn(returnPath) != nil {
		returnPath = "/mcp/servers"
	}
	if v.Host != "" {
		v.URL = signin.BeginPath + "?" + url.Values{"tenant": {tenant}, "return": {returnPath}}.Encode()
	}
	s.render(w, r, http.StatusUnauthorized, v)
	return nil
}

// rememberAge is how long a browser remembers where it was going, in seconds: as
// long as an authorization request waits.
const rememberAge = 30 * 60

// remember keeps where the person goes on once they have opened a link that signs
// them in: see resume.
func (s *Site) remember(w http.ResponseWriter, returnPath string) {
	// It is no secret: it leads to pages that look at who comes.
	s.setCookie(w, "request", token.Secret(returnPath), rememberAge)
}

// resume returns where the person was going when they were told to open a link,
// and forgets it; "" if they were going nowhere.
func (s *Site) resume(w http.ResponseWriter, r *http.Request) string {
	for _, c := range r.CookiesNamed(s.cookieName("request")) {
		s.setCookie(w, "request", "", -1)
		if signin.CheckReturn(c.Value) == nil {
			return c.Value
		}
	}
	return ""
}

type signInJSON struct {
	ID string `json:"id"`
	// ContinueURL is for the browser of the person alone.
	ContinueURL string `json:"continue_url"`
	UserID      string `json:"user_id"`
}

// confirmSignIn is a backend saying which of its users its own login has seen. To
// be asked again, it gets the same answer.
func (h *Connect) confirmSignIn(w http.ResponseWriter, r *http.Request) error {
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
	user, err := p.For(in.UserID)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	proof := token.DeriveSecret(p.derive("sign-in", id, user))
	a, to, err := h.SignIns.Confirm(r.Context(), p.Tenant, id, user, proof)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, signInJSON{a.ID, to, a.UserID})
	return nil
}

func (h *Connect) continueSignIn(w http.ResponseWriter, r *http.Request) error {
	signed, err := h.SignIns.Continue(r.Context(), r.PathValue("id"), h.known(r), token.Secret(r.URL.Query().Get("proof")))
	if err != nil {
		return err
	}
	h.signedIn(w, r, signed)
	return nil
}

// signedIn gives the browser its session and leads on.
func (s *Site) signedIn(w http.ResponseWriter, r *http.Request, signed signin.Signed) {
	s.setCookie(w, "session", signed.Cookie, maxSession)
	// What the address held is nobody's business, and works no more.
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, signed.ReturnPath, http.StatusSeeOther)
}

func (h *Connect) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := h.form(w, r); err != nil {
		return err
	}
	if err := h.Flows.CloseSession(r.Context(), h.cookie(r, "session"), h.known(r)); err != nil {
		return err
	}
	h.setCookie(w, "session", "", -1)
	http.Redirect(w, r, "/mcp/servers", http.StatusSeeOther)
	return nil
}

// signInCallback takes an issuer's answer.
func (h *Callback) signInCallback(w http.ResponseWriter, r *http.Request) {
	attempt, signed, err := h.SignIns.Finish(r.Context(), r.URL.Query(), h.known(r))
	if err == nil {
		h.signedIn(w, r, signed)
		return
	}
	v := page.ErrorView{}
	if attempt.ID != "" {
		v.Actions = []page.Action{{Label: "Sign in again", URL: signin.BeginPath + "?" + url.Values{"tenant": {attempt.Tenant}, "return": {attempt.ReturnPath}}.Encode()}}
	}
	h.errorPage(w, r, h.describe(r, err), v)
}
