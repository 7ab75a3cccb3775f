package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// other is the store that is not the named one.
func other(store string) string {
	if store == "dynamodb" {
		return "secretsmanager"
	}
	return "dynamodb"
}

// deployment is a table and a Secrets Manager, seen through a transport.
type deployment struct {
	table  *cloud.Table
	grants *cloud.Grants
	now    time.Time
}

func newDeployment(t *testing.T, store string) *deployment {
	g := newGrants(t, store)
	return &deployment{table: g.Table, grants: g, now: clock()}
}

// migration moves to the store, through a transport that breaks calls, and
// never tries twice.
func (d *deployment) migration(t *testing.T, to string, broken func(string, int) fault) *cloud.Migration {
	cfg, _ := through(t, broken)
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	table := by(dynamodb.NewFromConfig(cfg), d.table)
	secrets := *d.grants.Secrets.Store
	secrets.Client = secretsmanager.NewFromConfig(cfg)
	return &cloud.Migration{Connections: table, Now: func() time.Time { return d.now }, Grants: &cloud.Grants{
		Table: table, Secrets: &cloud.SecretGrants{Store: &secrets}, Store: to}}
}

// everything are the grants that a row can name.
var everything = []string{"set_current", "set_intended", "set_proposed", "set_retired"}

// add stores a connection that names these grants, and returns them.
func (d *deployment) add(t *testing.T, tenant, id string, versions ...string) (connection.Key, map[string]string) {
	t.Helper()
	set := func(version string) connection.Set {
		return connection.Set{GrantVersion: version, GrantStore: d.grants.Store, AccessVersion: version, Access: []byte("sealed")}
	}
	c := connection.Connection{Key: connection.Key{Tenant: tenant, ID: id}, UserID: "ada", Server: "notes", AuthType: "oauth",
		Status: connection.Connected, CreatedAt: d.now, Set: set("set_current"),
		Intent: &connection.Intent{ID: "set_intended"}}
	if slices.Contains(versions, "set_proposed") {
		c.Proposal = &connection.Proposal{FlowID: "flo_1", ConfirmBy: d.now.Add(time.Hour), Set: set("set_proposed")}
		c.Retired = []connection.Retired{{Set: set("set_retired")}}
	}
	held := map[string]string{}
	for _, version := range versions {
		held[version] = id + " " + version
		if err := d.grants.Put(t.Context(), c.Key, version, []byte(held[version])); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.table.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return c.Key, held
}

// wantAll: everything that the row names can be read where it is said to lie,
// or wherever grants are looked for.
func (d *deployment) wantAll(t *testing.T, from vault.GrantStore, k connection.Key, held map[string]string) {
	t.Helper()
	for version, want := range held {
		got, err := from.Get(t.Context(), k, version)
		if err != nil || string(got) != want {
			t.Errorf("version %s in %s is %q, %v", version, from.Name(), got, err)
		}
	}
}

func (d *deployment) store(name string) vault.GrantStore {
	if name == "dynamodb" {
		return d.table.Grants()
	}
	return d.grants.Secrets
}

// wantMoved: the row and its grants are in the new store, and only there.
func (d *deployment) wantMoved(t *testing.T, to string, k connection.Key, held map[string]string) {
	t.Helper()
	d.wantAll(t, d.store(to), k, held)
	c, err := d.table.Get(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	said := []connection.Set{c.Set}
	if c.Proposal != nil {
		said = append(said, c.Proposal.Set, c.Retired[0].Set)
	}
	for _, s := range said {
		if s.GrantStore != to {
			t.Errorf("the row says of %s that it lies in %s", s.GrantVersion, s.GrantStore)
		}
	}
	if c.Lease != nil || c.Intent == nil {
		t.Errorf("lease %v, intent %v", c.Lease, c.Intent)
	}
	for version := range held {
		if _, err := d.store(other(to)).Get(t.Context(), k, version); !errors.Is(err, vault.ErrNoGrant) {
			t.Errorf("version %s is still in the old store: %v", version, err)
		}
	}
	if to == "dynamodb" {
		name := d.grants.Secrets.Store.Prefix + "/grants/" + k.Tenant + "/" + k.ID
		_, err := d.grants.Secrets.Store.Client.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &name})
		if err == nil {
			t.Error("the old secret is still there, and costs as much as before")
		}
	}
}

