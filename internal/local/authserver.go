package local

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
)

// AuthServer implements authserver.Store.
type AuthServer struct{ d *DB }

var _ authserver.Store = AuthServer{}

// AuthServer is what signs MCP clients in.
func (d *DB) AuthServer() AuthServer { return AuthServer{d} }

// exec runs one statement in a transaction of its own and counts the rows.
func (s AuthServer) exec(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = s.d.transact(ctx, func(tx *sql.Tx) error {
		n, err = affected(tx.ExecContext(ctx, query, args...))
		return err
	})
	return n, err
}

// add runs an INSERT … ON CONFLICT DO NOTHING whose last argument is the record.
func (s AuthServer) add(ctx context.Context, record any, query string, key ...any) error {
	doc, err := encode(record)
	if err != nil {
		return err
	}
	return s.d.transact(ctx, func(tx *sql.Tx) error {
		return insert(ctx, tx, authserver.ErrExists, query, append(key, doc)...)
	})
}

// AddClient implements [authserver.Store].
func (s AuthServer) AddClient(ctx context.Context, c authserver.Client) error {
	return s.add(ctx, c, `INSERT INTO oauth_clients (id, kind, expires_at, doc) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		c.ID, string(c.Kind), orNull(c.ExpiresAt))
}

// SaveClient implements [authserver.Store].
func (s AuthServer) SaveClient(ctx context.Context, c authserver.Client) error {
	return s.add(ctx, c, `
		INSERT INTO oauth_clients (id, kind, expires_at, doc) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET kind = excluded.kind, expires_at = excluded.expires_at, doc = excluded.doc`,
		c.ID, string(c.Kind), orNull(c.ExpiresAt))
}

// GetClient implements [authserver.Store].
func (s AuthServer) GetClient(ctx context.Context, id string) (authserver.Client, error) {
	var c authserver.Client
	err := load(ctx, s.d.read, &c, authserver.ErrNoClient, `SELECT doc FROM oauth_clients WHERE id = ?`, id)
	return c, err
}

// RegisteredClients implements [authserver.Store].
func (s AuthServer) RegisteredClients(ctx context.Context) ([]authserver.Client, error) {
	var out []authserver.Client
	err := each(ctx, s.d.read, func(doc []byte) error {
		var c authserver.Client
		err := json.Unmarshal(doc, &c)
		out = append(out, c)
		return err
	}, `SELECT doc FROM oauth_clients WHERE kind = ? ORDER BY id`, string(authserver.Registered))
	return out, err
}

// DeleteClient implements [authserver.Store].
func (s AuthServer) DeleteClient(ctx context.Context, id string) error {
	n, err := s.exec(ctx, `DELETE FROM oauth_clients WHERE id = ?`, id)
	if err == nil && n == 0 {
		return authserver.ErrNoClient
	}
	return err
}

// AddRequest implements [authserver.Store].
func (s AuthServer) AddRequest(ctx context.Context, r authserver.Request) error {
	return s.add(ctx, r, `INSERT INTO oauth_requests (id, revision, expires_at, doc) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		r.ID, r.Revision, connection.Stamp(r.ExpiresAt))
}

// GetRequest implements [authserver.Store].
func (s AuthServer) GetRequest(ctx context.Context, id string) (authserver.Request, error) {
	return getRequest(ctx, s.d.read, id)
}

func getRequest(ctx context.Context, q queryer, id string) (authserver.Request, error) {
	var r authserver.Request
	err := load(ctx, q, &r, authserver.ErrNoRequest, `SELECT doc FROM oauth_requests WHERE id = ?`, id)
	return r, err
}

// UpdateRequest implements [authserver.Store].
func (s AuthServer) UpdateRequest(ctx context.Context, r authserver.Request) (authserver.Request, error) {
	seen := r.Revision
	r.Revision++
	doc, err := encode(r)
	if err != nil {
		return authserver.Request{}, err
	}
	err = s.d.transact(ctx, func(tx *sql.Tx) error {
		n, err := affected(tx.ExecContext(ctx,
			`UPDATE oauth_requests SET revision = ?, expires_at = ?, doc = ? WHERE id = ? AND revision = ?`,
			r.Revision, connection.Stamp(r.ExpiresAt), doc, r.ID, seen))
		if err != nil || n == 1 {
			return err
		}
		if _, err := getRequest(ctx, tx, r.ID); err != nil {
			return err
		}
		return authserver.ErrChanged
	})
	if err != nil {
		return authserver.Request{}, err
	}
	return r, nil
}

