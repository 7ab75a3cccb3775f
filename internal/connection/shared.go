package connection

import (
	"context"
	"maps"
)

// LivesFrom reports whether a set of the connection, in force or proposed, may
// be of the same grant at the provider as g.
func (c Connection) LivesFrom(g Granted) bool {
	return c.InUse() && sameGrant(c.Granted, g) || c.Proposal != nil && sameGrant(c.Proposal.Granted, g)
}

// sameGrant: a grant is of one client, where that is, and one account. An account
// that the provider did not name may be any; a client of which nobody noted where
// it was may have been anywhere.
func sameGrant(a, b Granted) bool {
	x, y := a.Account.Subject, b.Account.Subject
	if len(a.ClientAt) > 0 && len(b.ClientAt) > 0 && !maps.Equal(a.ClientAt, b.ClientAt) {
		return false
	}
	return a.ClientID == b.ClientID && (x == y || x == "" || y == "")
}

// Shared reports whether another connection than except lives from the grant
// that g is of: then a provider that revokes whole grants would end that one
// too.
func Shared(ctx context.Context, s Store, tenant, provider string, g Granted, except string) (bool, error) {
	f, page := Filter{Provider: provider}, Page{Limit: 100}
	if subject := g.Account.Subject; subject != "" {
		f.Subjects = []string{subject, ""}
	}
	for {
		found, next, err := s.List(ctx, tenant, f, page)
		if err != nil {
			return false, err
		}
		for _, c := range found {
			if c.ID != except && c.Status != Deleting && c.LivesFrom(g) {
				return true, nil
			}
		}
		if next == "" {
			return false, nil
		}
		page.Cursor = next
	}
}
