package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Grants are the sealed grants of a deployment. New ones are put where the
// deployment says; each is read and removed wherever it lies, so that a
// deployment can change its mind, and move what it has row by row: see
// [Migration].
type Grants struct {
	Table   *Table
	Secrets *SecretGrants
	// Store is the name of the store for new grants: one of the words of
	// LANYARD_VAULT_STORE.
	Store string
	// first is the store that is read first; empty: Store.
	first string
}

var (
	_ vault.PlacedGrants = (*Grants)(nil)
	_ vault.Slots        = (*Grants)(nil)
	_ vault.Prover       = (*Grants)(nil)
	_ vault.Slots        = tableGrants{}
)

// Name implements [vault.GrantStore].
func (g *Grants) Name() string { return g.Store }

// At implements [vault.PlacedGrants].
func (g *Grants) At(store string) vault.GrantStore {
	placed := *g
	placed.first = store
	return &placed
}

// remover is a store that tells whether there was something to remove.
type remover interface {
	vault.GrantStore
	remove(ctx context.Context, k connection.Key, version string) (was bool, err error)
}

func removeEach(ctx context.Context, from remover, k connection.Key, versions []string) error {
	for _, version := range versions {
		if _, err := from.remove(ctx, k, version); err != nil {
			return err
		}
	}
	return nil
}

// discarder is a store that grants move away from.
type discarder interface {
	remover
	// discard removes these versions of the connection that the row is of, and
	// what held them if nothing is left; it reports whether nothing is.
	discard(ctx context.Context, row connection.Connection, versions ...string) (empty bool, err error)
}

// stores are both, the named one first.
func (g *Grants) stores(first string) []discarder {
	if first == config.StoreDynamoDB {
		return []discarder{tableGrants{g.Table}, g.Secrets}
	}
	return []discarder{g.Secrets, tableGrants{g.Table}}
}

// Put implements [vault.GrantStore]. What is put for a connection that is being
// deleted, by somebody who does not know yet, is refused: nobody would remove
// it. The row is read after the write: a deletion that has not begun by then
// clears what was written.
func (g *Grants) Put(ctx context.Context, k connection.Key, version string, sealed []byte) error {
	if err := g.stores(g.Store)[0].Put(ctx, k, version, sealed); err != nil {
		return err
	}
	return g.unlessDeleted(ctx, k)
}

// unlessDeleted takes back what was put for a connection that is being deleted.
func (g *Grants) unlessDeleted(ctx context.Context, k connection.Key) error {
	gone, err := g.Table.deleted(ctx, k)
	if err != nil || !gone {
		return err
	}
	return errors.Join(connection.ErrGone, g.stores(g.Store)[0].Clear(ctx, k))
}

// Replace implements [vault.Slots]. Secrets Manager has no slots, and takes what
// is new beside what is old. In the table nobody looks whether the connection is
// being deleted, as in Put: who renews writes the row next, is told so then, and
// removes what it has put.
func (g *Grants) Replace(ctx context.Context, k connection.Key, version string, fence int64, sealed []byte) error {
	if g.Store != config.StoreDynamoDB {
		return g.Put(ctx, k, version, sealed)
	}
	return tableGrants{g.Table}.Replace(ctx, k, version, fence, sealed)
}

// Spent implements [vault.Slots]. What a deployment that has changed its mind
// still has in the other store goes.
func (g *Grants) Spent(ctx context.Context, k connection.Key, version, store string) error {
	if g.Store == config.StoreDynamoDB && store == config.StoreDynamoDB {
		return tableGrants{g.Table}.Spent(ctx, k, version, store)
	}
	return g.Remove(ctx, k, version)
}

// Prove implements [vault.Prover]. The table has just taken the lease.
func (g *Grants) Prove(ctx context.Context, k connection.Key) error {
	if g.Store == config.StoreDynamoDB {
		return nil
	}
	return g.Secrets.Prove(ctx, k)
}

