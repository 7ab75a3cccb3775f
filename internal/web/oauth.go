package web

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/internal/provider"
)

// The paths of the authorization server (package authserver): what stands before
// a person is a page, what programs call answers in the words of OAuth. None of
// the latter takes a cookie, so that pages of other origins may call them, as MCP
// clients that run in a browser do.

// maxOAuthBody bounds what a client sends, in bytes.
const maxOAuthBody = 64 << 10

func (h *Connect) mountOAuth(mux *http.ServeMux) {
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", h.metadata(false))
	mux.HandleFunc("GET /.well-known/openid-configuration", h.metadata(true))
	mux.HandleFunc("GET /.well-known/oauth-protected-resource", h.resource)
	mux.HandleFunc("GET /.well-known/oauth-protected-resource/{path...}", h.resource)
	mux.HandleFunc("GET /.well-known/{path...}", h.noDocument)
	mux.HandleFunc("OPTIONS /.well-known/{path...}", preflight)
	mux.HandleFunc("GET /oauth/jwks", h.jwks)
	mux.HandleFunc("POST /oauth/token", h.token)
	mux.HandleFunc("OPTIONS /oauth/token", preflight)
	mux.HandleFunc("POST /oauth/revoke", h.revokeGrant)
	mux.HandleFunc("OPTIONS /oauth/revoke", preflight)
	mux.HandleFunc("POST /oauth/register", h.register)
	mux.HandleFunc("OPTIONS /oauth/register", preflight)
	mux.HandleFunc("GET /oauth/authorize", led(h.route(h.authorize)))
	mux.HandleFunc("POST /oauth/authorize", h.authorizeForm)
	mux.HandleFunc("GET /oauth/requests/{id}", led(h.route(h.requestPage)))
	mux.HandleFunc("POST /oauth/requests/{id}", h.route(h.requestForm))
	mux.HandleFunc("POST /api/v1/oauth-clients", h.route(h.addOAuthClient))
	mux.HandleFunc("GET /api/v1/oauth-clients", h.route(h.listOAuthClients))
	mux.HandleFunc("DELETE /api/v1/oauth-clients/{id}", h.route(h.removeOAuthClient))
}

// open lets pages of every origin read the answer. Cookies are never sent with
// such a request, nor looked at.
func open(w http.ResponseWriter) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")
}

func preflight(w http.ResponseWriter, _ *http.Request) {
	open(w)
	w.Header().Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
	w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, MCP-Protocol-Version")
	w.Header().Set("Access-Control-Max-Age", "7200")
	w.WriteHeader(http.StatusNoContent)
}

// document answers with one that is the same for everybody.
func document(w http.ResponseWriter, body json.RawMessage) {
	open(w)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(body) // the client has gone if this fails
}

func (h *Connect) metadata(openID bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { document(w, h.OAuth.Metadata(openID)) }
}

// resource is the document of the endpoint whose path follows; without one, of the
// only server, if there is but one.
func (h *Connect) resource(w http.ResponseWriter, r *http.Request) {
	body, ok := h.OAuth.ResourceMetadata("/" + r.PathValue("path"))
	if !ok {
		h.noDocument(w, r)
		return
	}
	document(w, body)
}

func (h *Connect) noDocument(w http.ResponseWriter, _ *http.Request) {
	open(w)
	h.problemJSON(w, errNotFound)
}

// jwks is empty: our tokens are opaque, and nothing that we say is signed.
func (h *Connect) jwks(w http.ResponseWriter, _ *http.Request) {
	document(w, json.RawMessage(`{"keys":[]}`))
}

// oauthError answers a program in the words of OAuth (RFC 6749 §5.2).
func (h *Connect) oauthError(w http.ResponseWriter, r *http.Request, err error) {
	var e *authserver.Error
	if !errors.As(err, &e) {
		p := h.describe(r, err)
		e = &authserver.Error{Status: p.Status, Code: "server_error", Description: p.Message}
		if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
			e.Code = "temporarily_unavailable"
		}
		h.retryAfter(w, p)
	}
	// RFC 6749 §5.2: the scheme that the client used.
	if e.Status == http.StatusUnauthorized && r.Header.Get("Authorization") != "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="lanyard"`)
	}
	writeJSON(w, e.Status, map[string]string{"error": e.Code, "error_description": e.Description})
}

// oauthForm reads the body of a call of a client's: nothing in the address counts.
func oauthForm(w http.ResponseWriter, r *http.Request) (url.Values, string, error) {
	bad := func(status int, text string) error {
		return &authserver.Error{Status: status, Code: "invalid_request", Description: text}
	}
	if ct, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); ct != "application/x-www-form-urlencoded" {
		return nil, "", bad(http.StatusBadRequest, "the body must be application/x-www-form-urlencoded")
	}
	if len(r.Header.Values("Authorization")) > 1 {
		return nil, "", bad(http.StatusBadRequest, "there is more than one Authorization header")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxOAuthBody)
	if err := r.ParseForm(); err != nil {
		if orTooLarge(err, nil) != nil {
			return nil, "", bad(http.StatusRequestEntityTooLarge, "the body is larger than 64 KiB")
		}
		return nil, "", bad(http.StatusBadRequest, "the body is no form")
	}
	return r.PostForm, r.Header.Get("Authorization"), nil
}

