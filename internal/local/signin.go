package local

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/signin"
)

var _ signin.Store = (*DB)(nil)

// PutAttempt implements [signin.Store].
func (d *DB) PutAttempt(ctx context.Context, a signin.Attempt) error {
	return d.put(ctx, a, `INSERT INTO sign_ins (id, expires_at, doc) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
		a.ID, connection.Stamp(a.ExpiresAt))
}

// Attempt implements [signin.Store].
func (d *DB) Attempt(ctx context.Context, id string) (signin.Attempt, error) {
	return getAttempt(ctx, d.read, id)
}

func getAttempt(ctx context.Context, q queryer, id string) (a signin.Attempt, err error) {
	var doc sql.NullString
	err = q.QueryRowContext(ctx, `SELECT doc FROM sign_ins WHERE id = ?`, id).Scan(&doc)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return a, signin.ErrUnknown
	case err != nil:
		return a, explain(err)
	case !doc.Valid:
		return a, signin.ErrUsed
	}
	return a, json.Unmarshal([]byte(doc.String), &a)
}

// ConfirmAttempt implements [signin.Store].
func (d *DB) ConfirmAttempt(ctx context.Context, tenant, id, user, proofHash string, now time.Time) (signin.Attempt, error) {
	return d.changeAttempt(ctx, id, func(a *signin.Attempt) (stays bool, err error) {
		if err := a.MayConfirm(tenant, user, now); err != nil {
			return false, err
		}
		a.UserID, a.ProofHash = user, proofHash
		return true, nil
	})
}

// TakeAttempt implements [signin.Store]. A mark stays in the place of the
// attempt; its verifier is gone with its document.
func (d *DB) TakeAttempt(ctx context.Context, id, browser, proofHash string, now time.Time) (signin.Attempt, error) {
	return d.changeAttempt(ctx, id, func(a *signin.Attempt) (stays bool, err error) {
		return false, a.MayTake(browser, proofHash, now)
	})
}

// changeAttempt writes what change makes of the attempt, or the mark that it was
// taken, in one write transaction.
func (d *DB) changeAttempt(ctx context.Context, id string, change func(*signin.Attempt) (stays bool, err error)) (signin.Attempt, error) {
	var changed signin.Attempt
	err := d.transact(ctx, func(tx *sql.Tx) error {
		a, err := getAttempt(ctx, tx, id)
		if err != nil {
			return err
		}
		stays, err := change(&a)
		if err != nil {
			return err
		}
		doc, err := encode(a)
		if err != nil {
			return err
		}
		changed = a
		_, err = tx.ExecContext(ctx, `UPDATE sign_ins SET doc = ? WHERE id = ?`, sql.NullString{String: doc, Valid: stays}, id)
		return err
	})
	if err != nil {
		return signin.Attempt{}, err
	}
	return changed, nil
}
