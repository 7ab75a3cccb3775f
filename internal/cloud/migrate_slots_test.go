package cloud_test

import (
	"errors"
	"testing"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// renewed is a connection whose grant has rotated twice in the table: one slot
// holds what is in force, the other what was spent for it.
func renewed(t *testing.T, d *deployment) (connection.Key, map[string]string) {
	t.Helper()
	k, held := d.add(t, "default", "con_1", "set_proposed", "set_retired")
	held["set_current_a"] = "in force"
	for fence, version := range []string{"set_before_b", "set_current_a"} {
		if err := d.grants.Replace(t.Context(), k, version, int64(fence+4), []byte("in force")); err != nil {
			t.Fatal(err)
		}
	}
	_, err := d.table.Update(t.Context(), k, func(c *connection.Connection) error {
		c.Fence, c.Set.GrantVersion, c.Intent = 5, "set_current_a", &connection.Intent{ID: "set_intended_b"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return k, held
}

// Slots move like all else. What was spent does not, and does not stay behind.
func TestMigrateSlots(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, "dynamodb")
	k, held := renewed(t, d)
	if got, err := d.migration(t, "secretsmanager", nil).Run(t.Context(), "default"); err != nil || got != (cloud.Moved{Moved: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	d.wantMoved(t, "secretsmanager", k, held)
	if _, err := d.table.Grants().Get(t.Context(), k, "set_before_b"); !errors.Is(err, vault.ErrNoGrant) {
		t.Errorf("what was spent is still in the table: %v", err)
	}
	// And back, into the slots: the next renewals take turns there.
	if got, err := d.migration(t, "dynamodb", nil).Run(t.Context(), "default"); err != nil || got != (cloud.Moved{Moved: 1}) {
		t.Errorf("back: %+v, %v", got, err)
	}
	d.wantMoved(t, "dynamodb", k, held)
	c, err := d.table.Get(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.table.Grants().Replace(t.Context(), k, "set_late_a", c.Fence-1, []byte("late")); !errors.Is(err, connection.ErrFenced) {
		t.Errorf("whom the move has fenced out wrote over what it moved: %v", err)
	}
	if err := d.table.Grants().Replace(t.Context(), k, "set_next_a", c.Fence+1, []byte("next")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.table.Grants().Get(t.Context(), k, "set_current_a"); !errors.Is(err, vault.ErrNoGrant) {
		t.Errorf("it was not moved into its slot: %v", err)
	}
}

// What a renewal puts into a slot of the old store while its connection is moved
// is not thrown away with what was spent: neither that of a worker that lost its
// lease to the move, which the row names as intended, nor that of one that has
// got the lease since and does not know of the new store.
func TestMigrateSparesSlots(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]struct {
		version string
		fence   int64
	}{"as intended": {"set_intended_b", 5}, "since": {"set_newest_b", 7}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDeployment(t, "dynamodb")
			k, held := renewed(t, d)
			m := d.migration(t, "secretsmanager", nil)
			m.Connections = &meddler{Store: d.table, after: 2, meddle: func() {
				if err := d.table.Grants().Replace(t.Context(), k, late.version, late.fence, []byte("late")); err != nil {
					t.Fatal(err)
				}
			}}
			if got, err := m.Run(t.Context(), "default"); err != nil || got != (cloud.Moved{Moved: 1, Kept: 1}) {
				t.Errorf("%+v, %v", got, err)
			}
			if got, err := d.table.Grants().Get(t.Context(), k, late.version); err != nil || string(got) != "late" {
				t.Errorf("%q, %v", got, err)
			}
			d.wantAll(t, d.grants.Secrets, k, held)
		})
	}
}

// A deployment that changes its mind and is not moved yet: each renewal takes
// its own connection along, and leaves nothing behind.
func TestSpentInTheOtherStore(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"dynamodb", "secretsmanager"} {
		d := newDeployment(t, other(store))
		k := connection.Key{Tenant: "default", ID: "con_1"}
		for _, version := range []string{"set_1", "set_2_a"} {
			d.grants.Store = other(store)
			put := func() error { return d.grants.Put(t.Context(), k, version, []byte("old")) }
			if vault.Slot(version) != "" {
				put = func() error { return d.grants.Replace(t.Context(), k, version, 1, []byte("old")) }
			}
			if err := put(); err != nil {
				t.Fatal(err)
			}
			d.grants.Store = store
			if err := d.grants.Replace(t.Context(), k, "set_3_b", 2, []byte("new")); err != nil {
				t.Fatal(err)
			}
			if err := d.grants.Spent(t.Context(), k, version, other(store)); err != nil {
				t.Fatal(err)
			}
			if _, err := d.grants.Get(t.Context(), k, version); !errors.Is(err, vault.ErrNoGrant) {
				t.Errorf("%s, moving to %s: it is still there: %v", version, store, err)
			}
			if got, err := d.grants.Get(t.Context(), k, "set_3_b"); err != nil || string(got) != "new" {
				t.Errorf("%s, moving to %s: the new one is %q, %v", version, store, got, err)
			}
		}
		// Secrets Manager has 20 labels a secret: nothing spent may stay there.
		if store == "secretsmanager" {
			if err := d.grants.Spent(t.Context(), k, "set_3_b", store); err != nil {
				t.Fatal(err)
			}
			if _, err := d.grants.Get(t.Context(), k, "set_3_b"); !errors.Is(err, vault.ErrNoGrant) {
				t.Errorf("what was spent stays in Secrets Manager: %v", err)
			}
		}
	}
}
