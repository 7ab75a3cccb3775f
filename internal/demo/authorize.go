package demo

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxQuery bounds an authorization request, in bytes.
const maxQuery = 8 << 10

// authRequest is an authorization request that has passed every check.
type authRequest struct {
	RedirectURI string   `json:"redirect_uri"`
	State       string   `json:"state,omitempty"`
	Challenge   string   `json:"code_challenge"` // S256
	Scopes      []string `json:"scopes"`         // in the order of scopes()
}

// authorize is GET /authorize. Until client and redirect URI are known to be
// right, an error stays on this page; later ones go back to the client
// (RFC 6749 §4.1.2.1).
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	req, refused, wrong := p.readRequest(r.URL.RawQuery)
	if wrong != "" {
		p.badRequest(w, wrong)
		return
	}
	if refused != nil {
		p.answer(w, r, http.StatusFound, req, url.Values{"error": {refused.code}, "error_description": {refused.description}})
		return
	}
	p.showConsent(w, r, req, "")
}

// readRequest reads an authorization request. wrong says that it cannot be
// answered anywhere but here.
func (p *Provider) readRequest(query string) (req authRequest, refused *refusal, wrong string) {
	if len(query) > maxQuery {
		return req, nil, "The authorization request is too long."
	}
	q, repeated, err := parseParams(query)
	switch {
	case err != nil:
		return req, nil, "The authorization request's parameters cannot be read."
	case q["client_id"] != p.clientID:
		return req, nil, "The app that sent you here is not registered: its client_id is missing or unknown."
	case !slices.Contains(p.redirects, q["redirect_uri"]):
		return req, nil, "The app that sent you here asked to be answered at an address that is not registered for it (redirect_uri)."
	}
	req, refused = checkRequest(q, repeated)
	return req, refused, ""
}

func (p *Provider) badRequest(w http.ResponseWriter, what string) {
	p.message(w, http.StatusBadRequest, "This link does not work",
		what+" Close this page, go back to the app and start again.")
}

// checkRequest checks everything but client and redirect URI. Also with a
// refusal, the request says where and with which state to answer.
func checkRequest(q params, repeated map[string]bool) (authRequest, *refusal) {
	req := authRequest{RedirectURI: q["redirect_uri"], State: q["state"], Challenge: q["code_challenge"]}
	if len(repeated) > 0 {
		return req, refuse("invalid_request", "a parameter is given more than once")
	}
	switch q["response_type"] {
	case "code":
	case "":
		return req, refuse("invalid_request", "response_type is missing")
	default:
		return req, refuse("unsupported_response_type", "only response_type=code is supported")
	}
	if req.Challenge == "" {
		return req, refuse("invalid_request", "code_challenge is missing: PKCE is required")
	}
	// An absent method means plain (RFC 7636 §4.3).
	if q["code_challenge_method"] != "S256" {
		return req, refuse("invalid_request", "code_challenge_method must be S256")
	}
	if sum, err := base64.RawURLEncoding.Strict().DecodeString(req.Challenge); err != nil || len(sum) != 32 {
		return req, refuse("invalid_request", "code_challenge is not a base64url SHA-256 hash")
	}
	asked := strings.Fields(q["scope"])
	if len(asked) == 0 {
		return req, refuse("invalid_scope", "scope is missing: ask for notes.read, notes.write or profile")
	}
	for _, s := range asked {
		if !knownScope(s) {
			return req, refuse("invalid_scope", "the scopes are notes.read, notes.write and profile")
		}
	}
	req.Scopes = inOrder(asked)
	return req, nil
}

// inOrder sorts known scopes as scopes() does and drops repeats.
func inOrder(names []string) []string {
	var out []string
	for _, s := range scopes() {
		if slices.Contains(names, s.Name) {
			out = append(out, s.Name)
		}
	}
	return out
}

// answer sends the browser back to the client, naming the issuer (RFC 9207).
// The redirect URI was registered byte for byte, so this leads nowhere else.
func (p *Provider) answer(w http.ResponseWriter, r *http.Request, status int, req authRequest, v url.Values) {
	sep := "?"
	if strings.Contains(req.RedirectURI, "?") {
		sep = "&"
	}
	http.Redirect(w, r, req.RedirectURI+sep+p.complete(req, v).Encode(), status)
}

// complete adds what every answer to an authorization request repeats.
func (p *Provider) complete(req authRequest, v url.Values) url.Values {
	if req.State != "" {
		v.Set("state", req.State)
	}
	v.Set("iss", p.issuer)
	return v
}

// Consent is what a person's browser would bring back who opens the URL of an
// authorization request and grants all of it, as the account: for rehearsals
// without a person. It is not served to anybody.
func (p *Provider) Consent(account, authorizationURL string) (url.Values, error) {
	u, err := url.Parse(authorizationURL)
	if err != nil {
		return nil, fmt.Errorf("demo provider: %w", err)
	}
	who, ok := accountOf(account)
	if !ok {
		return nil, fmt.Errorf("demo provider: there is no account %q", account)
	}
	req, refused, wrong := p.readRequest(u.RawQuery)
	switch {
	case wrong != "":
		return nil, errors.New("demo provider: " + wrong)
	case refused != nil:
		return nil, refused
	}
	code, err := p.newCode(req, who)
	if err != nil {
		return nil, err
	}
	return p.complete(req, url.Values{"code": {code}}), nil
}
