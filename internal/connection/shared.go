package connection

import "context"

// Shared reports whether another connection than except lives from the grant
// of the same account and client: then a provider that revokes whole grants
// would end that one too. An account that the provider does not name may be
// anybody's, so every connection of the provider counts.
func Shared(ctx context.Context, s Store, tenant, provider string, g Granted, except string) (bool, error) {
	page := Page{Limit: 100}
	for {
		found, next, err := s.List(ctx, tenant, Filter{Provider: provider, Subject: g.Account.Subject}, page)
		if err != nil {
			return false, err
		}
		for _, c := range found {
			if c.ID != except && c.ClientID == g.ClientID && c.Status != Deleting {
				return true, nil
			}
		}
		if next == "" {
			return false, nil
		}
		page.Cursor = next
	}
}
