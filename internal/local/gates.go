package local

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/refresh"
)

var _ refresh.Gates = (*DB)(nil)

var errNoGate = errors.New("no such gate")

// Gate implements [refresh.Gates].
func (d *DB) Gate(ctx context.Context, name string) (refresh.Gate, error) {
	return getGate(ctx, d.read, name)
}

func getGate(ctx context.Context, q queryer, name string) (refresh.Gate, error) {
	var g refresh.Gate
	err := load(ctx, q, &g, errNoGate, `SELECT doc FROM gates WHERE name = ?`, name)
	if errors.Is(err, errNoGate) {
		return refresh.Gate{}, nil
	}
	return g, err
}

// UpdateGate implements [refresh.Gates]; change must not call the store, as in
// [DB.Update].
func (d *DB) UpdateGate(ctx context.Context, name string, change func(*refresh.Gate) error) (refresh.Gate, error) {
	var g refresh.Gate
	err := d.transact(ctx, func(tx *sql.Tx) (err error) {
		if g, err = getGate(ctx, tx, name); err != nil {
			return err
		}
		if err := change(&g); err != nil {
			return err
		}
		doc, err := encode(g)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO gates (name, expires_at, doc) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET expires_at = excluded.expires_at, doc = excluded.doc`,
			name, connection.Stamp(lastOf(g.Until, g.At)), doc)
		return err
	})
	if err != nil {
		return refresh.Gate{}, err
	}
	return g, nil
}

func lastOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
