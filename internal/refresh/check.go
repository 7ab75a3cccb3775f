package refresh

import (
	"context"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Doubt is what a caller knows of the token that it was refused with.
type Doubt struct {
	// Refused is the Hash of that access; empty: it may be the current one.
	Refused string `json:"refused,omitempty"`
	// Quiet: the provider is not to be asked, because it was a moment ago.
	Quiet bool `json:"quiet,omitempty"`
}

// Check asks the provider whether it still accepts the connection's access
// token, and renews it if not. It is what a hint that the token is dead leads
// to: the hint may be hostile text, so it decides nothing itself. The provider
// is not asked about a token that is the current one no more, nor about one
// that is just being renewed. Where the server itself named its provider, the
// token is good for that server alone, and its word decides.
func (s *Service) Check(ctx context.Context, caller vault.Caller, k connection.Key, d Doubt, purpose string) (token.Access, connection.Connection, error) {
	a, c, err := s.Token(ctx, caller, k, 0, purpose)
	if err != nil || c.Provider == "" || d.Refused != "" && a.Hash() != d.Refused {
		return a, c, err
	}
	renewed, err := s.awaitRenewal(ctx, c)
	if err != nil {
		return token.Access{}, c, err
	}
	if renewed {
		return s.Token(ctx, caller, k, 0, purpose)
	}
	if d.Quiet {
		return a, c, nil
	}
	// Where the server itself named its provider, there is nobody else to ask.
	if c.Found == nil && !s.refuses(ctx, c, a) {
		return a, c, nil
	}
	if !s.renewable(c) {
		if err := s.dead(ctx, k, c.Set.AccessVersion); err != nil {
			return a, c, err
		}
		return s.Token(ctx, caller, k, 0, purpose) // it was reconnected meanwhile
	}
	return s.Renew(ctx, caller, k, c.Set.AccessVersion, purpose)
}

// refuses reports whether the provider says that it no longer accepts the token.
func (s *Service) refuses(ctx context.Context, c connection.Connection, a token.Access) bool {
	t, err := s.target(ctx, c, c.Granted)
	if err != nil {
		return false
	}
	v, err := s.Engine.Validate(ctx, t, a)
	if err != nil && v != provider.Reconnect {
		s.Logger.InfoContext(ctx, "a doubted token could not be checked", "connection", c.ID, "err", err)
	}
	return v == provider.Reconnect
}

// awaitRenewal waits for whoever is renewing the connection, if anybody is, and
// reports whether its access is another one now: a provider may end the old
// token before the new one is stored.
func (s *Service) awaitRenewal(ctx context.Context, seen connection.Connection) (bool, error) {
	deadline := s.Now().Add(s.exchangeTimeout())
	for c, wait := seen, firstPoll; ; wait = min(2*wait, lastPoll) {
		if c.Set.AccessVersion != seen.Set.AccessVersion {
			return true, nil
		}
		if now := s.Now(); !c.LeasedAt(now) || now.After(deadline) {
			return false, nil
		}
		if err := sleep(ctx, jitter(wait)); err != nil {
			return false, err
		}
		var err error
		if c, err = s.Connections.Get(ctx, seen.Key); err != nil {
			return false, err
		}
	}
}

// dead notes that the provider refuses a token that cannot be renewed.
func (s *Service) dead(ctx context.Context, k connection.Key, version string) error {
	c, claim, err := s.begin(ctx, k, nil, func(c connection.Connection) bool { return c.Set.AccessVersion == version })
	if err != nil || claim == nil {
		return err
	}
	_, err = s.failed(ctx, c, *claim, provider.ErrNotRenewable, false)
	return err
}
