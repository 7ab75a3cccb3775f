package cloud

import (
	"context"

	"github.com/lanyardhq/lanyard/internal/discover"
)

var _ discover.Registrations = (*Table)(nil)

// Registration implements [discover.Registrations].
func (t *Table) Registration(ctx context.Context, tenant, issuer string) (discover.Registration, error) {
	var r discover.Registration
	it, err := t.get(ctx, join("REG", tenant), issuer)
	if err == nil {
		err = decode(it, &r, discover.ErrNoRegistration)
	}
	return r, err
}

// PutRegistration implements [discover.Registrations].
func (t *Table) PutRegistration(ctx context.Context, r discover.Registration) error {
	return t.put(ctx, document(join("REG", r.Tenant), r.Issuer, r), condition{})
}
