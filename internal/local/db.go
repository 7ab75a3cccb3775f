// Package local keeps everything on one machine: a SQLite database for the
// records and a key file for the secrets in them.
//
// Each record is one row: its JSON document, and beside it the columns that it
// is found and ordered by. What may happen to a record is decided by the
// packages that own it; here are only atomicity and durability:
//
//   - Writes queue for one connection and run in BEGIN IMMEDIATE transactions,
//     so that what a transaction has read is still so when it writes. Between
//     processes SQLite's own lock does the same.
//   - Reads use connections of their own. In WAL mode they see every committed
//     write and never wait for one that is going on.
//   - With synchronous=FULL a commit returns when it is on the disk.
//
// Several processes may have the same data directory open.
package local

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// Errors of the database itself, beside those that the contracts name.
var (
	// ErrBusy: another process kept the database locked for ten seconds.
	ErrBusy = fmt.Errorf("%w: the state database is busy: another process has kept it locked; try again", connection.ErrUnavailable)
	// ErrDamaged: the file is no SQLite database, or no longer a whole one.
	ErrDamaged = errors.New("the state database is damaged; nothing was changed: restore it from a backup, or move it away to start afresh")
	// ErrNewer: the file was written by a later version of the program.
	ErrNewer = errors.New("the state database was written by a newer version of lanyard; nothing was changed: run that version")
)

const (
	fileName    = "lanyard.db"
	busyTimeout = 10 * time.Second
	readers     = 4
	// defaultLimit is how long a page is when its reader names no limit.
	defaultLimit = 100
)

// DB is the state of one machine. It implements connection.Store, flow.Store,
// signin.Store, host.Store, host.Catalogues, refresh.Gates and
// discover.Registrations; see also [DB.Grants], [DB.Audit] and [DB.AuthServer].
type DB struct {
	write *sql.DB // one connection: writers of this process queue in Go
	read  *sql.DB
	// Every call of an MCP endpoint asks these: parsing them takes as long as the
	// reading does.
	connection, oauthGrant *sql.Stmt
}

// Open opens the database in dir, which it makes (0700) if there is none,
// brings its schema up to date, and purges what expired long before now.
func Open(ctx context.Context, dir string, now func() time.Time) (*DB, error) {
	path, err := filepath.Abs(filepath.Join(dir, fileName))
	if err != nil {
		return nil, err
	}
	// SQLite gives the files beside it the mode of the database.
	if err := errors.Join(createWhole(path, nil), os.Chmod(path, 0o600)); err != nil {
		return nil, fmt.Errorf("make the state database private: %w", err)
	}
	d := &DB{}
	if d.write, err = openPool(path, 1); err != nil {
		return nil, err
	}
	if d.read, err = openPool(path, readers); err != nil {
		return nil, errors.Join(err, d.write.Close())
	}
	err = migrate(ctx, d)
	if err == nil {
		err = d.Purge(ctx, now())
	}
	if err == nil {
		d.connection, err = d.read.PrepareContext(ctx, selectConnection)
	}
	if err == nil {
		d.oauthGrant, err = d.read.PrepareContext(ctx, selectOAuthGrant)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), d.Close())
	}
	return d, nil
}

func openPool(path string, size int) (*sql.DB, error) {
	q := url.Values{
		"_busy_timeout": {fmt.Sprint(busyTimeout.Milliseconds())},
		"_synchronous":  {"FULL"},
		"_txlock":       {"immediate"},
		"_dqs":          {"0"},
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	pool, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return pool, nil
}

// Close closes the database. Nothing that was acknowledged waits for it.
func (d *DB) Close() error { return errors.Join(d.read.Close(), d.write.Close()) }

// Expired records are kept for a day, so that a person who comes late is told
// "expired" or "used before" and not "unknown".
const keepExpired = 24 * time.Hour

// Purge removes what expired a day or more before now, with the marks of what
// was taken or deleted, and the counts of connections that are gone.
func (d *DB) Purge(ctx context.Context, now time.Time) error {
	before := connection.Stamp(now.Add(-keepExpired))
	return d.transact(ctx, func(tx *sql.Tx) error {
		for _, q := range []string{
			`DELETE FROM links WHERE expires_at <= ?`,
			`DELETE FROM deleted_links WHERE expires_at <= ?`,
			`DELETE FROM sessions WHERE expires_at <= ?`,
			`DELETE FROM flows WHERE expires_at <= ?`,
			`DELETE FROM states WHERE expires_at <= ?`,
			`DELETE FROM spent_states WHERE spent_at <= ?`,
			`DELETE FROM sign_ins WHERE expires_at <= ?`,
			`DELETE FROM mcp_tokens WHERE expires_at <= ?`,
			`DELETE FROM deleted_mcp_tokens WHERE expires_at <= ?`,
			`DELETE FROM gates WHERE expires_at <= ?`,
			`DELETE FROM oauth_clients WHERE expires_at <= ?`,
			`DELETE FROM oauth_requests WHERE expires_at <= ?`,
			`DELETE FROM oauth_grants WHERE expires_at <= ?`,
			`DELETE FROM oauth_consents WHERE expires_at <= ?`,
			`DELETE FROM oauth_spent WHERE expires_at <= ?`,
			`DELETE FROM oauth_admitted WHERE expires_at <= ?`,
		} {
			if _, err := tx.ExecContext(ctx, q, before); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `
			DELETE FROM generations AS g
			WHERE NOT EXISTS (SELECT 1 FROM connections AS c WHERE c.tenant = g.tenant AND c.id = g.connection)
			AND NOT EXISTS (SELECT 1 FROM tasks AS t WHERE t.tenant = g.tenant AND t.connection = g.connection)`)
		return err
	})
}

// transact runs f in a write transaction. An error from f rolls it back and is
// returned as it is, unless it is SQLite's own.
func (d *DB) transact(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return explain(err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit: a no-op
	if err := f(tx); err != nil {
		return explain(err)
	}
	return explain(tx.Commit())
}

// queryer is what reads: the pool of readers, or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// load reads the document that the query selects into out; absent is returned
// when there is none.
func load(ctx context.Context, q queryer, out any, absent error, query string, args ...any) error {
	return loadRow(q.QueryRowContext(ctx, query, args...), out, absent)
}

func loadRow(row *sql.Row, out any, absent error) error {
	var doc []byte
	err := row.Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return absent
	}
	if err != nil {
		return explain(err)
	}
	return json.Unmarshal(doc, out)
}

// insert runs an INSERT … ON CONFLICT DO NOTHING; taken is returned when the
// key is there already.
func insert(ctx context.Context, tx *sql.Tx, taken error, query string, args ...any) error {
	n, err := affected(tx.ExecContext(ctx, query, args...))
	if err == nil && n == 0 {
		return taken
	}
	return err
}

func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// each calls f with every document that the query selects.
func each(ctx context.Context, q queryer, f func(doc []byte) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var doc string
		if err := rows.Scan(&doc); err != nil {
			return explain(err)
		}
		if err := f([]byte(doc)); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

// explain says in the person's terms what SQLite's result code means.
func explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff { // the low byte of an extended result code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w (%w)", ErrBusy, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("the disk is full; free some space: %w", err)
	}
	return fmt.Errorf("state database: %w", err)
}
