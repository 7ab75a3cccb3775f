package local

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
)

var _ connection.Store = (*DB)(nil)

// Create implements [connection.Store].
func (d *DB) Create(ctx context.Context, c connection.Connection) error {
	doc, err := encode(c)
	if err != nil {
		return err
	}
	return d.transact(ctx, func(tx *sql.Tx) error {
		return insert(ctx, tx, connection.ErrExists, `
			INSERT INTO connections
				(tenant, id, created_at, user_id, server, provider, subject, proposed_subject, attention_at, doc)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			c.Tenant, c.ID, connection.Stamp(c.CreatedAt), c.UserID, c.Server, c.Provider, subject(c), proposedSubject(c),
			orNull(c.AttentionAt()), doc)
	})
}

// subject is whose grant is in force; NULL when none is.
func subject(c connection.Connection) any {
	if !c.InUse() {
		return nil
	}
	return c.Account.Subject
}

// proposedSubject is whose grant is proposed; NULL when none is.
func proposedSubject(c connection.Connection) any {
	if c.Proposal == nil {
		return nil
	}
	return c.Proposal.Granted.Account.Subject
}

// Get implements [connection.Store].
func (d *DB) Get(ctx context.Context, k connection.Key) (connection.Connection, error) {
	var c connection.Connection
	err := loadRow(d.connection.QueryRowContext(ctx, k.Tenant, k.ID), &c, connection.ErrNotFound)
	return c, err
}

const selectConnection = `SELECT doc FROM connections WHERE tenant = ? AND id = ?`

func getConnection(ctx context.Context, q queryer, k connection.Key) (connection.Connection, error) {
	var c connection.Connection
	err := load(ctx, q, &c, connection.ErrNotFound, selectConnection, k.Tenant, k.ID)
	return c, err
}

// Update implements [connection.Store]. The change function runs while the
// database is locked: it must be quick and must not call the store, which
// would wait for itself.
func (d *DB) Update(ctx context.Context, k connection.Key, change func(*connection.Connection) error) (connection.Connection, error) {
	var c connection.Connection
	err := d.transact(ctx, func(tx *sql.Tx) error {
		var err error
		if c, err = getConnection(ctx, tx, k); err != nil {
			return err
		}
		revision := c.Revision
		if err := change(&c); err != nil {
			return err
		}
		c.Key, c.Revision = k, revision+1
		doc, err := encode(c)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE connections SET created_at = ?, user_id = ?, server = ?, provider = ?, subject = ?,
				proposed_subject = ?, attention_at = ?, doc = ?
			WHERE tenant = ? AND id = ?`,
			connection.Stamp(c.CreatedAt), c.UserID, c.Server, c.Provider, subject(c), proposedSubject(c),
			orNull(c.AttentionAt()), doc, k.Tenant, k.ID)
		return err
	})
	if err != nil {
		return connection.Connection{}, err
	}
	return c, nil
}

// UpdateFrom implements [connection.Store].
func (d *DB) UpdateFrom(ctx context.Context, seen connection.Connection, change func(*connection.Connection) error) (connection.Connection, error) {
	return d.Update(ctx, seen.Key, change)
}

// Delete implements [connection.Store]; for check the same holds as for the
// change function of [DB.Update].
func (d *DB) Delete(ctx context.Context, k connection.Key, check func(connection.Connection) error) error {
	return d.transact(ctx, func(tx *sql.Tx) error {
		c, err := getConnection(ctx, tx, k)
		if err != nil {
			return err
		}
		if err := check(c); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM connections WHERE tenant = ? AND id = ?`, k.Tenant, k.ID)
		return err
	})
}

// List implements [connection.Store].
func (d *DB) List(ctx context.Context, tenant string, f connection.Filter, p connection.Page) ([]connection.Connection, string, error) {
	s := selection{table: "connections", time: "created_at"}
	if len(f.Subjects) > 0 {
		subjects, err := encode(f.Subjects)
		if err != nil {
			return nil, "", err
		}
		s.table, s.args = heldBy, []any{tenant, subjects, f.Provider, tenant, subjects, f.Provider}
	}
	s.where("tenant = ?", tenant)
	s.whereSet("user_id = ?", f.UserID)
	s.whereSet("server = ?", f.Server)
	s.whereSet("provider = ?", f.Provider)
	var out []connection.Connection
	next, err := s.page(ctx, d.read, p.Cursor, p.Limit, func(doc []byte) (string, error) {
		var c connection.Connection
		err := json.Unmarshal(doc, &c)
		out = append(out, c)
		return connection.Cursor(c.CreatedAt, c.ID), err
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}

// heldBy are the connections with a grant of one of some accounts. What forces
// the plan keeps SQLite from reading all the tenant's rows in the order of time.
const heldBy = `(
		SELECT rowid AS held FROM connections INDEXED BY connections_subject
		WHERE tenant = ? AND subject IN (SELECT value FROM json_each(?)) AND ? IN ('', provider)
		UNION
		SELECT rowid FROM connections INDEXED BY connections_proposed
		WHERE tenant = ? AND proposed_subject IN (SELECT value FROM json_each(?)) AND ? IN ('', provider)
	) CROSS JOIN connections ON connections.rowid = held`

// Due implements [connection.Store].
func (d *DB) Due(ctx context.Context, now time.Time, limit int) ([]connection.Key, error) {
	rows, err := d.read.QueryContext(ctx, `
		SELECT tenant, id FROM connections WHERE attention_at <= ? ORDER BY attention_at, tenant, id LIMIT ?`,
		connection.Stamp(now), max(limit, 0))
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var out []connection.Key
	for rows.Next() {
		var k connection.Key
		if err := rows.Scan(&k.Tenant, &k.ID); err != nil {
			return nil, explain(err)
		}
		out = append(out, k)
	}
	return out, explain(rows.Err())
}
