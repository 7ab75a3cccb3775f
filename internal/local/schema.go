package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// migrations bring the schema from one version to the next. PRAGMA
// user_version counts those that were applied: append, never edit.
var migrations = [...]string{
	`CREATE TABLE connections (
		tenant TEXT NOT NULL, id TEXT NOT NULL,
		created_at TEXT NOT NULL,
		user_id TEXT NOT NULL, server TEXT NOT NULL, provider TEXT NOT NULL, subject TEXT NOT NULL,
		attention_at TEXT, -- NULL: never
		doc TEXT NOT NULL,
		PRIMARY KEY (tenant, id)
	) STRICT;
	CREATE INDEX connections_created ON connections (tenant, created_at, id);
	CREATE INDEX connections_user ON connections (tenant, user_id, created_at, id);
	CREATE INDEX connections_due ON connections (attention_at) WHERE attention_at IS NOT NULL;

	CREATE TABLE links (
		tenant TEXT NOT NULL, id TEXT NOT NULL, expires_at TEXT NOT NULL, doc TEXT NOT NULL,
		PRIMARY KEY (tenant, id)
	) STRICT;
	CREATE TABLE sessions (hash TEXT PRIMARY KEY, expires_at TEXT NOT NULL, doc TEXT NOT NULL) STRICT;
	CREATE TABLE flows (
		id TEXT PRIMARY KEY, revision INTEGER NOT NULL, expires_at TEXT NOT NULL, doc TEXT NOT NULL
	) STRICT;
	CREATE TABLE states (
		hash TEXT PRIMARY KEY, browser TEXT NOT NULL, expires_at TEXT NOT NULL, doc TEXT NOT NULL
	) STRICT;
	CREATE TABLE spent_states (hash TEXT PRIMARY KEY, spent_at TEXT NOT NULL) STRICT;

	CREATE TABLE grants (
		tenant TEXT NOT NULL, connection TEXT NOT NULL, version TEXT NOT NULL, sealed BLOB NOT NULL,
		PRIMARY KEY (tenant, connection, version)
	) STRICT;

	CREATE TABLE audit (
		id TEXT PRIMARY KEY, tenant TEXT NOT NULL, at TEXT NOT NULL,
		connection TEXT NOT NULL, user_id TEXT NOT NULL, doc TEXT NOT NULL
	) STRICT;
	CREATE INDEX audit_at ON audit (tenant, at, id);
	CREATE INDEX audit_connection ON audit (tenant, connection, at, id);

	CREATE TABLE tasks (
		id TEXT PRIMARY KEY, tenant TEXT NOT NULL, connection TEXT NOT NULL, doc TEXT NOT NULL,
		UNIQUE (tenant, connection)
	) STRICT;
	CREATE TABLE generations (
		tenant TEXT NOT NULL, connection TEXT NOT NULL, generation INTEGER NOT NULL,
		PRIMARY KEY (tenant, connection)
	) STRICT;
	CREATE TABLE mcp_tokens (
		id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE,
		tenant TEXT NOT NULL, connection TEXT NOT NULL, created_at TEXT NOT NULL, doc TEXT NOT NULL
	) STRICT;
	CREATE INDEX mcp_tokens_connection ON mcp_tokens (tenant, connection, created_at, id);`,

	// NULL: the connection has no set in force, or none proposed; '': it has,
	// and the provider named no account.
	`ALTER TABLE connections DROP COLUMN subject;
	ALTER TABLE connections ADD COLUMN subject TEXT;
	ALTER TABLE connections ADD COLUMN proposed_subject TEXT;
	UPDATE connections SET
		subject = iif(doc ->> '$.set.access' IS NOT NULL OR doc ->> '$.set.grant_version' <> '', ifnull(doc ->> '$.account.subject', ''), NULL),
		proposed_subject = iif(doc ->> '$.proposal' IS NOT NULL, ifnull(doc ->> '$.proposal.granted.account.subject', ''), NULL);
	CREATE INDEX connections_subject ON connections (tenant, subject, provider);
	CREATE INDEX connections_proposed ON connections (tenant, proposed_subject, provider);

	ALTER TABLE links ADD COLUMN user_id TEXT NOT NULL DEFAULT '';
	UPDATE links SET user_id = doc ->> '$.user_id';
	CREATE INDEX links_user ON links (tenant, user_id);
	CREATE TABLE deleted_links (
		tenant TEXT NOT NULL, id TEXT NOT NULL, expires_at TEXT NOT NULL, PRIMARY KEY (tenant, id)
	) STRICT;

	ALTER TABLE sessions ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
	ALTER TABLE sessions ADD COLUMN user_id TEXT NOT NULL DEFAULT '';
	ALTER TABLE sessions ADD COLUMN link_id TEXT NOT NULL DEFAULT '';
	UPDATE sessions SET tenant = doc ->> '$.tenant', user_id = doc ->> '$.user_id', link_id = ifnull(doc ->> '$.link_id', '');
	CREATE INDEX sessions_user ON sessions (tenant, user_id);
	CREATE INDEX sessions_link ON sessions (tenant, link_id);

	ALTER TABLE mcp_tokens ADD COLUMN expires_at TEXT NOT NULL DEFAULT '';
	UPDATE mcp_tokens SET expires_at = doc ->> '$.expires_at';
	CREATE TABLE deleted_mcp_tokens (
		id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, expires_at TEXT NOT NULL
	) STRICT;`,

	// Renewals ahead of use begin with a plan, which a row without one waits for.
	`UPDATE connections SET doc = json_set(doc, '$.renew_at', created_at), attention_at = min(ifnull(attention_at, created_at), created_at)
	WHERE doc ->> '$.status' = 'connected' AND provider <> '';`,

	`CREATE TABLE gates (name TEXT PRIMARY KEY, expires_at TEXT NOT NULL, doc TEXT NOT NULL) STRICT;`,

	`CREATE TABLE catalogues (
		tenant TEXT NOT NULL, connection TEXT NOT NULL, packed BLOB NOT NULL, PRIMARY KEY (tenant, connection)
	) STRICT;`,

	`CREATE TABLE oauth_clients (
		id TEXT PRIMARY KEY, kind TEXT NOT NULL,
		expires_at TEXT, -- NULL: never
		doc TEXT NOT NULL
	) STRICT;
	CREATE TABLE oauth_requests (
		id TEXT PRIMARY KEY, revision INTEGER NOT NULL, expires_at TEXT NOT NULL, doc TEXT NOT NULL
	) STRICT;
	CREATE TABLE oauth_grants (
		id TEXT PRIMARY KEY, tenant TEXT NOT NULL, user_id TEXT NOT NULL, created_at TEXT NOT NULL, expires_at TEXT NOT NULL,
		doc TEXT -- NULL: deleted
	) STRICT;
	CREATE INDEX oauth_grants_user ON oauth_grants (tenant, user_id, created_at, id);
	CREATE TABLE oauth_consents (
		tenant TEXT NOT NULL, user_id TEXT NOT NULL, client TEXT NOT NULL, resource TEXT NOT NULL,
		expires_at TEXT NOT NULL, doc TEXT NOT NULL,
		PRIMARY KEY (tenant, user_id, client, resource)
	) STRICT;
	CREATE TABLE oauth_spent (what TEXT PRIMARY KEY, expires_at TEXT NOT NULL) STRICT;
	CREATE TABLE oauth_admitted (name TEXT PRIMARY KEY, count INTEGER NOT NULL, expires_at TEXT NOT NULL) STRICT;`,
	// Of a sign-in that was taken the document is NULL.
	`CREATE TABLE sign_ins (id TEXT PRIMARY KEY, expires_at TEXT NOT NULL, doc TEXT) STRICT;`,
	`CREATE TABLE registrations (
		tenant TEXT NOT NULL, issuer TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (tenant, issuer)
	) STRICT;`,
}

