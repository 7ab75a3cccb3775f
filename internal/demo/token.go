package demo

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// tokenAnswer is the successful answer of /token (RFC 6749 §5.1).
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"` // seconds
	RefreshToken string `json:"refresh_token"`
	Scope        string `json:"scope"`
}

// token is POST /token.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	form, ok := p.clientForm(w, r)
	if !ok {
		return
	}
	var out tokenAnswer
	var err error
	switch form["grant_type"] {
	case "authorization_code":
		out, err = p.redeem(form)
	case "refresh_token":
		out, err = p.renew(form)
	case "":
		err = refuse("invalid_request", "grant_type is missing")
	default:
		err = refuse("unsupported_grant_type", "only authorization_code and refresh_token are supported")
	}
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		p.log.InfoContext(r.Context(), "token request refused", "error", refused.code, "reason", refused.description)
		writeRefusal(w, refused)
	case err != nil:
		p.writeFailure(w, r, err)
	default:
		writeJSON(w, http.StatusOK, out)
	}
}

// redeem spends a code (RFC 6749 §4.1.3). A code has one try: a wrong
// verifier spends it too, and a second try ends what the first one yielded
// (§4.1.2).
func (p *Provider) redeem(form params) (tokenAnswer, error) {
	if form["code"] == "" {
		return tokenAnswer{}, refuse("invalid_request", "code is missing")
	}
	var out tokenAnswer
	var refused *refusal
	now, key := p.now(), hash(form["code"])
	err := p.store.change(now, func(s *state) bool {
		c, ok := s.Codes[key]
		if !ok {
			refused = refuse("invalid_grant", "the code is unknown or has expired: start again at /authorize")
			return false
		}
		if c.Spent {
			s.endGrant(c.Grant)
			refused = refuse("invalid_grant", "the code was used before; what it yielded is revoked")
			return true
		}
		c.Spent = true
		if refused = c.check(form, now); refused == nil {
			c.Grant = newToken("")
			s.Grants[c.Grant] = grant{Account: c.Account, Scopes: c.Request.Scopes, Created: now}
			out = p.issue(s, c.Grant, c.Request.Scopes, now)
		}
		s.Codes[key] = c
		return true
	})
	return outcome(out, refused, err)
}

func (c code) check(form params, now time.Time) *refusal {
	switch {
	case !now.Before(c.Expires):
		return refuse("invalid_grant", "the code has expired: start again at /authorize")
	case form["redirect_uri"] != c.Request.RedirectURI:
		return refuse("invalid_grant", "redirect_uri is not the one of the authorization request")
	case !verifies(form["code_verifier"], c.Request.Challenge):
		return refuse("invalid_grant", "code_verifier does not match the code_challenge")
	}
	return nil
}

var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`) // RFC 7636 §4.1

func verifies(verifier, challenge string) bool {
	sum := sha256.Sum256([]byte(verifier))
	got := base64.RawURLEncoding.EncodeToString(sum[:])
	return verifierForm.MatchString(verifier) && subtle.ConstantTimeCompare([]byte(got), []byte(challenge)) == 1
}

// renew spends a refresh token and issues its successor. A spent one that
// comes back has two holders, one of them a thief: the whole family ends
// (RFC 9700 §4.14.2).
func (p *Provider) renew(form params) (tokenAnswer, error) {
	if form["refresh_token"] == "" {
		return tokenAnswer{}, refuse("invalid_request", "refresh_token is missing")
	}
	var out tokenAnswer
	var refused *refusal
	now, key := p.now(), hash(form["refresh_token"])
	err := p.store.change(now, func(s *state) bool {
		t, ok := s.Refresh[key]
		if !ok || !now.Before(t.Expires) {
			refused = refuse("invalid_grant", "the refresh token is unknown, revoked or expired: connect again")
			return false
		}
		if t.Spent {
			s.endGrant(t.Grant)
			refused = refuse("invalid_grant", "the refresh token was used before; its whole grant is revoked: connect again")
			return true
		}
		var scopes []string
		if scopes, refused = narrow(s.Grants[t.Grant].Scopes, form["scope"]); refused != nil {
			return false
		}
		t.Spent = true
		t.Expires = earlier(t.Expires, now.Add(spentMemory))
		s.Refresh[key] = t
		out = p.issue(s, t.Grant, scopes, now)
		return true
	})
	return outcome(out, refused, err)
}

// narrow picks the scopes that a refresh asks for, by default all that were
// granted (RFC 6749 §6). Only the access token gets narrower.
func narrow(granted []string, asked string) ([]string, *refusal) {
	names := strings.Fields(asked)
	if len(names) == 0 {
		return granted, nil
	}
	for _, n := range names {
		if !slices.Contains(granted, n) {
			return nil, refuse("invalid_scope", "the refresh asks for more than was granted")
		}
	}
	return inOrder(names), nil
}

func (p *Provider) issue(s *state, grantID string, scopes []string, now time.Time) tokenAnswer {
	access, refresh := s.issue(grantID, scopes, now, p.accessTTL)
	return tokenAnswer{
		AccessToken:  access,
		TokenType:    "Bearer",
		ExpiresIn:    int(p.accessTTL / time.Second),
		RefreshToken: refresh,
		Scope:        strings.Join(scopes, " "),
	}
}

// outcome sees to it that a refusal or a failed save never hands out tokens.
func outcome(out tokenAnswer, refused *refusal, err error) (tokenAnswer, error) {
	if err != nil {
		return tokenAnswer{}, err
	}
	if refused != nil {
		return tokenAnswer{}, refused
	}
	return out, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