// AddGrant implements [authserver.Store]. The row of a deleted grant keeps its id.
func (s AuthServer) AddGrant(ctx context.Context, g authserver.Grant) error {
	return s.add(ctx, g, `
		INSERT INTO oauth_grants (id, tenant, user_id, created_at, expires_at, doc) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`,
		g.ID, g.Tenant, g.UserID, connection.Stamp(g.CreatedAt), connection.Stamp(g.ExpiresAt))
}

// GetGrant implements [authserver.Store].
func (s AuthServer) GetGrant(ctx context.Context, id string) (authserver.Grant, error) {
	var g authserver.Grant
	err := loadRow(s.d.oauthGrant.QueryRowContext(ctx, id), &g, authserver.ErrNoGrant)
	return g, err
}

const selectOAuthGrant = `SELECT doc FROM oauth_grants WHERE id = ? AND doc IS NOT NULL`

// UpdateGrant implements [authserver.Store]; change must not call the store, as
// in [DB.Update].
func (s AuthServer) UpdateGrant(ctx context.Context, id string, change func(*authserver.Grant) error) (authserver.Grant, error) {
	var g authserver.Grant
	err := s.d.transact(ctx, func(tx *sql.Tx) error {
		g = authserver.Grant{}
		if err := load(ctx, tx, &g, authserver.ErrNoGrant, selectOAuthGrant, id); err != nil {
			return err
		}
		revision := g.Revision
		if err := change(&g); err != nil {
			return err
		}
		g.ID, g.Revision = id, revision+1
		doc, err := encode(g)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE oauth_grants SET expires_at = ?, doc = ? WHERE id = ?`, connection.Stamp(g.ExpiresAt), doc, id)
		return err
	})
	if err != nil {
		return authserver.Grant{}, err
	}
	return g, nil
}

// DeleteGrant implements [authserver.Store].
func (s AuthServer) DeleteGrant(ctx context.Context, id string) error {
	_, err := s.exec(ctx, `UPDATE oauth_grants SET doc = NULL WHERE id = ?`, id)
	return err
}

// Grants implements [authserver.Store].
func (s AuthServer) Grants(ctx context.Context, tenant, user string) ([]authserver.Grant, error) {
	var out []authserver.Grant
	err := each(ctx, s.d.read, func(doc []byte) error {
		var g authserver.Grant
		err := json.Unmarshal(doc, &g)
		out = append(out, g)
		return err
	}, `SELECT doc FROM oauth_grants WHERE tenant = ? AND user_id = ? AND doc IS NOT NULL ORDER BY created_at, id`, tenant, user)
	return out, err
}

// SaveConsent implements [authserver.Store].
func (s AuthServer) SaveConsent(ctx context.Context, c authserver.Consent) error {
	return s.add(ctx, c, `
		INSERT INTO oauth_consents (tenant, user_id, client, resource, expires_at, doc) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET expires_at = excluded.expires_at, doc = excluded.doc`,
		c.Tenant, c.UserID, c.ClientID, c.Resource, connection.Stamp(c.ExpiresAt))
}

// GetConsent implements [authserver.Store].
func (s AuthServer) GetConsent(ctx context.Context, tenant, user, client, resource string) (authserver.Consent, error) {
	var c authserver.Consent
	err := load(ctx, s.d.read, &c, authserver.ErrNoConsent,
		`SELECT doc FROM oauth_consents WHERE tenant = ? AND user_id = ? AND client = ? AND resource = ?`, tenant, user, client, resource)
	return c, err
}

// DeleteUser implements [authserver.Store].
func (s AuthServer) DeleteUser(ctx context.Context, tenant, user string) error {
	return s.d.transact(ctx, func(tx *sql.Tx) error {
		for _, query := range []string{
			`UPDATE oauth_grants SET doc = NULL WHERE tenant = ? AND user_id = ?`,
			`DELETE FROM oauth_consents WHERE tenant = ? AND user_id = ?`,
		} {
			if _, err := tx.ExecContext(ctx, query, tenant, user); err != nil {
				return err
			}
		}
		return nil
	})
}

// Spend implements [authserver.Store].
func (s AuthServer) Spend(ctx context.Context, what string, until time.Time) error {
	n, err := s.exec(ctx, `INSERT INTO oauth_spent (what, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING`, what, connection.Stamp(until))
	if err == nil && n == 0 {
		return authserver.ErrSpent
	}
	return err
}

// Admit implements [authserver.Store].
func (s AuthServer) Admit(ctx context.Context, window string, most int, until time.Time) error {
	n, err := s.exec(ctx, `
		INSERT INTO oauth_admitted (name, count, expires_at) SELECT ?1, 1, ?3 WHERE ?2 > 0
		ON CONFLICT DO UPDATE SET count = count + 1 WHERE count < ?2`, window, most, connection.Stamp(until))
	if err == nil && n == 0 {
		return authserver.ErrTooMany
	}
	return err
}
