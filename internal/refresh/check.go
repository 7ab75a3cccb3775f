package refresh

import (
	"context"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Check asks the provider whether it still accepts the connection's access
// token, and renews it if not. It is what a hint that the token is dead leads
// to: the hint may be hostile text, so it decides nothing itself.
func (s *Service) Check(ctx context.Context, caller vault.Caller, k connection.Key, purpose string) (token.Access, connection.Connection, error) {
	a, c, err := s.Token(ctx, caller, k, 0, purpose)
	if err != nil || c.Provider == "" {
		return a, c, err
	}
	t, err := s.target(ctx, c, c.Granted)
	if err != nil {
		return a, c, nil
	}
	if v, err := s.Engine.Validate(ctx, t, a); v != provider.Reconnect {
		if err != nil {
			s.Logger.InfoContext(ctx, "a doubted token could not be checked", "connection", c.ID, "err", err)
		}
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

// dead notes that the provider refuses a token that cannot be renewed.
func (s *Service) dead(ctx context.Context, k connection.Key, version string) error {
	c, claim, err := s.begin(ctx, k, func(c connection.Connection) bool { return c.Set.AccessVersion == version })
	if err != nil || claim == nil {
		return err
	}
	_, err = s.failed(ctx, c, *claim, provider.ErrNotRenewable, false)
	return err
}
