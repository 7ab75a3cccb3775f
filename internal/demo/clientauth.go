package demo

import (
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"mime"
	"net/http"
	"net/url"
)

// clientForm reads a form that only the client may send: at /token, /revoke
// and /introspect. It answers itself, and reports false, when it refuses.
func (p *Provider) clientForm(w http.ResponseWriter, r *http.Request) (params, bool) {
	form, refused := readClientForm(w, r)
	if refused == nil {
		refused = p.authenticate(r, form)
	}
	if refused == nil {
		return form, true
	}
	p.refuseClient(w, r, refused)
	return nil, false
}

// byClient serves what only the client may do, which says so in its
// Authorization header.
func (p *Provider) byClient(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if refused := p.authenticate(r, nil); refused != nil {
			p.refuseClient(w, r, refused)
			return
		}
		serve(w, r)
	}
}

func (p *Provider) refuseClient(w http.ResponseWriter, r *http.Request, refused *refusal) {
	if refused.code == "invalid_client" {
		w.Header().Set("WWW-Authenticate", `Basic realm="demo", charset="UTF-8"`)
	}
	p.log.InfoContext(r.Context(), "client refused", "path", r.URL.Path, "error", refused.code)
	writeRefusal(w, refused)
}

func readClientForm(w http.ResponseWriter, r *http.Request) (params, *refusal) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, refuse("invalid_request", "the body must be application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, refuse("invalid_request", "the body cannot be read or is too long")
	}
	form, repeated, err := parseParams(string(body))
	if err != nil {
		return nil, refuse("invalid_request", "the body cannot be parsed")
	}
	if len(repeated) > 0 {
		return nil, refuse("invalid_request", "a parameter is given more than once")
	}
	return form, nil
}

// authenticate checks client_secret_basic or client_secret_post, of which a
// request must use exactly one (RFC 6749 §2.3).
func (p *Provider) authenticate(r *http.Request, form params) *refusal {
	id, secret := form["client_id"], form["client_secret"]
	if r.Header.Get("Authorization") != "" {
		if secret != "" {
			return refuse("invalid_request", "the client authenticates in two ways at once")
		}
		basicID, basicSecret, ok := basicClient(r)
		if !ok || id != "" && id != basicID {
			return &refusal{http.StatusUnauthorized, "invalid_client", "the Authorization header does not name the client"}
		}
		id, secret = basicID, basicSecret
	}
	sum := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(sum[:], p.secretHash[:]) != 1 || id != p.clientID {
		return &refusal{http.StatusUnauthorized, "invalid_client", "the client id or the client secret is wrong"}
	}
	return nil
}

// basicClient undoes the form encoding that RFC 6749 §2.3.1 puts inside Basic.
func basicClient(r *http.Request) (id, secret string, ok bool) {
	rawID, rawSecret, ok := r.BasicAuth()
	if !ok {
		return "", "", false
	}
	id, err := url.QueryUnescape(rawID)
	if err != nil {
		return "", "", false
	}
	secret, err = url.QueryUnescape(rawSecret)
	return id, secret, err == nil
}
