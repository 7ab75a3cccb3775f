package authserver

import (
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
)

// The kinds of tokens, which is how they begin: what is found in a log or a
// repository can be told for what it is.
const (
	codeToken    = "lac_"
	accessToken  = "lat_"
	refreshToken = "lrt_"
)

// maxAccess is how many access tokens of a grant live at a time: the oldest one
// ends for a new one.
const maxAccess = 8

// maxNext is how many refresh tokens are given for one: a client that loses that
// many answers begins to lose the first ones.
const maxNext = 8

// tokenForm is a grant's id, the part of the family that only refresh tokens
// have, and 256 bits.
var tokenForm = regexp.MustCompile(`^(gnt_[a-z2-7]{26})\.(?:([A-Za-z0-9_-]{43})~)?[A-Za-z0-9_-]{43}$`)

// parsed is what a token says of itself, which proves nothing.
type parsed struct {
	grant  string
	family token.Secret
}

// parse reads a token of that kind.
func parse(kind string, t token.Secret) (parsed, bool) {
	rest, ok := strings.CutPrefix(t.Reveal(), kind)
	m := tokenForm.FindStringSubmatch(rest)
	if !ok || m == nil || (m[2] != "") != (kind == refreshToken) {
		return parsed{}, false
	}
	return parsed{m[1], token.Secret(m[2])}, true
}

// mint makes a code or an access token.
func mint(kind, grant string) token.Secret {
	return token.Secret(kind + grant + "." + token.NewSecret().Reveal())
}

// mintRefresh makes a refresh token of a family.
func mintRefresh(grant string, family token.Secret) token.Secret {
	return token.Secret(refreshToken + grant + "." + family.Reveal() + "~" + token.NewSecret().Reveal())
}

// Check returns the grant of an access token that is good at the resource, which
// is the exact URL of an endpoint; else ErrNoGrant. It is one read.
func (s *Server) Check(ctx context.Context, bearer token.Secret, resource string) (Grant, error) {
	p, ok := parse(accessToken, bearer)
	if !ok {
		return Grant{}, ErrNoGrant
	}
	g, err := s.Store.GetGrant(ctx, p.grant)
	if err != nil {
		return Grant{}, err
	}
	now := s.Now()
	if g.Resource != resource || !now.Before(g.ExpiresAt) || !g.accepts(bearer, now) {
		return Grant{}, ErrNoGrant
	}
	return g, nil
}

// accepts reports whether an access token of the grant lives.
func (g *Grant) accepts(bearer token.Secret, now time.Time) bool {
	hash := token.Hash(bearer)
	for _, a := range g.Access {
		if a.Hash == hash && now.Before(a.ExpiresAt) {
			return true
		}
	}
	return false
}

// issue gives the client an access token and the next refresh token.
func (g *Grant) issue(access, refresh token.Secret, now time.Time) {
	live := g.Access[:0]
	for _, a := range g.Access {
		if now.Before(a.ExpiresAt) {
			live = append(live, a)
		}
	}
	live = append(live, Access{Hash: token.Hash(access), ExpiresAt: now.Add(accessLife)})
	g.Access = live[max(0, len(live)-maxAccess):]
	g.Refresh.Next = append(g.Refresh.Next, token.Hash(refresh))
	g.Refresh.Next = g.Refresh.Next[max(0, len(g.Refresh.Next)-maxNext):]
	g.UsedAt, g.ExpiresAt = now, now.Add(refreshLife)
	if end := g.CreatedAt.Add(grantLife); end.Before(g.ExpiresAt) {
		g.ExpiresAt = end
	}
}
