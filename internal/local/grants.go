package local

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Grants is the store of sealed grants.
func (d *DB) Grants() vault.GrantStore { return grants{d} }

type grants struct{ db *DB }

// Name implements [vault.GrantStore].
func (g grants) Name() string { return "local" }

// Put implements [vault.GrantStore].
func (g grants) Put(ctx context.Context, k connection.Key, version string, sealed []byte) error {
	return g.db.transact(ctx, func(tx *sql.Tx) error {
		stored, err := getGrant(ctx, tx, k, version)
		switch {
		case errors.Is(err, vault.ErrNoGrant):
			_, err = tx.ExecContext(ctx, `INSERT INTO grants (tenant, connection, version, sealed) VALUES (?, ?, ?, ?)`,
				k.Tenant, k.ID, version, append([]byte{}, sealed...))
			return err
		case err == nil && !bytes.Equal(stored, sealed):
			return fmt.Errorf("%w: %s, version %s", vault.ErrTaken, k.ID, version)
		}
		return err
	})
}

// Get implements [vault.GrantStore].
func (g grants) Get(ctx context.Context, k connection.Key, version string) ([]byte, error) {
	return getGrant(ctx, g.db.read, k, version)
}

func getGrant(ctx context.Context, q queryer, k connection.Key, version string) ([]byte, error) {
	var sealed []byte
	err := q.QueryRowContext(ctx, `SELECT sealed FROM grants WHERE tenant = ? AND connection = ? AND version = ?`,
		k.Tenant, k.ID, version).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, vault.ErrNoGrant
	}
	return sealed, explain(err)
}

// Remove implements [vault.GrantStore].
func (g grants) Remove(ctx context.Context, k connection.Key, versions ...string) error {
	// An array even of nothing: JSON's null would be a row of its own.
	list, err := encode(append([]string{}, versions...))
	if err != nil {
		return err
	}
	return g.db.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			DELETE FROM grants WHERE tenant = ? AND connection = ?
			AND version IN (SELECT value FROM json_each(?))`, k.Tenant, k.ID, list)
		return err
	})
}

// Clear implements [vault.GrantStore].
func (g grants) Clear(ctx context.Context, k connection.Key) error {
	return g.db.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM grants WHERE tenant = ? AND connection = ?`, k.Tenant, k.ID)
		return err
	})
}
