package cloud_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

func TestTenants(t *testing.T) {
	eachKeyWorld(t, func(t *testing.T, w *keyWorld) {
		tenants := w.table.Tenants()
		if got, err := tenants.Tenant(t.Context(), "default"); err != nil || !got.Confirm || len(got.ReturnURLs) != 0 {
			t.Errorf("the default tenant is %+v, %v", got, err)
		}
		if _, err := tenants.Tenant(t.Context(), "acme"); !errors.Is(err, cloud.ErrNoTenant) {
			t.Errorf("error %v, want %v", err, cloud.ErrNoTenant)
		}
		acme := cloud.Tenant{ID: "acme", Confirm: true, ReturnURLs: []string{"https://acme.example/done/"}}
		if _, err := tenants.Create(t.Context(), acme); err != nil {
			t.Fatal(err)
		}
		for _, taken := range []string{"acme", "default"} {
			if _, err := tenants.Create(t.Context(), cloud.Tenant{ID: taken}); !errors.Is(err, cloud.ErrTenantExists) {
				t.Errorf("%s: %v, want %v", taken, err, cloud.ErrTenantExists)
			}
		}
		for _, id := range []string{"acme", "default"} {
			_, err := tenants.Update(t.Context(), id, func(v *cloud.Tenant) { v.Confirm = false })
			if got, err2 := tenants.Tenant(t.Context(), id); errors.Join(err, err2) != nil || got.Confirm {
				t.Errorf("%s: %+v, %v, %v", id, got, err, err2)
			}
		}
		in := flow.SignIn{Method: flow.OIDC, Issuer: "https://accounts.example", Domains: []string{"acme.example"}, UserClaim: flow.ClaimEmail}
		if _, err := tenants.Update(t.Context(), "acme", func(v *cloud.Tenant) { v.SignIn = in }); err != nil {
			t.Fatal(err)
		}
		if got, err := tenants.Tenant(t.Context(), "acme"); err != nil || !reflect.DeepEqual(got.SignIn, in) {
			t.Errorf("people of acme sign in by %+v, %v", got.SignIn, err)
		}
		list, err := tenants.List(t.Context())
		if err != nil || len(list) != 2 || list[0].ID != "default" || list[1].ID != "acme" || len(list[1].ReturnURLs) != 1 {
			t.Errorf("%+v, %v", list, err)
		}
		if _, err := tenants.Update(t.Context(), "none", func(*cloud.Tenant) {}); !errors.Is(err, cloud.ErrNoTenant) {
			t.Errorf("error %v, want %v", err, cloud.ErrNoTenant)
		}
	})
}

