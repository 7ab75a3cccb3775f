package authserver

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/lanyardhq/lanyard/internal/token"
)

// Request returns a request that is under way in that browser, and its client.
// ErrNoRequest of one that is not there, expired, or another browser's: nobody
// learns which.
func (s *Server) Request(ctx context.Context, id, browser string) (Request, Client, error) {
	r, err := s.request(ctx, id, browser)
	if err != nil {
		return Request{}, Client{}, err
	}
	c, err := s.client(ctx, r.ClientID, true)
	if err != nil {
		return Request{}, Client{}, err
	}
	return r, c, nil
}

func (s *Server) request(ctx context.Context, id, browser string) (Request, error) {
	r, err := s.Store.GetRequest(ctx, id)
	if err != nil {
		return Request{}, err
	}
	same := subtle.ConstantTimeCompare([]byte(r.Browser), []byte(browser)) == 1
	if browser == "" || !same || !s.Now().Before(r.ExpiresAt) {
		return Request{}, ErrNoRequest
	}
	return r, nil
}

// Remembered reports whether the user has given the client the same access by
// that connection before, and need not be asked again: never a client whose
// redirect any program of the machine could take, nor one that anybody may have
// registered under any name.
func (s *Server) Remembered(ctx context.Context, r Request, c Client, u User, connectionID string) (bool, error) {
	if !memorable(r, c) {
		return false, nil
	}
	known, err := s.Store.GetConsent(ctx, u.Tenant, u.ID, c.ID, r.Resource)
	if errors.Is(err, ErrNoConsent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	more := slices.ContainsFunc(r.Scopes, func(scope string) bool { return !slices.Contains(known.Scopes, scope) })
	same := known.RedirectURI == r.RedirectURI && known.Connection == connectionID && !more
	return same && r.Tenant == u.Tenant && s.Now().Before(known.ExpiresAt), nil
}

func memorable(r Request, c Client) bool {
	return c.ID == r.ClientID && !onThisMachine(r.RedirectURI) && (c.Kind == Document || c.Kind == Registered)
}

// Allow is the person's consent to this request: with it are kept the flow that
// makes the connection, or the connection that was chosen. Who has allowed it may
// choose again. ErrNoRequest where [Server.Request] says so, or if it is another
// user's; ErrSpent of one that has ended.
func (s *Server) Allow(ctx context.Context, id, browser string, u User, flowID, connectionID string) (Request, error) {
	r, err := s.advance(ctx, id, browser, func(r *Request) error {
		switch {
		case r.Tenant != u.Tenant || u.ID == "" || r.Status == Allowed && r.UserID != u.ID:
			return ErrNoRequest
		case r.Server != "" && len(u.Servers) > 0 && !slices.Contains(u.Servers, r.Server):
			return &Error{Status: http.StatusForbidden, Code: accessDenied, Description: "this browser is signed in for other servers than the one that is asked for"}
		}
		r.Status, r.UserID, r.FlowID, r.ConnectionID = Allowed, u.ID, flowID, connectionID
		if r.Server == "" {
			r.Servers = slices.Clone(u.Servers)
		}
		return nil
	})
	if err != nil {
		return Request{}, err
	}
	c, err := s.client(ctx, r.ClientID, true)
	if err != nil {
		return Request{}, err
	}
	s.extend(ctx, c)
	return r, nil
}

// advance changes a request that has not ended. change sees it as it is, and may
// be called again.
func (s *Server) advance(ctx context.Context, id, browser string, change func(*Request) error) (Request, error) {
	for try := 0; ; try++ {
		r, err := s.request(ctx, id, browser)
		if err != nil {
			return Request{}, err
		}
		if r.Status == Answered || r.Status == Denied {
			return Request{}, fmt.Errorf("%w: begin again in the MCP client", ErrSpent)
		}
		if err := change(&r); err != nil {
			return Request{}, err
		}
		// A person who clicks twice is not told of a conflict.
		if r, err = s.Store.UpdateRequest(ctx, r); !errors.Is(err, ErrChanged) || try == 4 {
			return r, err
		}
	}
}

// Finish mints the code of a request that was allowed by that user, and returns
// where the browser takes it. The connection is the one that the person chose, if
// none is named here; that it is theirs, the caller has checked.
func (s *Server) Finish(ctx context.Context, id, browser string, u User, connectionID string) (string, error) {
	// The request is answered first: of two that finish it, one goes on.
	r, err := s.advance(ctx, id, browser, func(r *Request) error {
		if r.Status != Allowed || r.Tenant != u.Tenant || r.UserID != u.ID {
			return ErrNoRequest
		}
		r.ConnectionID = cmp.Or(connectionID, r.ConnectionID)
		if r.Server == "" {
			r.ConnectionID = "" // all connections of the person
		} else if r.ConnectionID == "" {
			return errors.New("finish an authorization: there is no connection yet")
		}
		r.Status = Answered
		return nil
	})
	if err != nil {
		return "", err
	}
	code, err := s.grant(ctx, r)
	if err != nil {
		// The person may try again.
		r.Status = Allowed
		_, undone := s.Store.UpdateRequest(context.WithoutCancel(ctx), r)
		return "", errors.Join(fmt.Errorf("make the grant: %w", err), undone)
	}
	return s.answer(r.RedirectURI, r.State, url.Values{"code": {code.Reveal()}}), nil
}

// grant makes the grant of a request that was allowed, and its code.
func (s *Server) grant(ctx context.Context, r Request) (token.Secret, error) {
	c, err := s.client(ctx, r.ClientID, true)
	if err != nil {
		return "", err
	}
	now := s.Now()
	g := Grant{
		ID: token.NewID("gnt"), Tenant: r.Tenant, UserID: r.UserID, ClientID: c.ID, ClientName: c.Name,
		Resource: r.Resource, Server: r.Server, Servers: r.Servers, Connection: r.ConnectionID, Scopes: r.Scopes,
		CreatedAt: now, ExpiresAt: now.Add(codeLife),
	}
	code := mint(codeToken, g.ID)
	g.Code = Code{Hash: token.Hash(code), Challenge: r.Challenge, RedirectURI: r.RedirectURI, ExpiresAt: g.ExpiresAt}
	if err := s.Store.AddGrant(ctx, g); err != nil {
		return "", err
	}
	s.remember(ctx, r, c)
	return code, nil
}

// remember keeps what the person has given. Only here is that certain: who has
// allowed a request may still cancel it, and which connection serves it may
// be known at its end alone. Failing to is no failure: the person is asked again.
func (s *Server) remember(ctx context.Context, r Request, c Client) {
	if !memorable(r, c) {
		return
	}
	now := s.Now()
	err := s.Store.SaveConsent(ctx, Consent{
		Tenant: r.Tenant, UserID: r.UserID, ClientID: c.ID, Resource: r.Resource, RedirectURI: r.RedirectURI,
		Connection: r.ConnectionID, Scopes: r.Scopes, At: now, ExpiresAt: now.Add(consentLife),
	})
	if err != nil {
		s.log().WarnContext(ctx, "what a person allowed was not remembered", "client", c.ID, "err", err)
	}
}

// Deny ends a request and returns where the browser takes the refusal.
func (s *Server) Deny(ctx context.Context, id, browser string) (string, error) {
	r, err := s.advance(ctx, id, browser, func(r *Request) error {
		r.Status = Denied
		return nil
	})
	if err != nil {
		return "", err
	}
	return s.answer(r.RedirectURI, r.State, url.Values{"error": {accessDenied}, "error_description": {"the person did not allow it"}}), nil
}
