package web

import (
	"errors"
	"net/http"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
)

// endpoint is the MCP endpoint of one server: what lets a client in, and in
// which words it is told what went wrong. The rest is package host's.
func (h *MCPRun) endpoint(w http.ResponseWriter, r *http.Request) {
	if h.foreign(w, r) {
		return
	}
	tenant, name, ok := authserver.EndpointAt(r.URL.Path)
	server, known := h.Catalogue.Server(name)
	if !ok || !known {
		h.problemJSON(w, errNotFound)
		return
	}
	c, who, err := h.Host.Bearer(r.Context(), bearer(r), tenant, name)
	switch {
	case errors.Is(err, host.ErrNoToken):
		h.challenge(w, r, server.ScopeNames(), "Give an MCP client this address: it signs you in by itself. One that takes a fixed token gets it on the connection's page: "+h.BaseURL+"/mcp/servers")
	case err != nil && !errors.Is(err, host.ErrNotConnected):
		h.deny(w, r, err)
	default:
		h.Host.Serve(w, r, host.Visit{
			Connection: c, Holder: who, Refused: err, Challenge: h.challengeAt(r),
			Say:  func(err error) (string, string) { return h.say(r, c, err) },
			Deny: func(w http.ResponseWriter, err error) { h.deny(w, r, err) },
		})
	}
}

// allEndpoint is the MCP endpoint of all servers of whoever shows a token for
// that.
func (h *MCPRun) allEndpoint(w http.ResponseWriter, r *http.Request) {
	if h.foreign(w, r) {
		return
	}
	tenant, name, ok := authserver.EndpointAt(r.URL.Path)
	if !ok || name != "" {
		h.problemJSON(w, errNotFound)
		return
	}
	who, err := h.Host.BearerAll(r.Context(), bearer(r), tenant)
	switch {
	case errors.Is(err, host.ErrNoToken):
		h.challenge(w, r, nil, "Give an MCP client this address: it signs you in by itself. One that takes a fixed token gets it here: "+h.BaseURL+"/mcp/all")
	case err != nil:
		h.deny(w, r, err)
	default:
		h.Host.ServeAll(w, r, host.VisitAll{
			Holder: who, Challenge: h.challengeAt(r),
			Say:  func(c connection.Connection, err error) (string, string) { return h.say(r, c, err) },
			Deny: func(w http.ResponseWriter, err error) { h.deny(w, r, err) },
		})
	}
}

// challengeAt is what WWW-Authenticate says at the request's endpoint; nil:
// clients cannot sign in.
func (h *MCPRun) challengeAt(r *http.Request) func(code, description string, scopes []string) string {
	if h.SignIn == nil {
		return nil
	}
	return func(code, description string, scopes []string) string {
		return h.SignIn.Challenge(r.URL.Path, code, description, scopes)
	}
}

// foreign answers a page of another origin, which must not reach a server
// through somebody's browser (MCP, Streamable HTTP: Origin).
func (h *MCPRun) foreign(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || origin == originOf(h.BaseURL) {
		return false
	}
	h.problemJSON(w, errCrossSite)
	return true
}

// challenge asks for a bearer (RFC 6750 §3.1): where clients can sign in, it
// leads them there.
func (h *MCPRun) challenge(w http.ResponseWriter, r *http.Request, scopes []string, hint string) {
	challenge, code, description := `Bearer realm="lanyard"`, "", ""
	if bearer(r) != "" {
		code, description = "invalid_token", "the token is not valid here, or not any more"
	}
	if at := h.challengeAt(r); at != nil {
		challenge = at(code, description, scopes)
	} else if code != "" {
		challenge += `, error="invalid_token"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token", "error_description": host.ErrNoToken.Error(), "hint": hint})
}

// deny answers in the words of HTTP what is no message of MCP.
func (h *MCPRun) deny(w http.ResponseWriter, r *http.Request, err error) {
	p := h.describe(r, err)
	if p.Status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "POST, DELETE")
	}
	h.problemJSON(w, p)
}

// say puts an error into the words of JSON-RPC, so that it reaches the person
// who asked: clients show the error of a request that they sent, and hardly the
// body of a failed HTTP exchange.
func (h *MCPRun) say(r *http.Request, c connection.Connection, err error) (text, code string) {
	p := h.describe(r, err)
	text = p.Message
	if p.Detail != "" {
		text = p.Detail
	}
	path := "/mcp/servers"
	if c.ID != "" {
		path = connectionPath(c.ID)
	}
	return text + ". " + p.Next + " " + h.BaseURL + path, p.Code
}
