package local

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
)

var _ flow.Store = (*DB)(nil)

// PutLink implements [flow.Store].
func (d *DB) PutLink(ctx context.Context, l flow.Link) error {
	return d.put(ctx, l, `
		INSERT INTO links (tenant, id, user_id, expires_at, doc)
		SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM deleted_links WHERE tenant = ?1 AND id = ?2)
		ON CONFLICT DO NOTHING`,
		l.Tenant, l.ID, l.UserID, connection.Stamp(l.ExpiresAt))
}

// PutSession implements [flow.Store].
func (d *DB) PutSession(ctx context.Context, s flow.Session) error {
	doc, err := encode(s)
	if err != nil {
		return err
	}
	return d.transact(ctx, func(tx *sql.Tx) error {
		if s.LinkID != "" {
			if _, err := getLink(ctx, tx, s.Tenant, s.LinkID); err != nil {
				return err
			}
		}
		return insert(ctx, tx, flow.ErrExists, `
			INSERT INTO sessions (hash, tenant, user_id, link_id, expires_at, doc) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT DO NOTHING`,
			s.Hash, s.Tenant, s.UserID, s.LinkID, connection.Stamp(s.ExpiresAt), doc)
	})
}

// PutFlow implements [flow.Store].
func (d *DB) PutFlow(ctx context.Context, f flow.Flow) error {
	return d.put(ctx, f, `INSERT INTO flows (id, revision, expires_at, doc) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		f.ID, f.Revision, connection.Stamp(f.ExpiresAt))
}

// put inserts a record; its document is the last argument of the query.
func (d *DB) put(ctx context.Context, record any, query string, key ...any) error {
	doc, err := encode(record)
	if err != nil {
		return err
	}
	return d.transact(ctx, func(tx *sql.Tx) error {
		return insert(ctx, tx, flow.ErrExists, query, append(key, doc)...)
	})
}

// GetLink implements [flow.Store].
func (d *DB) GetLink(ctx context.Context, tenant, id string) (flow.Link, error) {
	return getLink(ctx, d.read, tenant, id)
}

func getLink(ctx context.Context, q queryer, tenant, id string) (flow.Link, error) {
	var l flow.Link
	err := load(ctx, q, &l, flow.ErrLinkUnknown, `SELECT doc FROM links WHERE tenant = ? AND id = ?`, tenant, id)
	return l, err
}

// ClaimLink implements [flow.Store].
func (d *DB) ClaimLink(ctx context.Context, tenant, id, browser string, now time.Time) (flow.Link, error) {
	var claimed flow.Link
	err := d.transact(ctx, func(tx *sql.Tx) error {
		l, err := getLink(ctx, tx, tenant, id)
		switch {
		case err != nil:
			return err
		case !now.Before(l.ExpiresAt):
			return flow.ErrLinkExpired
		case l.Browser != "" && l.Browser != browser:
			return flow.ErrLinkClaimed
		}
		l.Browser = browser
		doc, err := encode(l)
		if err != nil {
			return err
		}
		claimed = l
		_, err = tx.ExecContext(ctx, `UPDATE links SET doc = ? WHERE tenant = ? AND id = ?`, doc, tenant, id)
		return err
	})
	if err != nil {
		return flow.Link{}, err
	}
	return claimed, nil
}

// DeleteLink implements [flow.Store].
func (d *DB) DeleteLink(ctx context.Context, tenant, id string) error {
	return d.transact(ctx, func(tx *sql.Tx) error {
		n, err := deleteLinks(ctx, tx, `tenant = ? AND id = ?`, tenant, id)
		if err == nil && n == 0 {
			return flow.ErrLinkUnknown
		}
		return err
	})
}

// DeleteUser implements [flow.Store].
func (d *DB) DeleteUser(ctx context.Context, tenant, user string) error {
	return d.transact(ctx, func(tx *sql.Tx) error {
		if _, err := deleteLinks(ctx, tx, `tenant = ? AND user_id = ?`, tenant, user); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE tenant = ? AND user_id = ?`, tenant, user)
		return err
	})
}

