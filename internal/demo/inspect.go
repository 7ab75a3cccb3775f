package demo

import (
	"net/http"
	"strings"
)

// revoke is POST /revoke (RFC 7009). Either kind of token ends its whole
// grant; an unknown token is no error (§2.2).
func (p *Provider) revoke(w http.ResponseWriter, r *http.Request) {
	form, ok := p.clientForm(w, r)
	if !ok {
		return
	}
	if form["token"] == "" {
		writeRefusal(w, refuse("invalid_request", "token is missing"))
		return
	}
	err := p.store.change(p.now(), func(s *state) bool {
		id, found := s.grantOf(form["token"])
		if found {
			s.endGrant(id)
		}
		return found
	})
	if err != nil {
		p.writeFailure(w, r, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// introspection is the answer of /introspect (RFC 7662 §2.2).
type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Username  string `json:"username,omitempty"`
	TokenType string `json:"token_type,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
	Subject   string `json:"sub,omitempty"`
	Issuer    string `json:"iss,omitempty"`
}

// introspect is POST /introspect. Asking about a spent refresh token does not
// count as using it.
func (p *Provider) introspect(w http.ResponseWriter, r *http.Request) {
	form, ok := p.clientForm(w, r)
	if !ok {
		return
	}
	if form["token"] == "" {
		writeRefusal(w, refuse("invalid_request", "token is missing"))
		return
	}
	var out introspection
	now, key := p.now(), hash(form["token"])
	p.store.view(func(s state) {
		if t, ok := s.Access[key]; ok && now.Before(t.Expires) {
			out = p.describe(s.Grants[t.Grant], t.Scopes)
			out.TokenType, out.Expires = "Bearer", t.Expires.Unix()
		}
		if t, ok := s.Refresh[key]; ok && !t.Spent && now.Before(t.Expires) {
			out = p.describe(s.Grants[t.Grant], s.Grants[t.Grant].Scopes)
			out.Expires = t.Expires.Unix()
		}
	})
	writeJSON(w, http.StatusOK, out)
}

func (p *Provider) describe(g grant, scopes []string) introspection {
	who, _ := accountOf(g.Account)
	return introspection{Active: true, Scope: strings.Join(scopes, " "), ClientID: p.clientID,
		Username: who.Email, Subject: who.Sub, Issuer: p.issuer}
}

// metadata is GET /.well-known/oauth-authorization-server (RFC 8414).
func (p *Provider) metadata(w http.ResponseWriter, _ *http.Request) {
	var names []string
	for _, s := range scopes() {
		names = append(names, s.Name)
	}
	auth := []string{"client_secret_basic", "client_secret_post"}
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                         p.issuer,
		"authorization_endpoint":                         p.issuer + "/authorize",
		"token_endpoint":                                 p.issuer + "/token",
		"revocation_endpoint":                            p.issuer + "/revoke",
		"introspection_endpoint":                         p.issuer + "/introspect",
		"userinfo_endpoint":                              p.issuer + "/userinfo",
		"scopes_supported":                               names,
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token"},
		"code_challenge_methods_supported":               []string{"S256"},
		"token_endpoint_auth_methods_supported":          auth,
		"revocation_endpoint_auth_methods_supported":     auth,
		"introspection_endpoint_auth_methods_supported":  auth,
		"authorization_response_iss_parameter_supported": true,
	})
}
