package local

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
)

var _ host.Store = (*DB)(nil)

// BeginTask implements [host.Store].
func (d *DB) BeginTask(ctx context.Context, t host.Task) (host.Task, error) {
	k := t.Connection
	var result host.Task
	err := d.transact(ctx, func(tx *sql.Tx) error {
		old, err := taskOf(ctx, tx, k)
		switch {
		case err == nil && old.State != host.TaskFailed:
			result = old
			return host.ErrRunning
		case err != nil && !errors.Is(err, host.ErrNoTask):
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM tasks WHERE id = ?`, old.ID); err != nil {
			return err
		}
		// The count outlives the tasks: see the table generations.
		err = tx.QueryRowContext(ctx, `
			INSERT INTO generations (tenant, connection, generation) VALUES (?, ?, 1)
			ON CONFLICT DO UPDATE SET generation = generation + 1 RETURNING generation`,
			k.Tenant, k.ID).Scan(&t.Generation)
		if err != nil {
			return err
		}
		doc, err := encode(t)
		if err != nil {
			return err
		}
		result = t
		return insert(ctx, tx, host.ErrExists,
			`INSERT INTO tasks (id, tenant, connection, doc) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			t.ID, k.Tenant, k.ID, doc)
	})
	if err != nil && !errors.Is(err, host.ErrRunning) {
		return host.Task{}, err
	}
	return result, err
}

// GetTask implements [host.Store].
func (d *DB) GetTask(ctx context.Context, id string) (host.Task, error) {
	return getTask(ctx, d.read, id)
}

func getTask(ctx context.Context, q queryer, id string) (host.Task, error) {
	var t host.Task
	err := load(ctx, q, &t, host.ErrNoTask, `SELECT doc FROM tasks WHERE id = ?`, id)
	return t, err
}

// TaskOf implements [host.Store].
func (d *DB) TaskOf(ctx context.Context, k connection.Key) (host.Task, error) {
	return taskOf(ctx, d.read, k)
}

func taskOf(ctx context.Context, q queryer, k connection.Key) (host.Task, error) {
	var t host.Task
	err := load(ctx, q, &t, host.ErrNoTask, `SELECT doc FROM tasks WHERE tenant = ? AND connection = ?`, k.Tenant, k.ID)
	return t, err
}

// UpdateTask implements [host.Store]; change must not call the store, as in
// [DB.Update].
func (d *DB) UpdateTask(ctx context.Context, id string, change func(*host.Task) error) (host.Task, error) {
	var t host.Task
	err := d.transact(ctx, func(tx *sql.Tx) error {
		var err error
		if t, err = getTask(ctx, tx, id); err != nil {
			return err
		}
		k := t.Connection
		if err := change(&t); err != nil {
			return err
		}
		t.ID, t.Connection = id, k
		doc, err := encode(t)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE tasks SET doc = ? WHERE id = ?`, doc, id)
		return err
	})
	if err != nil {
		return host.Task{}, err
	}
	return t, nil
}

// EndTask implements [host.Store].
func (d *DB) EndTask(ctx context.Context, id string) error {
	return d.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM tasks WHERE id = ?`, id)
		return err
	})
}

// Tasks implements [host.Store].
func (d *DB) Tasks(ctx context.Context) ([]host.Task, error) {
	var out []host.Task
	err := each(ctx, d.read, func(doc []byte) error {
		var t host.Task
		err := json.Unmarshal(doc, &t)
		out = append(out, t)
		return err
	}, `SELECT doc FROM tasks ORDER BY tenant, connection`)
	return out, err
}
