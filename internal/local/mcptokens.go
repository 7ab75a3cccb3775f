package local

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
)

// PutMCPToken implements [host.Store].
func (d *DB) PutMCPToken(ctx context.Context, t host.MCPToken) error {
	doc, err := encode(t)
	if err != nil {
		return err
	}
	return d.transact(ctx, func(tx *sql.Tx) error {
		return insert(ctx, tx, host.ErrExists, `
			INSERT INTO mcp_tokens (id, hash, tenant, connection, created_at, expires_at, doc)
			SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
			WHERE NOT EXISTS (SELECT 1 FROM deleted_mcp_tokens WHERE id = ?1 OR hash = ?2)
			ON CONFLICT DO NOTHING`,
			t.ID, t.Hash, t.Connection.Tenant, t.Connection.ID, connection.Stamp(t.CreatedAt), connection.Stamp(t.ExpiresAt), doc)
	})
}

// MCPTokenByHash implements [host.Store].
func (d *DB) MCPTokenByHash(ctx context.Context, hash string) (host.MCPToken, error) {
	var t host.MCPToken
	err := load(ctx, d.read, &t, host.ErrNoToken, `SELECT doc FROM mcp_tokens WHERE hash = ?`, hash)
	return t, err
}

// MCPTokens implements [host.Store].
func (d *DB) MCPTokens(ctx context.Context, k connection.Key) ([]host.MCPToken, error) {
	var out []host.MCPToken
	err := each(ctx, d.read, func(doc []byte) error {
		var t host.MCPToken
		err := json.Unmarshal(doc, &t)
		out = append(out, t)
		return err
	}, `SELECT doc FROM mcp_tokens WHERE tenant = ? AND connection = ? ORDER BY created_at, id`, k.Tenant, k.ID)
	return out, err
}

// DeleteMCPToken implements [host.Store]. It leaves a mark in place of the token.
func (d *DB) DeleteMCPToken(ctx context.Context, k connection.Key, id string) error {
	return d.transact(ctx, func(tx *sql.Tx) error {
		n, err := affected(tx.ExecContext(ctx, `
			INSERT INTO deleted_mcp_tokens (id, hash, expires_at)
			SELECT id, hash, expires_at FROM mcp_tokens WHERE tenant = ? AND connection = ? AND id = ?`,
			k.Tenant, k.ID, id))
		if err == nil && n == 0 {
			return host.ErrNoToken
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM mcp_tokens WHERE id = ?`, id)
		}
		return err
	})
}

// DeleteMCPTokens implements [host.Store].
func (d *DB) DeleteMCPTokens(ctx context.Context, k connection.Key) error {
	return d.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM mcp_tokens WHERE tenant = ? AND connection = ?`, k.Tenant, k.ID)
		return err
	})
}
