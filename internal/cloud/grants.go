package cloud

import (
	"bytes"
	"context"
	"encoding/json"
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

var _ vault.PlacedGrants = (*Grants)(nil)

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
	// discard removes these versions, and what held them if nothing is left; it
	// reports whether nothing is.
	discard(ctx context.Context, k connection.Key, versions ...string) (empty bool, err error)
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
	store := g.stores(g.Store)[0]
	if err := store.Put(ctx, k, version, sealed); err != nil {
		return err
	}
	gone, err := g.Table.deleted(ctx, k)
	if err != nil || !gone {
		return err
	}
	return errors.Join(connection.ErrGone, store.Clear(ctx, k))
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
	var c connection.Connection
	if doc := textOf(it, "doc"); doc == "" {
		return true, nil // the tombstone
	} else if err := json.Unmarshal([]byte(doc), &c); err != nil {
		return false, err
	}
	return c.Status == connection.Deleting, nil
}

// Grants is the store of sealed grants in the table: the same bytes as in
// Secrets Manager, an item each.
func (t *Table) Grants() vault.GrantStore { return tableGrants{t} }

type tableGrants struct{ t *Table }

func grantPK(k connection.Key) string { return join("GRT", k.Tenant, k.ID) }

// Name implements [vault.GrantStore].
func (g tableGrants) Name() string { return config.StoreDynamoDB }

// Put implements [vault.GrantStore].
func (g tableGrants) Put(ctx context.Context, k connection.Key, version string, sealed []byte) error {
	bin := &types.AttributeValueMemberB{Value: bytes.Clone(sealed)}
	it := at(grantPK(k), version)
	it["sealed"] = bin
	err := g.t.put(ctx, it, condition{"attribute_not_exists(pk) OR sealed = :sealed", item{":sealed": bin}})
	if _, ok := refusal(err); ok {
		return fmt.Errorf("another grant of %s is stored as version %s", k.ID, version)
	}
	return err
}

// Get implements [vault.GrantStore].
func (g tableGrants) Get(ctx context.Context, k connection.Key, version string) ([]byte, error) {
	it, err := g.t.get(ctx, grantPK(k), version)
	if err != nil {
		return nil, err
	}
	sealed, ok := it["sealed"].(*types.AttributeValueMemberB)
	if !ok {
		return nil, vault.ErrNoGrant
	}
	return sealed.Value, nil
}

// Remove implements [vault.GrantStore].
func (g tableGrants) Remove(ctx context.Context, k connection.Key, versions ...string) error {
	return removeEach(ctx, g, k, versions)
}

func (g tableGrants) remove(ctx context.Context, k connection.Key, version string) (bool, error) {
	out, err := g.t.API.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &g.t.Name, Key: at(grantPK(k), version), ReturnValues: types.ReturnValueAllOld,
	})
	if err != nil {
		return false, failed(err)
	}
	return len(out.Attributes) > 0, nil
}

// Clear implements [vault.GrantStore].
func (g tableGrants) Clear(ctx context.Context, k connection.Key) error {
	var versions []string
	err := g.t.query(ctx, query{pk: grantPK(k)}, func(it item) (bool, error) {
		versions = append(versions, textOf(it, "sk"))
		return true, nil
	})
	if err != nil {
		return err
	}
	return g.Remove(ctx, k, versions...)
}

// discard implements [discarder].
func (g tableGrants) discard(ctx context.Context, k connection.Key, versions ...string) (empty bool, err error) {
	if err := g.Remove(ctx, k, versions...); err != nil {
		return false, err
	}
	empty = true
	err = g.t.query(ctx, query{pk: grantPK(k)}, func(item) (bool, error) {
		empty = false
		return false, nil
	})
	return empty, err
}
