package authserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
)

// verifierForm is that of a code_verifier (RFC 7636 §4.1).
var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// errLeaked: somebody has a code or a token of a grant who must not have it, so
// that the grant ends.
var errLeaked = errors.New("what works once was used twice, or by somebody else")

// Token is the token endpoint: form is the request's body, authorization its
// header of that name.
func (s *Server) Token(ctx context.Context, form url.Values, authorization string) (Answer, error) {
	c, err := s.authenticate(ctx, form, authorization)
	if err != nil {
		return Answer{}, err
	}
	switch form.Get("grant_type") {
	case "authorization_code":
		return s.redeem(ctx, c, form)
	case "refresh_token":
		return s.renew(ctx, c, form)
	case "":
		return Answer{}, refuse(invalidRequest, "grant_type is missing")
	}
	return Answer{}, refuse("unsupported_grant_type", "grant_type has to be authorization_code or refresh_token")
}

// redeem takes a code (RFC 6749 §4.1.3). It is taken once: who brings it again,
// or without its verifier, or as another client, has a copy. The grant then ends,
// and with it whatever came of it (§4.1.2): an honest client has to ask its
// person again, a thief has nothing.
func (s *Server) redeem(ctx context.Context, c Client, form url.Values) (Answer, error) {
	code := token.Secret(form.Get("code"))
	p, ok := parse(codeToken, code)
	if !ok {
		return Answer{}, refuse(invalidGrant, "code is missing or none of ours")
	}
	family := token.NewSecret()
	return s.issue(ctx, p.grant, family, func(g *Grant, now time.Time) error {
		switch {
		case !token.Matches(code, g.Code.Hash):
			return ErrNoGrant
		case g.Code.Taken:
			return errLeaked
		case !now.Before(g.Code.ExpiresAt):
			return ErrNoGrant
		case g.ClientID != c.ID || !verifies(form.Get("code_verifier"), g.Code.Challenge):
			return errLeaked
		// It may be left out: what it protected from, PKCE does (OAuth 2.1, §10.2).
		case form.Get("redirect_uri") != "" && form.Get("redirect_uri") != g.Code.RedirectURI:
			return errLeaked
		}
		if problem := s.sameTarget(g, form["resource"]); problem != nil {
			return problem
		}
		g.Code.Taken = true
		g.Refresh.Family = token.Hash(family)
		return nil
	})
}

// renew takes a refresh token (RFC 6749 §6) and gives another; see [Refresh].
func (s *Server) renew(ctx context.Context, c Client, form url.Values) (Answer, error) {
	refresh := token.Secret(form.Get("refresh_token"))
	p, ok := parse(refreshToken, refresh)
	if !ok {
		return Answer{}, refuse(invalidGrant, "refresh_token is missing or none of ours")
	}
	scopes, hash := strings.Fields(form.Get("scope")), token.Hash(refresh)
	a, err := s.issue(ctx, p.grant, p.family, func(g *Grant, now time.Time) error {
		// Who does not know the family has guessed, and changes nothing.
		if g.Refresh.Family == "" || !token.Matches(p.family, g.Refresh.Family) || !now.Before(g.ExpiresAt) {
			return ErrNoGrant
		}
		if problem := s.sameTarget(g, form["resource"]); problem != nil {
			return problem
		}
		// A narrower scope is not kept apart: the answer states what the token has
		// (RFC 6749 §3.3).
		if slices.ContainsFunc(scopes, func(scope string) bool { return !slices.Contains(g.Scopes, scope) }) {
			return refuse(invalidScope, "scope has more than was granted; authorize again for more")
		}
		switch {
		case g.ClientID != c.ID:
			return errLeaked
		case slices.Contains(g.Refresh.Next, hash):
			// What came of the last one is in use, which ends the last one, and
			// those that were given beside.
			g.Refresh.Last, g.Refresh.Next = hash, nil
		case g.Refresh.Last != hash:
			return errLeaked
		}
		return nil
	})
	if err == nil {
		s.extend(ctx, c)
	}
	return a, err
}

// issue gives new tokens of a grant if take allows it. take sees the grant as it
// is, and may be called again.
func (s *Server) issue(ctx context.Context, id string, family token.Secret, take func(*Grant, time.Time) error) (Answer, error) {
	now := s.Now()
	a := Answer{AccessToken: mint(accessToken, id), RefreshToken: mintRefresh(id, family), ExpiresIn: accessLife}
	g, err := s.Store.UpdateGrant(ctx, id, func(g *Grant) error {
		if err := take(g, now); err != nil {
			return err
		}
		g.issue(a.AccessToken, a.RefreshToken, now)
		return nil
	})
	var problem *Error
	switch {
	case errors.Is(err, errLeaked):
		if err := s.Store.DeleteGrant(ctx, id); err != nil {
			return Answer{}, fmt.Errorf("end a grant whose token leaked: %w", err)
		}
		s.log().WarnContext(ctx, "a grant has ended: a code or token of it was used twice, or by somebody else", "grant", id)
		return Answer{}, refuse(invalidGrant, "this was used before, or is another client's; access has ended, and the person has to allow it again")
	case errors.Is(err, ErrNoGrant):
		return Answer{}, refuse(invalidGrant, "this is unknown, expired or revoked; the person has to allow access again")
	case errors.As(err, &problem):
		return Answer{}, problem
	case err != nil:
		return Answer{}, fmt.Errorf("issue tokens: %w", err)
	}
	a.Scopes = g.Scopes
	return a, nil
}

// sameTarget refuses a resource that is another one than the grant's (RFC 8707
// §2.2). None at all is that of the grant.
func (s *Server) sameTarget(g *Grant, resources []string) *Error {
	if len(resources) == 0 {
		return nil
	}
	t, problem := s.target(resources)
	if problem == nil && t.resource != g.Resource {
		problem = refuse(invalidTarget, "access was granted to another resource")
	}
	return problem
}

// verifies checks a code_verifier (RFC 7636 §4.6).
func verifies(verifier, challenge string) bool {
	sum := sha256.Sum256([]byte(verifier))
	want := base64.RawURLEncoding.EncodeToString(sum[:])
	return verifierForm.MatchString(verifier) && subtle.ConstantTimeCompare([]byte(want), []byte(challenge)) == 1
}

// Revoke is the revocation endpoint (RFC 7009): either token ends the whole
// grant. A token that is none succeeds, and so does one of another client, which
// stays as it is.
func (s *Server) Revoke(ctx context.Context, form url.Values, authorization string) error {
	c, err := s.authenticate(ctx, form, authorization)
	if err != nil {
		return err
	}
	t := token.Secret(form.Get("token"))
	if t == "" {
		return refuse(invalidRequest, "token is missing")
	}
	p, access := parse(accessToken, t)
	if !access {
		var refresh bool
		if p, refresh = parse(refreshToken, t); !refresh {
			return nil
		}
	}
	g, err := s.Store.GetGrant(ctx, p.grant)
	if errors.Is(err, ErrNoGrant) {
		return nil
	}
	if err != nil {
		return err
	}
	known := g.accepts(t, s.Now())
	if !access {
		known = token.Matches(p.family, g.Refresh.Family)
	}
	if g.ClientID != c.ID || !known {
		return nil
	}
	return s.Store.DeleteGrant(ctx, g.ID)
}
