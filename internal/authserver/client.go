package authserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
)

const (
	// unusedLife is how long a client that registered itself is kept without a
	// use, usedLife how long after one.
	unusedLife = 24 * time.Hour
	usedLife   = 90 * 24 * time.Hour
	// extendAfter spares most uses the write that extends it.
	extendAfter = 24 * time.Hour
	// staleLife is for how long after its end a document will do where it cannot
	// be fetched anew: a client's web site may be down for a night without that
	// everybody has to sign in again.
	staleLife = 24 * time.Hour
)

// client returns a client that is good now, or an error that wraps ErrNoClient.
// stale: a document that cannot be fetched anew will do for a while.
func (s *Server) client(ctx context.Context, id string, stale bool) (Client, error) {
	if id == "" || len(id) > maxURI {
		return Client{}, ErrNoClient
	}
	c, err := s.Store.GetClient(ctx, id)
	unknown := errors.Is(err, ErrNoClient)
	if err != nil && !unknown {
		return Client{}, err
	}
	if good := !unknown && (c.ExpiresAt.IsZero() || s.Now().Before(c.ExpiresAt)); good {
		return c, nil
	}
	if !strings.Contains(id, "://") {
		return Client{}, ErrNoClient
	}
	known := !unknown && s.Now().Before(c.ExpiresAt.Add(staleLife))
	fresh, err := s.readDocument(ctx, id, known)
	if err != nil && known && stale {
		return c, nil
	}
	return fresh, err
}

// extend keeps a client that registered itself while it is used. Failing to is no
// failure of the use.
func (s *Server) extend(ctx context.Context, c Client) {
	until := s.Now().Add(usedLife)
	if c.Kind != Dynamic || until.Sub(c.ExpiresAt) < extendAfter {
		return
	}
	c.ExpiresAt = until
	if err := s.Store.SaveClient(ctx, c); err != nil {
		s.log().WarnContext(ctx, "a client that is in use was not extended", "client", c.ID, "err", err)
	}
}

// Enter makes a client that whoever runs Lanyard knows, with redirect URIs that
// are checked as everybody's, and method [AuthNone], [AuthBasic] or [AuthPost],
// of which the latter two have a secret; this is the only time that it is seen.
func (s *Server) Enter(ctx context.Context, name string, redirectURIs []string, method string) (Client, token.Secret, error) {
	m := metadata{Name: name, RedirectURIs: redirectURIs, AuthMethod: cmp.Or(method, AuthNone)}
	if m.AuthMethod == AuthKeyJWT {
		return Client{}, "", fmt.Errorf("a client that proves itself by a key publishes it: it needs no entry here")
	}
	c, problem := m.client(s.Redirects)
	if problem != nil {
		return Client{}, "", problem
	}
	secret := newClient(&c, Registered, s.Now())
	if err := s.Store.AddClient(ctx, c); err != nil {
		return Client{}, "", fmt.Errorf("enter the client: %w", err)
	}
	return c, secret, nil
}

// newClient gives a client its id, and a secret if its method has one.
func newClient(c *Client, kind Kind, now time.Time) (secret token.Secret) {
	c.ID, c.Kind, c.CreatedAt = token.NewID("cli"), kind, now
	if c.secretive() {
		secret = token.NewSecret()
		c.SecretHash = token.Hash(secret)
	}
	return secret
}

// secretive reports whether the client proves itself by a secret.
func (c Client) secretive() bool { return c.AuthMethod == AuthBasic || c.AuthMethod == AuthPost }
