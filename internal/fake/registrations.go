package fake

import (
	"context"

	"github.com/lanyardhq/lanyard/internal/discover"
)

var _ discover.Registrations = (*Store)(nil)

// Registration implements [discover.Registrations].
func (s *Store) Registration(_ context.Context, tenant, issuer string) (r discover.Registration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r, decode(s.registrations[[2]string{tenant, issuer}], &r, discover.ErrNoRegistration)
}

// PutRegistration implements [discover.Registrations].
func (s *Store) PutRegistration(_ context.Context, r discover.Registration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registrations[[2]string{r.Tenant, r.Issuer}] = document(r)
	return nil
}