func TestTenantsAreChecked(t *testing.T) {
	t.Parallel()
	good := []string{"a", "acme-2", "0"}
	for _, id := range append(good, "", "-a", "Acme", "a/b", "a#b", "a b", "é", fmt.Sprintf("%041d", 0)) {
		ok := len(good) > 0 && (id == good[0] || id == good[1] || id == good[2])
		if err := (cloud.Tenant{ID: id}).Check(); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, raw := range []string{"", "app.example", "ftp://app.example/", "javascript:alert(1)", "https://"} {
		if err := (cloud.Tenant{ID: "a", ReturnURLs: []string{raw}}).Check(); err == nil {
			t.Errorf("%q was accepted", raw)
		}
	}
	for name, in := range map[string]flow.SignIn{
		"nobody is at a deployment's machine": {Method: flow.Local},
		"an issuer on this machine":           {Method: flow.OIDC, Issuer: "http://127.0.0.1:9000", Anybody: true},
		"anybody of an issuer":                {Method: flow.OIDC, Issuer: "https://accounts.example"},
		"a login without TLS":                 {Method: flow.LoginURL, LoginURL: "http://app.example/login"},
	} {
		if err := (cloud.Tenant{ID: "a", SignIn: in}).Check(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// Changes at the same time are all made.
func TestTenantsUpdateRaced(t *testing.T) {
	eachKeyWorld(t, func(t *testing.T, w *keyWorld) {
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				_, err := w.table.Tenants().Update(t.Context(), "default", func(v *cloud.Tenant) {
					v.ReturnURLs = append(v.ReturnURLs, fmt.Sprintf("https://%d.example/", i))
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got, err := w.table.Tenants().Get(t.Context(), "default"); err != nil || len(got.ReturnURLs) != 8 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// A tenant goes with its keys, and not before its connections.
func TestTenantsRemove(t *testing.T) {
	eachKeyWorld(t, func(t *testing.T, w *keyWorld) {
		tenants := w.table.Tenants()
		key := w.tenant(t, "acme")
		k := connection.Key{Tenant: "acme", ID: "con_1"}
		if err := w.table.Create(t.Context(), connection.Connection{Key: k, CreatedAt: w.now}); err != nil {
			t.Fatal(err)
		}
		if err := tenants.Remove(t.Context(), "acme"); !errors.Is(err, cloud.ErrTenantInUse) {
			t.Errorf("error %v, want %v", err, cloud.ErrTenantInUse)
		}
		w.want(t, key, "acme")
		if err := w.table.Delete(t.Context(), k, func(connection.Connection) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := tenants.Remove(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		w.want(t, key, "")
		if err := tenants.Remove(t.Context(), "none"); !errors.Is(err, cloud.ErrNoTenant) || errors.Is(err, cloud.ErrTenantRemoved) {
			t.Errorf("one that never was: %v", err)
		}
		if err := tenants.Remove(t.Context(), "default"); err == nil {
			t.Error("the default tenant was removed")
		}
	})
}

// tenant makes a tenant, and an API key for it.
func (w *keyWorld) tenant(t *testing.T, id string) token.Secret {
	t.Helper()
	_, err := w.table.Tenants().Create(t.Context(), cloud.Tenant{ID: id})
	_, key, err2 := w.keys.Create(t.Context(), id, time.Time{})
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return key
}

// The id of a tenant that was removed is nobody's again, and nothing is made
// for it.
func TestTenantsRemoved(t *testing.T) {
	eachKeyWorld(t, func(t *testing.T, w *keyWorld) {
		tenants := w.table.Tenants()
		w.tenant(t, "acme")
		if err := tenants.Remove(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
		_, got := tenants.Get(t.Context(), "acme")
		_, asked := tenants.Tenant(t.Context(), "acme")
		_, created := tenants.Create(t.Context(), cloud.Tenant{ID: "acme"})
		_, updated := tenants.Update(t.Context(), "acme", func(*cloud.Tenant) {})
		_, _, key := w.keys.Create(t.Context(), "acme", time.Time{})
		for what, err := range map[string]error{"get": got, "flow": asked, "create": created, "update": updated, "key": key,
			"remove": tenants.Remove(t.Context(), "acme")} {
			if !errors.Is(err, cloud.ErrTenantRemoved) || !errors.Is(err, cloud.ErrNoTenant) {
				t.Errorf("%s: %v, want %v", what, err, cloud.ErrTenantRemoved)
			}
		}
		_, none := tenants.Tenant(t.Context(), "none")
		made := w.table.Create(t.Context(), connection.Connection{Key: connection.Key{Tenant: "acme", ID: "con_1"}, CreatedAt: w.now})
		for what, err := range map[string]error{"removed": asked, "never there": none, "connection": made} {
			if !errors.Is(err, flow.ErrTenant) {
				t.Errorf("%s: %v, want %v", what, err, flow.ErrTenant)
			}
		}
		if list, err := tenants.List(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// Whatever happens to a tenant while it is removed: either it is there, with
// what was made for it, or nothing of it is. Its id is made no second time.
func TestTenantsRemoveRaced(t *testing.T) {
	eachKeyWorld(t, func(t *testing.T, w *keyWorld) {
		for round := range 8 {
			id, tenants := fmt.Sprintf("acme-%d", round), w.table.Tenants()
			w.tenant(t, id)
			var removed, created, updated, key, connected error
			var value token.Secret
			var all sync.WaitGroup
			all.Go(func() { removed = tenants.Remove(t.Context(), id) })
			all.Go(func() { _, created = tenants.Create(t.Context(), cloud.Tenant{ID: id}) })
			all.Go(func() { _, updated = tenants.Update(t.Context(), id, func(v *cloud.Tenant) { v.Confirm = true }) })
			all.Go(func() { _, value, key = w.keys.Create(t.Context(), id, time.Time{}) })
			all.Go(func() {
				connected = w.table.Create(t.Context(), connection.Connection{Key: connection.Key{Tenant: id, ID: "con_1"}, CreatedAt: w.now})
			})
			all.Wait()
			_, there := tenants.Get(t.Context(), id)
			switch {
			case created == nil:
				t.Error("it was made twice")
			case removed == nil && (connected == nil || !errors.Is(there, cloud.ErrTenantRemoved)):
				t.Errorf("removed with its connection (%v), it is %v", connected, there)
			case removed != nil && (!errors.Is(removed, cloud.ErrTenantInUse) || connected != nil || there != nil):
				t.Errorf("not removed: %v, though there is no connection: %v; it is %v", removed, connected, there)
			}
			for what, err := range map[string]error{"update": updated, "key": key} {
				// For a moment it may have been removed that was not.
				if err != nil && !errors.Is(err, cloud.ErrTenantRemoved) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if removed == nil {
				w.want(t, cmp.Or(value, "lyk_none-was-made-here"), "")
			}
		}
	})
}

// meanwhile does something before the first write of one item alone.
type meanwhile struct {
	cloud.DynamoDB
	once sync.Once
	do   func()
}

func (m *meanwhile) PutItem(ctx context.Context, in *dynamodb.PutItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	m.once.Do(m.do)
	return m.DynamoDB.PutItem(ctx, in, opts...)
}

// A connection that is made at the last moment keeps its tenant, as it was.
func TestTenantsRemoveConnected(t *testing.T) {
	eachKeyWorld(t, func(t *testing.T, w *keyWorld) {
		key := w.tenant(t, "acme")
		if _, err := w.table.Tenants().Update(t.Context(), "acme", func(v *cloud.Tenant) { v.Confirm = true }); err != nil {
			t.Fatal(err)
		}
		late := by(&meanwhile{DynamoDB: w.table.API, do: func() {
			err := w.table.Create(t.Context(), connection.Connection{Key: connection.Key{Tenant: "acme", ID: "con_1"}, CreatedAt: w.now})
			if err != nil {
				t.Error(err)
			}
		}}, w.table)
		if err := late.Tenants().Remove(t.Context(), "acme"); !errors.Is(err, cloud.ErrTenantInUse) {
			t.Errorf("error %v, want %v", err, cloud.ErrTenantInUse)
		}
		if got, err := w.table.Tenants().Get(t.Context(), "acme"); err != nil || !got.Confirm {
			t.Errorf("%+v, %v", got, err)
		}
		w.want(t, key, "acme")
	})
}