// Get implements [vault.GrantStore]. It looks in the other store, too: after an
// interruption a row may not know yet where what it names was put.
func (g *Grants) Get(ctx context.Context, k connection.Key, version string) ([]byte, error) {
	first := g.first
	if first == "" {
		first = g.Store
	}
	for _, store := range g.stores(first) {
		sealed, err := store.Get(ctx, k, version)
		if !errors.Is(err, vault.ErrNoGrant) {
			return sealed, err
		}
	}
	return nil, vault.ErrNoGrant
}

// Remove implements [vault.GrantStore].
func (g *Grants) Remove(ctx context.Context, k connection.Key, versions ...string) error {
	return removeEach(ctx, g, k, versions)
}

// remove asks the other store only if the first had nothing: a deployment on
// DynamoDB must not come to the limit of 50 writes a second that Secrets
// Manager has. Where both have it, a migration is between two steps, and
// removes it from the old one itself.
func (g *Grants) remove(ctx context.Context, k connection.Key, version string) (bool, error) {
	for _, store := range g.stores(g.Store) {
		if was, err := store.remove(ctx, k, version); was || err != nil {
			return was, err
		}
	}
	return false, nil
}

// Clear implements [vault.GrantStore].
func (g *Grants) Clear(ctx context.Context, k connection.Key) error {
	var all []error
	for _, store := range g.stores(g.Store) {
		all = append(all, store.Clear(ctx, k))
	}
	return errors.Join(all...)
}

// deleted reports whether the connection is being deleted, or was. One that is
// not there yet is not.
func (t *Table) deleted(ctx context.Context, k connection.Key) (bool, error) {
	it, err := t.get(ctx, connectionPK(k), only)
	if err != nil || it == nil {
		return false, err
	}
	c, err := connectionOf(it)
	if errors.Is(err, connection.ErrNotFound) {
		return true, nil // the tombstone
	}
	return c.Status == connection.Deleting, err
}

// Grants is the store of sealed grants in the table: the same bytes as in
// Secrets Manager, an item each.
func (t *Table) Grants() vault.Slots { return tableGrants{t} }

// tableGrants are items under the connection's key: one for each version, or,
// of versions that name a slot, one for each slot:
//
//	sk       the version          the slot: a or b
//	sealed   the sealed grant     the sealed grant
//	v        -                    the version
//	f        -                    the fence under which it was put
//
// A version that names a slot lies under its own name all the same if a
// callback, a migration or an earlier release has Put it.
type tableGrants struct{ t *Table }

func grantPK(k connection.Key) string { return join("GRT", k.Tenant, k.ID) }

// Name implements [vault.GrantStore].
func (g tableGrants) Name() string { return config.StoreDynamoDB }

// Put implements [vault.GrantStore].
func (g tableGrants) Put(ctx context.Context, k connection.Key, version string, sealed []byte) error {
	it := at(grantPK(k), version)
	it["sealed"] = binary(bytes.Clone(sealed))
	err := g.t.put(ctx, it, condition{"attribute_not_exists(pk) OR sealed = :sealed", item{":sealed": it["sealed"]}})
	if _, ok := refusal(err); ok {
		return fmt.Errorf("%w: %s, version %s", vault.ErrTaken, k.ID, version)
	}
	return err
}

// Replace implements [vault.Slots].
func (g tableGrants) Replace(ctx context.Context, k connection.Key, version string, fence int64, sealed []byte) error {
	it := at(grantPK(k), vault.Slot(version))
	it["v"], it["f"], it["sealed"] = text(version), number(fence), binary(bytes.Clone(sealed))
	err := g.t.put(ctx, it, condition{"attribute_not_exists(pk) OR f < :fence", item{":fence": it["f"]}})
	if old, ok := refusal(err); ok {
		if textOf(old, "v") == version && bytes.Equal(binaryOf(old, "sealed"), sealed) {
			return nil
		}
		return fmt.Errorf("store version %s of %s: its slot holds what another renewal has put since: %w", version, k.ID, connection.ErrFenced)
	}
	return err
}

