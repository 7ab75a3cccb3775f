package refresh

import (
	"context"
	"errors"
	"fmt"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// What became of a grant.
const (
	RevokedAtProvider = "provider"
	LocalOnly         = "local_only"
)

// Outcome says what disconnecting did.
type Outcome struct {
	// Revoked is RevokedAtProvider or LocalOnly.
	Revoked string `json:"revoked"`
	// Detail says why it was not revoked at the provider, for a person.
	Detail string `json:"detail,omitempty"`
}

// Disconnect revokes the grant at the provider and deletes the connection with
// everything that is stored of it. What the provider refuses or does not
// answer is deleted here all the same, and said.
func (s *Service) Disconnect(ctx context.Context, caller vault.Caller, k connection.Key) (Outcome, error) {
	c, err := s.Connections.Get(ctx, k)
	if err != nil {
		return Outcome{}, err
	}
	if !caller.May(c) {
		return Outcome{}, connection.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), waitForOther+exchangeTimeout)
	defer cancel()
	return s.takeDown(ctx, k)
}

// takeDown removes a connection under its lease. Interrupted, it is taken up
// again by Sweep: the row is the last thing to go.
func (s *Service) takeDown(ctx context.Context, k connection.Key) (Outcome, error) {
	holder := token.NewID("del")
	deadline := s.Now().Add(waitForOther)
	for {
		c, err := s.Connections.Update(ctx, k, func(c *connection.Connection) error {
			_, err := c.BeginDelete(holder, s.Now().UTC(), leaseTTL)
			return err
		})
		if err == nil {
			return s.remove(ctx, c)
		}
		if !errors.Is(err, connection.ErrLeased) {
			return Outcome{}, err
		}
		if s.Now().After(deadline) {
			return Outcome{}, ErrBusy
		}
		if err := sleep(ctx, firstPoll); err != nil {
			return Outcome{}, err
		}
	}
}

func (s *Service) remove(ctx context.Context, c connection.Connection) (Outcome, error) {
	for _, r := range c.Retired {
		_ = s.revoke(ctx, c, r.Set, r.Granted) // logged there; the main set decides what is said
	}
	out := s.revoke(ctx, c, s.living(ctx, c), c.Granted)
	if err := s.Vault.Clear(ctx, s.caller(c), c, "disconnect"); err != nil {
		return out, fmt.Errorf("remove the stored grant: %w", err)
	}
	err := s.Connections.Delete(ctx, c.Key, func(row connection.Connection) error {
		if row.Fence != c.Fence {
			return connection.ErrFenced
		}
		return nil
	})
	if err != nil && !errors.Is(err, connection.ErrNotFound) {
		return out, fmt.Errorf("remove the connection: %w", err)
	}
	s.Logger.InfoContext(ctx, "disconnected", "connection", c.ID, "provider", c.Provider, "revoked", out.Revoked)
	return out, nil
}

// living is the set to revoke: where a renewal was interrupted after it had
// stored its result, the grant that the row names is spent, and revoking it may
// end nothing.
func (s *Service) living(ctx context.Context, c connection.Connection) connection.Set {
	if c.Intent == nil {
		return c.Set
	}
	next := c.Set
	next.GrantVersion = c.Intent.ID
	if _, err := s.Vault.Grant(ctx, s.caller(c), c, next, "disconnect"); errors.Is(err, vault.ErrNoGrant) {
		return c.Set
	}
	return next
}

// revoke ends one set at the provider, if that ends nothing else.
func (s *Service) revoke(ctx context.Context, c connection.Connection, set connection.Set, g connection.Granted) Outcome {
	if set.AccessVersion == "" || c.AuthType != string(presets.TypeOAuth) {
		return Outcome{Revoked: LocalOnly, Detail: "there is nothing to revoke at a provider"}
	}
	out, err := s.revokeAtProvider(ctx, c, set, g)
	if err != nil {
		s.Logger.WarnContext(ctx, "not revoked at the provider", "connection", c.ID, "provider", c.Provider, "err", err)
		return Outcome{Revoked: LocalOnly, Detail: "deleted here, but the provider did not confirm the revocation: " + err.Error()}
	}
	return out
}

func (s *Service) revokeAtProvider(ctx context.Context, c connection.Connection, set connection.Set, g connection.Granted) (Outcome, error) {
	t, err := s.target(ctx, c, g)
	if err != nil {
		return Outcome{}, err
	}
	p := t.Provider
	if p.Revocation.Revokes != presets.RevokesToken {
		shared, err := connection.Shared(ctx, s.Connections, c.Tenant, c.Provider, g, c.ID)
		if err != nil {
			return Outcome{}, err
		}
		if shared {
			return Outcome{Revoked: LocalOnly, Detail: fmt.Sprintf("%s would end every connection of this account; the last one to be disconnected revokes it", p.DisplayName)}, nil
		}
	}
	full := token.Set{}
	if full.Grant, err = s.Vault.Grant(ctx, s.caller(c), c, set, "disconnect"); err != nil {
		return Outcome{}, err
	}
	if full.Access, err = s.Vault.Access(ctx, s.caller(c), c, set, "disconnect"); err != nil {
		return Outcome{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	o, err := s.Engine.Revoke(ctx, t, full)
	return Outcome{Revoked: o.Revoked, Detail: o.Detail}, err
}

// dropRetired revokes, where that ends nothing else, and removes the sets that
// are no longer current.
func (s *Service) dropRetired(ctx context.Context, c connection.Connection) (err error) {
	for _, r := range c.Retired {
		// A set of the account that is still connected was replaced: its
		// successor may be of the same grant.
		if !c.LivesFrom(r.Granted) {
			_ = s.revoke(ctx, c, r.Set, r.Granted)
		}
		rest := c
		if err := errors.Join(rest.Forget(r.Set), s.drop(ctx, rest, "retired", r.Set.GrantVersion)); err != nil {
			return err // the row still names it, so that the next sweep removes it
		}
		if c, err = s.Connections.Update(ctx, c.Key, func(c *connection.Connection) error { return c.Forget(r.Set) }); err != nil {
			return err
		}
	}
	return nil
}

// drop removes the grant of a version that c names no more. A version that a
// row has given up never comes back, so that an older reading of the row is as
// good as the last. Others are left alone: one that a callback has just stored
// is named by no row yet.
func (s *Service) drop(ctx context.Context, c connection.Connection, purpose, version string) error {
	if version == "" || c.Names(version) {
		return nil
	}
	return s.Vault.Remove(ctx, s.caller(c), c, purpose, version)
}
