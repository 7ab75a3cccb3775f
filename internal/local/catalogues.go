package local

import (
	"context"
	"database/sql"
	"errors"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
)

var _ host.Catalogues = (*DB)(nil)

// PutCatalogue implements [host.Catalogues].
func (d *DB) PutCatalogue(ctx context.Context, k connection.Key, packed []byte) error {
	if len(packed) > maxCatalogue {
		return host.ErrTooLarge
	}
	return d.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO catalogues (tenant, connection, packed) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET packed = excluded.packed`, k.Tenant, k.ID, packed)
		return err
	})
}

// maxCatalogue is more than any catalogue is: a disk has room.
const maxCatalogue = 16 << 20

// Catalogue implements [host.Catalogues].
func (d *DB) Catalogue(ctx context.Context, k connection.Key) ([]byte, error) {
	var packed []byte
	err := d.read.QueryRowContext(ctx, `SELECT packed FROM catalogues WHERE tenant = ? AND connection = ?`, k.Tenant, k.ID).Scan(&packed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, host.ErrNoCatalogue
	}
	return packed, explain(err)
}

// DeleteCatalogue implements [host.Catalogues].
func (d *DB) DeleteCatalogue(ctx context.Context, k connection.Key) error {
	return d.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM catalogues WHERE tenant = ? AND connection = ?`, k.Tenant, k.ID)
		return err
	})
}