// token is the token endpoint (RFC 6749 §3.2).
func (h *Connect) token(w http.ResponseWriter, r *http.Request) {
	open(w)
	form, authorization, err := oauthForm(w, r)
	var a authserver.Answer
	if err == nil {
		a, err = h.OAuth.Token(r.Context(), form, authorization)
	}
	if err != nil {
		h.oauthError(w, r, err)
		return
	}
	out := map[string]any{
		"access_token": a.AccessToken.Reveal(), "token_type": "Bearer", "expires_in": int(a.ExpiresIn.Seconds()),
		"refresh_token": a.RefreshToken.Reveal(),
	}
	if len(a.Scopes) > 0 {
		out["scope"] = strings.Join(a.Scopes, " ")
	}
	w.Header().Set("Pragma", "no-cache")
	writeJSON(w, http.StatusOK, out)
}

// revokeGrant is the revocation endpoint (RFC 7009).
func (h *Connect) revokeGrant(w http.ResponseWriter, r *http.Request) {
	open(w)
	form, authorization, err := oauthForm(w, r)
	if err == nil {
		err = h.OAuth.Revoke(r.Context(), form, authorization)
	}
	if err != nil {
		h.oauthError(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

// register is the registration endpoint (RFC 7591 §3).
func (h *Connect) register(w http.ResponseWriter, r *http.Request) {
	open(w)
	bad := func(status int, text string) {
		h.oauthError(w, r, &authserver.Error{Status: status, Code: "invalid_client_metadata", Description: text})
	}
	if ct, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); ct != "application/json" {
		bad(http.StatusBadRequest, "the body must be application/json")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOAuthBody))
	if err != nil {
		if orTooLarge(err, nil) != nil {
			bad(http.StatusRequestEntityTooLarge, "the body is larger than 64 KiB")
			return
		}
		bad(http.StatusBadRequest, "the body could not be read")
		return
	}
	answer, err := h.OAuth.Register(r.Context(), body, h.viewer(r))
	if err != nil {
		h.oauthError(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, answer)
}

// viewer is whose address a request came from.
func (h *Connect) viewer(r *http.Request) string {
	if h.Viewer != nil {
		return h.Viewer(r)
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// authorize is the authorization endpoint (RFC 6749 §3.1): it binds the request
// to the browser, and leads to the page that asks.
func (h *Connect) authorize(w http.ResponseWriter, r *http.Request) error {
	if h.canonical(w, r) {
		return nil
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badRequest("the address is malformed", "Start again in your MCP client.")
	}
	browser, _ := h.browser(w, r)
	req, err := h.OAuth.Authorize(r.Context(), q, browser)
	var e *authserver.Error
	switch {
	case errors.As(err, &e) && e.Redirect != "":
		h.Logger.InfoContext(r.Context(), "an authorization request was refused", "code", e.Code)
		away(w, e.Redirect)
	case err != nil:
		return err
	default:
		away(w, requestPath(req.ID))
	}
	return nil
}

// authorizeForm makes a request that came as a form (RFC 6749 §3.1) one by
// address: with a form of another site browsers send no cookie, and whose browser
// that is would not be known.
func (h *Connect) authorizeForm(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxOAuthBody)
	if err := r.ParseForm(); err != nil {
		h.problem(w, r, orTooLarge(err, badRequest("the form could not be read", "Start again in your MCP client.")))
		return
	}
	away(w, "/oauth/authorize?"+r.Form.Encode())
}

// away redirects to an address that may be a client's, and may hold a code: no
// page learns from where, and nothing keeps it. The address is sent as it is.
func away(w http.ResponseWriter, target string) {
	h := w.Header()
	h.Set("Location", target)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusSeeOther)
}

// depart takes the browser to a client. What follows a form of ours is no
// redirect: browsers hold those against form-action.
func (h *Connect) depart(w http.ResponseWriter, r *http.Request, target string, c authserver.Client) error {
	if r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Site") != "same-origin" {
		away(w, target)
		return nil
	}
	a := asker(c, target)
	name := a.Client
	if name == "" {
		name = "your MCP client"
	}
	h.render(w, r, http.StatusOK, page.LeavingView{Chrome: h.chrome(w, r, "Continue"), URL: target, ProviderName: name, ProviderHost: a.RedirectHost, Back: true})
	return nil
}

// maxClientName bounds a client's name as people are shown it, in characters.
const maxClientName = 48

// asker is what a person is told of a client, whose redirect URI that is.
func asker(c authserver.Client, redirect string) page.Asker {
	a := page.Asker{Client: bounded(c.Name), Itself: c.Kind == authserver.Dynamic}
	if c.Kind == authserver.Document {
		a.ClientHost, a.Proven = HostOf(c.ID), true
	} else {
		a.ClientHost = HostOf(c.URI)
	}
	u, err := url.Parse(redirect)
	if err != nil {
		return a
	}
	a.RedirectHost = u.Host
	if page.ProgramURL(redirect) {
		a.RedirectHost = u.Scheme + "://" + u.Host
	}
	a.Program = page.ProgramURL(redirect) || provider.IsLoopback(u.Hostname())
	return a
}

// bounded is a client's name, which is hostile text, on one line.
func bounded(s string) string { return provider.CleanTo(s, maxClientName) }

// face is an error of OAuth that a person is shown.
func face(e *authserver.Error) *Problem {
	return &Problem{Status: e.Status, Code: e.Code, Heading: "This sign-in cannot go on", Message: e.Description,
		Next: "Nothing was granted. Start again in your MCP client; if it happens again, its settings, or the client itself, are at fault."}
}