func TestMigrate(t *testing.T) {
	for _, to := range []string{"dynamodb", "secretsmanager"} {
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			d := newDeployment(t, other(to))
			rows := map[connection.Key]map[string]string{}
			for i := range 3 {
				k, held := d.add(t, "default", fmt.Sprint("con_", i), everything...)
				rows[k] = held
			}
			pasted := connection.Connection{Key: connection.Key{Tenant: "default", ID: "con_pasted"}, Status: connection.Connected}
			if err := d.table.Create(t.Context(), pasted); err != nil {
				t.Fatal(err)
			}
			for _, want := range []cloud.Moved{{Moved: 3, Empty: 1}, {Already: 3, Empty: 1}} {
				got, err := d.migration(t, to, nil).Run(t.Context(), "default")
				if err != nil || got != want {
					t.Errorf("%+v, %v, want %+v", got, err, want)
				}
			}
			for k, held := range rows {
				d.wantMoved(t, to, k, held)
			}
			back, err := d.migration(t, other(to), nil).Run(t.Context(), "default")
			if err != nil || back.Moved != 3 {
				t.Errorf("back: %+v, %v", back, err)
			}
			for k, held := range rows {
				d.wantMoved(t, other(to), k, held)
			}
		})
	}
}

// Whatever call is the last, made or not, everything is still to be read, and
// the next run goes on to the end.
func TestMigrateKilled(t *testing.T) {
	for _, to := range []string{"dynamodb", "secretsmanager"} {
		for how, killed := range map[string]fault{"before a call": {status: 400, code: "AccessDeniedException"}, "after it": {lost: true}} {
			t.Run(to+" "+how, func(t *testing.T) {
				t.Parallel()
				d := newDeployment(t, other(to))
				calls := 0
				for step := 1; ; step++ {
					d.grants.Store = other(to)
					k, held := d.add(t, fmt.Sprint("tenant", step), "con_1", everything[:2]...)
					calls = 0
					// From that call on nothing goes through: the process is dead.
					_, err := d.migration(t, to, func(string, int) fault {
						calls++
						if calls == step {
							return killed
						} else if calls > step {
							return fault{status: 400, code: "AccessDeniedException"}
						}
						return fault{}
					}).Run(t.Context(), k.Tenant)
					d.wantAll(t, d.grants, k, held)
					d.now = d.now.Add(2 * time.Minute) // its lease runs out
					if got, err := d.migration(t, to, nil).Run(t.Context(), k.Tenant); err != nil || got.Left+got.Kept != 0 {
						t.Errorf("then: %+v, %v", got, err)
					}
					d.wantMoved(t, to, k, held)
					if t.Failed() {
						t.Fatalf("killed at call %d: %v", step, err)
					}
					if calls < step {
						break
					}
				}
				if calls < 20 {
					t.Errorf("only %d calls: the test kills nothing", calls)
				}
				t.Logf("killed at each of %d calls", calls)
			})
		}
	}
}

// meddler does something just after the n-th write of a row.
type meddler struct {
	connection.Store
	after   int
	meddle  func()
	updates int
}

func (m *meddler) Update(ctx context.Context, k connection.Key, change func(*connection.Connection) error) (connection.Connection, error) {
	c, err := m.Store.Update(ctx, k, change)
	if m.updates++; m.updates == m.after {
		m.meddle()
	}
	return c, err
}

