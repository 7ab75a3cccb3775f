package local

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// AuditFilter selects audit lines of one tenant; an empty field selects all.
// It has no name of its own, so that whoever lists can state the interface that
// it needs without importing an adapter.
type AuditFilter = struct{ Connection, User string }

// Audit is the audit of this machine.
type Audit struct{ db *DB }

var _ vault.Audit = (*Audit)(nil)

// Audit returns the audit.
func (d *DB) Audit() *Audit { return &Audit{d} }

// Append implements [vault.Audit]. A line whose id is taken is refused.
func (a *Audit) Append(ctx context.Context, l vault.Line) error {
	doc, err := encode(l)
	if err != nil {
		return err
	}
	return a.db.transact(ctx, func(tx *sql.Tx) error {
		return insert(ctx, tx, fmt.Errorf("there is an audit line %s already", l.ID), `
			INSERT INTO audit (id, tenant, at, connection, user_id, doc) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT DO NOTHING`,
			l.ID, l.Tenant, connection.Stamp(l.At), l.Connection, l.UserID, doc)
	})
}

// List returns a page of lines, the newest first, and the cursor of the next
// page, empty at the end. Lines that are appended meanwhile shift nothing.
func (a *Audit) List(ctx context.Context, tenant string, f AuditFilter, after string, limit int) ([]vault.Line, string, error) {
	s := selection{table: "audit", time: "at", newestFirst: true}
	s.where("tenant = ?", tenant)
	s.whereSet("connection = ?", f.Connection)
	s.whereSet("user_id = ?", f.User)
	var out []vault.Line
	next, err := s.page(ctx, a.db.read, after, limit, func(doc []byte) (string, error) {
		var l vault.Line
		err := json.Unmarshal(doc, &l)
		out = append(out, l)
		return connection.Cursor(l.At, l.ID), err
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}
