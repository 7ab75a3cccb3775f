package local

import (
	"context"
	"database/sql"

	"github.com/lanyardhq/lanyard/internal/discover"
)

var _ discover.Registrations = (*DB)(nil)

// Registration implements [discover.Registrations].
func (d *DB) Registration(ctx context.Context, tenant, issuer string) (discover.Registration, error) {
	var r discover.Registration
	err := load(ctx, d.read, &r, discover.ErrNoRegistration, `SELECT doc FROM registrations WHERE tenant = ? AND issuer = ?`, tenant, issuer)
	return r, err
}

// PutRegistration implements [discover.Registrations].
func (d *DB) PutRegistration(ctx context.Context, r discover.Registration) error {
	doc, err := encode(r)
	if err != nil {
		return err
	}
	return d.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO registrations (tenant, issuer, doc) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET doc = excluded.doc`, r.Tenant, r.Issuer, doc)
		return err
	})
}