// A callback proposes a set while the row is moved, and puts it where the
// deployment was told before: both are kept, and the row moves whole.
func TestMigrateWhileSomebodyReconnects(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, "secretsmanager")
	k, held := d.add(t, "default", "con_1", everything...)
	m := d.migration(t, "dynamodb", nil)
	m.Connections = &meddler{Store: d.table, after: 1, meddle: func() {
		held["set_new"] = "just granted"
		if err := d.grants.Put(t.Context(), k, "set_new", []byte("just granted")); err != nil {
			t.Fatal(err)
		}
		_, err := d.table.Update(t.Context(), k, func(c *connection.Connection) error {
			return c.Propose(connection.Proposal{FlowID: "flo_2", ConfirmBy: d.now.Add(time.Hour),
				Set: connection.Set{GrantVersion: "set_new", GrantStore: "secretsmanager"}})
		})
		if err != nil {
			t.Fatal(err)
		}
	}}
	got, err := m.Run(t.Context(), "default")
	if err != nil || got != (cloud.Moved{Moved: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	d.wantMoved(t, "dynamodb", k, held)
}

// Who renews is waited for: the connection is left for the next run.
func TestMigrateLeavesTheLeased(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, "secretsmanager")
	k, held := d.add(t, "default", "con_1", everything...)
	_, err := d.table.Update(t.Context(), k, func(c *connection.Connection) error {
		_, err := c.Acquire("ref_1", d.now, time.Minute)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	m := d.migration(t, "dynamodb", nil)
	why := map[connection.Key]error{}
	m.Report = func(k connection.Key, err error) { why[k] = err }
	got, err := m.Run(t.Context(), "default")
	if err != nil || got != (cloud.Moved{Left: 1}) || !errors.Is(why[k], connection.ErrLeased) {
		t.Errorf("%+v, %v, %v", got, err, why)
	}
	d.wantAll(t, d.grants.Secrets, k, held)
}

// A worker that lost its lease to the move stores the result of its renewal in
// the old store. It is not thrown away with the rest.
func TestMigrateSparesALateRenewal(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, "secretsmanager")
	k, held := d.add(t, "default", "con_1", everything...)
	if err := d.grants.Remove(t.Context(), k, "set_intended"); err != nil {
		t.Fatal(err)
	}
	moved := maps.Clone(held)
	delete(moved, "set_intended")
	m := d.migration(t, "dynamodb", nil)
	m.Connections = &meddler{Store: d.table, after: 2, meddle: func() {
		if err := d.grants.Put(t.Context(), k, "set_intended", []byte(held["set_intended"])); err != nil {
			t.Fatal(err)
		}
	}}
	got, err := m.Run(t.Context(), "default")
	if err != nil || got != (cloud.Moved{Moved: 1, Kept: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	d.grants.Store = "dynamodb"
	d.wantAll(t, d.grants, k, held)
	d.wantAll(t, d.table.Grants(), k, moved)
	if got, err := d.migration(t, "dynamodb", nil).Run(t.Context(), "default"); err != nil || got != (cloud.Moved{Moved: 1}) {
		t.Errorf("again: %+v, %v", got, err)
	}
	d.wantMoved(t, "dynamodb", k, held)
}

// What a row names and neither store holds is reported, and the row left alone.
func TestMigrateMissing(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, "secretsmanager")
	k, _ := d.add(t, "default", "con_1", everything...)
	if err := d.grants.Remove(t.Context(), k, "set_current"); err != nil {
		t.Fatal(err)
	}
	m := d.migration(t, "dynamodb", nil)
	var why error
	m.Report = func(_ connection.Key, err error) { why = err }
	got, err := m.Run(t.Context(), "default")
	if err != nil || got != (cloud.Moved{Left: 1}) || !errors.Is(why, vault.ErrNoGrant) {
		t.Errorf("%+v, %v, %v", got, err, why)
	}
	c, err := d.table.Get(t.Context(), k)
	if err != nil || c.Set.GrantStore != "secretsmanager" || c.Lease != nil {
		t.Errorf("%+v, %v", c, err)
	}
}

// corrupting stores other bytes than it is given.
type corrupting struct{ cloud.DynamoDB }

func (c corrupting) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	if _, ok := in.Item["sealed"]; ok {
		in.Item["sealed"] = &types.AttributeValueMemberB{Value: []byte("other bytes")}
	}
	return c.DynamoDB.PutItem(ctx, in, o...)
}

// What does not come back as it was put is not relied on.
func TestMigrateCompares(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, "secretsmanager")
	k, held := d.add(t, "default", "con_1", everything...)
	m := d.migration(t, "dynamodb", nil)
	m.Grants.Table.API = corrupting{m.Grants.Table.API}
	got, err := m.Run(t.Context(), "default")
	if err != nil || got != (cloud.Moved{Left: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	d.wantAll(t, d.grants.Secrets, k, held)
	if c, err := d.table.Get(t.Context(), k); err != nil || c.Set.GrantStore != "secretsmanager" {
		t.Errorf("%+v, %v", c, err)
	}
}
