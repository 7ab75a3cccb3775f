package cloud_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
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
		if _, err := tenants.Create(t.Context(), cloud.Tenant{ID: "acme"}); err != nil {
			t.Fatal(err)
		}
		_, key, err := w.keys.Create(t.Context(), "acme", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
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
		if err := tenants.Remove(t.Context(), "acme"); !errors.Is(err, cloud.ErrNoTenant) {
			t.Errorf("again: %v", err)
		}
		if err := tenants.Remove(t.Context(), "default"); err == nil {
			t.Error("the default tenant was removed")
		}
	})
}
