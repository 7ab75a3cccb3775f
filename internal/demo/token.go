package demo

import (
	"crypto/hmac"
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
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
}

// token is POST /token.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	form, ok := p.clientForm(w, r)
	if !ok {
		return
	}
	switch form["grant_type"] {
	case "authorization_code":
		out, err := p.redeem(form)
		p.answerTokens(w, r, out, err)
	case "refresh_token":
		p.drilled(r, form).play(p, w, r, form)
	case "":
		p.answerTokens(w, r, nil, refuse("invalid_request", "grant_type is missing"))
	default:
		p.answerTokens(w, r, nil, refuse("unsupported_grant_type", "only authorization_code and refresh_token are supported"))
	}
}

// answerTokens sends the answer, or says why there is none.
func (p *Provider) answerTokens(w http.ResponseWriter, r *http.Request, answer any, err error) {
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		p.log.InfoContext(r.Context(), "token request refused", "error", refused.code, "reason", refused.description)
		writeRefusal(w, refused)
	case err != nil:
		p.writeFailure(w, r, err)
	default:
		writeJSON(w, http.StatusOK, answer)
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
			out = p.issue(s, c.Grant, c.Request.Scopes, newToken(refreshPrefix), now)
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

// renewal is how a refresh token is renewed. The zero value is how it should be:
// the token is spent, and ends its family when it comes back.
type renewal struct {
	// keeps: the refresh token stays as it is, and the answer holds none.
	keeps bool
	// forgives a spent token that comes back within the grace window: by a new
	// successor, or by the same one as before.
	forgives grace
	// narrows leaves out the last of several scopes.
	narrows bool
}

type grace int

const (
	noGrace grace = iota
	newSuccessor
	sameSuccessor
)

// graceWindow is how long after it was spent a token is forgiven.
const graceWindow = 5 * time.Minute

// renew spends a refresh token and issues its successor. A spent one that
// comes back has two holders, one of them a thief: the whole family ends
// (RFC 9700 §4.14.2).
func (p *Provider) renew(form params, how renewal) (tokenAnswer, error) {
	old := form["refresh_token"]
	if old == "" {
		return tokenAnswer{}, refuse("invalid_request", "refresh_token is missing")
	}
	var out tokenAnswer
	var refused *refusal
	now, key := p.now(), hash(old)
	err := p.store.change(now, func(s *state) bool {
		t, ok := s.Refresh[key]
		if !ok || !now.Before(t.Expires) {
			refused = refuse("invalid_grant", "the refresh token is unknown, revoked or expired: connect again")
			return false
		}
		next := p.successor(old)
		if t.Spent {
			if next = p.forgiven(s, t, old, how.forgives, now); next == "" {
				s.endGrant(t.Grant)
				refused = refuse("invalid_grant", "the refresh token was used before; its whole grant is revoked: connect again")
				return true
			}
		}
		var scopes []string
		if scopes, refused = narrow(s.Grants[t.Grant].Scopes, form["scope"]); refused != nil {
			return false
		}
		if how.narrows && len(scopes) > 1 {
			scopes = scopes[:len(scopes)-1]
		}
		switch {
		case how.keeps:
			next = ""
		case !t.Spent:
			t.Spent, t.SpentAt = true, now
			t.Expires = earlier(t.Expires, now.Add(spentMemory))
			s.Refresh[key] = t
		}
		out = p.issue(s, t.Grant, scopes, next, now)
		return true
	})
	return outcome(out, refused, err)
}

// forgiven is the successor that a spent token is answered with, or empty when
// it is not forgiven.
func (p *Provider) forgiven(s *state, t refreshToken, old string, g grace, now time.Time) string {
	switch {
	case g == noGrace || now.Sub(t.SpentAt) >= graceWindow:
		return ""
	case g == newSuccessor:
		return newToken(refreshPrefix)
	}
	next := p.successor(old)
	if have, ok := s.Refresh[hash(next)]; !ok || have.Spent {
		return ""
	}
	return next
}

// successor of a refresh token. It is derived, so that the same one can be sent
// again although no token is kept; only this process, as long as it lives, can.
func (p *Provider) successor(old string) string {
	mac := hmac.New(sha256.New, p.seed)
	mac.Write([]byte(old))
	return refreshPrefix + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
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

// issue adds an access token and, unless it is empty, the refresh token.
func (p *Provider) issue(s *state, grantID string, scopes []string, refresh string, now time.Time) tokenAnswer {
	return tokenAnswer{
		AccessToken:  s.issue(grantID, scopes, refresh, now, p.accessTTL),
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