// migrate applies what is missing, in one transaction: of several processes
// that open a new database, one makes the tables and the others find them.
func migrate(ctx context.Context, d *DB) error {
	version, err := schemaVersion(ctx, d.write)
	if err != nil || version == len(migrations) {
		return err
	}
	if err := useWAL(ctx, d.write); err != nil {
		return err
	}
	return d.transact(ctx, func(tx *sql.Tx) error {
		version, err := schemaVersion(ctx, tx)
		if err != nil {
			return err
		}
		for i := version; i < len(migrations); i++ {
			if _, err := tx.ExecContext(ctx, migrations[i]); err != nil {
				return fmt.Errorf("migrate the state database to version %d: %w", i+1, err)
			}
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, len(migrations)))
		return err
	})
}

func schemaVersion(ctx context.Context, q queryer) (int, error) {
	var version int
	if err := q.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return 0, explain(err)
	}
	if version > len(migrations) {
		return 0, fmt.Errorf("%w (its schema is version %d, this program knows %d)", ErrNewer, version, len(migrations))
	}
	return version, nil
}

// useWAL switches the file to a write-ahead log, which it then stays with. The
// switch needs the file alone and does not wait for it by itself, so that of
// two processes that open a new database one may have to ask again.
func useWAL(ctx context.Context, pool *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for {
		var mode string
		err := explain(pool.QueryRowContext(ctx, `PRAGMA journal_mode = WAL`).Scan(&mode))
		if err == nil && mode != "wal" {
			return fmt.Errorf("the file system of the data directory cannot hold a write-ahead log (journal mode %q): use a local disk", mode)
		}
		if !errors.Is(err, ErrBusy) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