// deleteLinks removes the links that the condition selects and the sessions
// that they opened, leaves marks in place of the links, and counts them.
func deleteLinks(ctx context.Context, tx *sql.Tx, condition string, args ...any) (n int64, err error) {
	for _, query := range []string{
		`INSERT INTO deleted_links (tenant, id, expires_at) SELECT tenant, id, expires_at FROM links WHERE ` + condition,
		`DELETE FROM sessions WHERE (tenant, link_id) IN (SELECT tenant, id FROM links WHERE ` + condition + `)`,
		`DELETE FROM links WHERE ` + condition,
	} {
		if n, err = affected(tx.ExecContext(ctx, query, args...)); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// GetSession implements [flow.Store].
func (d *DB) GetSession(ctx context.Context, hash string) (flow.Session, error) {
	var s flow.Session
	err := load(ctx, d.read, &s, flow.ErrNoSession, `SELECT doc FROM sessions WHERE hash = ?`, hash)
	return s, err
}

// DeleteSession implements [flow.Store].
func (d *DB) DeleteSession(ctx context.Context, hash string) error {
	return d.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE hash = ?`, hash)
		return err
	})
}

// GetFlow implements [flow.Store].
func (d *DB) GetFlow(ctx context.Context, id string) (flow.Flow, error) {
	return getFlow(ctx, d.read, id)
}

func getFlow(ctx context.Context, q queryer, id string) (flow.Flow, error) {
	var f flow.Flow
	err := load(ctx, q, &f, flow.ErrFlowUnknown, `SELECT doc FROM flows WHERE id = ?`, id)
	return f, err
}

// UpdateFlow implements [flow.Store].
func (d *DB) UpdateFlow(ctx context.Context, f flow.Flow) (flow.Flow, error) {
	seen := f.Revision
	f.Revision++
	doc, err := encode(f)
	if err != nil {
		return flow.Flow{}, err
	}
	err = d.transact(ctx, func(tx *sql.Tx) error {
		n, err := affected(tx.ExecContext(ctx,
			`UPDATE flows SET revision = ?, expires_at = ?, doc = ? WHERE id = ? AND revision = ?`,
			f.Revision, connection.Stamp(f.ExpiresAt), doc, f.ID, seen))
		if err != nil || n == 1 {
			return err
		}
		if _, err := getFlow(ctx, tx, f.ID); err != nil {
			return err
		}
		return flow.ErrChanged
	})
	if err != nil {
		return flow.Flow{}, err
	}
	return f, nil
}

// PutState implements [flow.Store]. A state that was taken cannot be put again.
func (d *DB) PutState(ctx context.Context, s flow.State) error {
	return d.put(ctx, s, `
		INSERT INTO states (hash, browser, expires_at, doc)
		SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS (SELECT 1 FROM spent_states WHERE hash = ?1)
		ON CONFLICT DO NOTHING`,
		s.Hash, s.Browser, connection.Stamp(s.ExpiresAt))
}

// TakeState implements [flow.Store]: one conditional delete, which leaves a
// mark in place of the state. The state's verifier is gone with its row.
func (d *DB) TakeState(ctx context.Context, hash, browser string, now time.Time) (flow.State, error) {
	var s flow.State
	err := d.transact(ctx, func(tx *sql.Tx) error {
		err := load(ctx, tx, &s, flow.ErrStateUnknown,
			`DELETE FROM states WHERE hash = ? AND browser = ? AND expires_at > ? RETURNING doc`,
			hash, browser, connection.Stamp(now))
		if errors.Is(err, flow.ErrStateUnknown) {
			return whyNot(ctx, tx, hash, browser)
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO spent_states (hash, spent_at) VALUES (?, ?)`, hash, connection.Stamp(now))
		return err
	})
	if err != nil {
		return flow.State{}, err
	}
	return s, nil
}

// whyNot says why a state could not be taken.
func whyNot(ctx context.Context, tx *sql.Tx, hash, browser string) error {
	var spent bool
	err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM spent_states WHERE hash = ?)`, hash).Scan(&spent)
	if err != nil {
		return err
	}
	if spent {
		return flow.ErrStateUsed
	}
	var s flow.State
	if err := load(ctx, tx, &s, flow.ErrStateUnknown, `SELECT doc FROM states WHERE hash = ?`, hash); err != nil {
		return err
	}
	if s.Browser != browser {
		return flow.ErrStateBrowser
	}
	return flow.ErrStateExpired
}