// Spent implements [vault.Slots].
func (g tableGrants) Spent(ctx context.Context, k connection.Key, version, _ string) error {
	if vault.Slot(version) != "" {
		return nil
	}
	return g.Remove(ctx, k, version)
}

// Get implements [vault.GrantStore].
func (g tableGrants) Get(ctx context.Context, k connection.Key, version string) ([]byte, error) {
	if slot := vault.Slot(version); slot != "" {
		it, err := g.t.get(ctx, grantPK(k), slot)
		if err != nil {
			return nil, err
		}
		if textOf(it, "v") == version {
			return binaryOf(it, "sealed"), nil
		}
	}
	it, err := g.t.get(ctx, grantPK(k), version)
	if err != nil {
		return nil, err
	}
	if it["sealed"] == nil || it["v"] != nil { // the name of a slot is no version
		return nil, vault.ErrNoGrant
	}
	return binaryOf(it, "sealed"), nil
}

// Remove implements [vault.GrantStore].
func (g tableGrants) Remove(ctx context.Context, k connection.Key, versions ...string) error {
	return removeEach(ctx, g, k, versions)
}

func (g tableGrants) remove(ctx context.Context, k connection.Key, version string) (bool, error) {
	if slot := vault.Slot(version); slot != "" {
		if was, err := g.delete(ctx, k, slot, condition{"v = :v", item{":v": text(version)}}); was || err != nil {
			return was, err
		}
	}
	return g.delete(ctx, k, version, condition{expression: "attribute_not_exists(v)"})
}

// delete deletes the item if the condition holds, and reports whether there was
// one.
func (g tableGrants) delete(ctx context.Context, k connection.Key, sk string, c condition) (bool, error) {
	in := &dynamodb.DeleteItemInput{TableName: &g.t.Name, Key: at(grantPK(k), sk), ReturnValues: types.ReturnValueAllOld}
	if c.expression != "" {
		in.ConditionExpression, in.ExpressionAttributeValues = &c.expression, c.values
	}
	out, err := g.t.API.DeleteItem(ctx, in)
	var other *types.ConditionalCheckFailedException
	switch {
	case errors.As(err, &other):
		return false, nil
	case err != nil:
		return false, failed(err)
	}
	return len(out.Attributes) > 0, nil
}

// Clear implements [vault.GrantStore].
func (g tableGrants) Clear(ctx context.Context, k connection.Key) error {
	stored, err := g.stored(ctx, k)
	for _, it := range stored {
		if _, err := g.delete(ctx, k, textOf(it, "sk"), condition{}); err != nil {
			return err
		}
	}
	return err
}

// stored are the items of a connection.
func (g tableGrants) stored(ctx context.Context, k connection.Key) (all []item, err error) {
	err = g.t.query(ctx, query{pk: grantPK(k)}, func(it item) (bool, error) {
		all = append(all, it)
		return true, nil
	})
	return all, err
}

// discard implements [discarder]. What is left in a slot and was put before the
// row's fence is spent, unless the row names it: a renewal puts nothing that the
// row has not named before.
func (g tableGrants) discard(ctx context.Context, row connection.Connection, versions ...string) (empty bool, err error) {
	if err := g.Remove(ctx, row.Key, versions...); err != nil {
		return false, err
	}
	stored, err := g.stored(ctx, row.Key)
	if err != nil {
		return false, err
	}
	empty = true
	for _, it := range stored {
		gone := false
		if v := textOf(it, "v"); v != "" && numberOf(it, "f") < row.Fence && !row.Names(v) {
			if gone, err = g.remove(ctx, row.Key, v); err != nil {
				return false, err
			}
		}
		empty = empty && gone
	}
	return empty, nil
}
