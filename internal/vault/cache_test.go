package vault_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// countedKeys counts what reaches the key service.
type countedKeys struct {
	vault.Keys
	made, unwrapped atomic.Int64
}

func (k *countedKeys) DataKey(ctx context.Context, tenant string) (key, wrapped []byte, err error) {
	k.made.Add(1)
	return k.Keys.DataKey(ctx, tenant)
}

func (k *countedKeys) Unwrap(ctx context.Context, tenant string, wrapped []byte) ([]byte, error) {
	k.unwrapped.Add(1)
	return k.Keys.Unwrap(ctx, tenant, wrapped)
}

func cached(maxUses int) (*vault.CachedKeys, *countedKeys) {
	counted := &countedKeys{Keys: fake.NewKeys()}
	return &vault.CachedKeys{Keys: counted, TTL: time.Minute, MaxUses: maxUses, Now: time.Now}, counted
}

func dataKey(t *testing.T, keys vault.Keys, tenant string) (key, wrapped []byte) {
	t.Helper()
	key, wrapped, err := keys.DataKey(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	return key, wrapped
}

func TestCachedKeysTTL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys, counted := cached(1000)
		first, wrapped := dataKey(t, keys, "default")
		use := func(wantMade, wantUnwrapped int64) []byte {
			t.Helper()
			key, _ := dataKey(t, keys, "default")
			if opened, err := keys.Unwrap(t.Context(), "default", wrapped); err != nil || !bytes.Equal(opened, first) {
				t.Errorf("unwrap: %v", err)
			}
			if counted.made.Load() != wantMade || counted.unwrapped.Load() != wantUnwrapped {
				t.Errorf("%d keys made and %d unwrapped, want %d and %d",
					counted.made.Load(), counted.unwrapped.Load(), wantMade, wantUnwrapped)
			}
			return key
		}
		if !bytes.Equal(use(1, 1), first) {
			t.Error("another key within the time to live")
		}
		time.Sleep(time.Minute - 1) // on the bubble's own clock
		use(1, 1)
		time.Sleep(time.Nanosecond)
		if bytes.Equal(use(2, 2), first) {
			t.Error("the key outlived its time")
		}
	})
}

func TestCachedKeysMaxUses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ maxUses, seals, made int }{{3, 3, 1}, {3, 4, 2}, {3, 7, 3}, {1, 3, 3}} {
		keys, counted := cached(test.maxUses)
		for range test.seals {
			dataKey(t, keys, "default")
		}
		if counted.made.Load() != int64(test.made) {
			t.Errorf("%d seals with at most %d uses: %d keys, want %d", test.seals, test.maxUses, counted.made.Load(), test.made)
		}
	}
}

// TestCachedKeysRaced: no key seals more often than it may, whoever calls.
func TestCachedKeysRaced(t *testing.T) {
	t.Parallel()
	keys, _ := cached(5)
	var mu sync.Mutex
	uses := map[string]int{}
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			key, wrapped, err := keys.DataKey(t.Context(), "default")
			if err != nil {
				t.Error(err)
				return
			}
			opened, err := keys.Unwrap(t.Context(), "default", wrapped)
			if err != nil || !bytes.Equal(opened, key) {
				t.Errorf("the wrapped key is of another one (%v)", err)
			}
			mu.Lock()
			defer mu.Unlock()
			uses[string(key)]++
		})
	}
	callers.Wait()
	for _, n := range uses {
		if n > 5 {
			t.Errorf("a key was used %d times, at most 5 are allowed", n)
		}
	}
}

// TestCachedKeysByTenant: an unwrapped key serves its own tenant alone.
func TestCachedKeysByTenant(t *testing.T) {
	t.Parallel()
	keys, _ := cached(1000)
	a, wrapped := dataKey(t, keys, "a")
	if b, _ := dataKey(t, keys, "b"); bytes.Equal(a, b) {
		t.Error("two tenants share a key")
	}
	if _, err := keys.Unwrap(t.Context(), "a", wrapped); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Unwrap(t.Context(), "b", wrapped); !errors.Is(err, vault.ErrSealed) {
		t.Errorf("another tenant was given a cached key: %v", err)
	}
}

// TestCachedKeysForgetFailures: what failed is asked again.
func TestCachedKeysForgetFailures(t *testing.T) {
	t.Parallel()
	down := errors.New("key service is down")
	keys := &vault.CachedKeys{Keys: failingKeys{down}, TTL: time.Minute, MaxUses: 10, Now: time.Now}
	if _, _, err := keys.DataKey(t.Context(), "default"); !errors.Is(err, down) {
		t.Errorf("error %v", err)
	}
	if _, err := keys.Unwrap(t.Context(), "default", nil); !errors.Is(err, down) {
		t.Errorf("error %v", err)
	}
	keys.Keys = fake.NewKeys()
	dataKey(t, keys, "default")
}
