package conformance

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Grants is the suite of vault.GrantStore.
func Grants(t *testing.T, newStore func(*testing.T) vault.GrantStore) {
	for name, check := range map[string]func(*testing.T, vault.GrantStore){
		"NameIsConstant":           nameIsConstant,
		"PutAndGet":                putAndGetGrant,
		"PutTwice":                 putGrantTwice,
		"PutRaced":                 putGrantRaced,
		"GetUnknown":               getUnknownGrant,
		"BytesAreCopied":           grantBytesAreCopied,
		"RemoveExactly":            removeExactly,
		"RemoveSparesWhatIsPut":    removeSparesWhatIsPut,
		"Clear":                    clearGrants,
		"RemovalStaysInConnection": removalStaysInConnection,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newStore(t))
		})
	}
}

// Rows name the store: the name may neither be empty nor change.
func nameIsConstant(t *testing.T, s vault.GrantStore) {
	first := s.Name()
	if again := s.Name(); first == "" || again != first {
		t.Errorf("name %q, then %q", first, again)
	}
}

func wantGrant(t *testing.T, s vault.GrantStore, k connection.Key, version, want string) {
	t.Helper()
	got, err := s.Get(t.Context(), k, version)
	ok(t, err)
	if string(got) != want {
		t.Errorf("version %s is %q, want %q", version, got, want)
	}
}

func putAndGetGrant(t *testing.T, s vault.GrantStore) {
	large := string(bytes.Repeat([]byte{0, 0xff, '\'', 1}, 8<<10)) // 32 KiB, no text
	for version, sealed := range map[string]string{"set_1": "one", "set_2": large, "set_3": "\x00"} {
		ok(t, s.Put(t.Context(), key("con_1"), version, []byte(sealed)))
		wantGrant(t, s, key("con_1"), version, sealed)
	}
}

func putGrantTwice(t *testing.T, s vault.GrantStore) {
	for range 2 {
		ok(t, s.Put(t.Context(), key("con_1"), "set_1", []byte("one")))
	}
	if err := s.Put(t.Context(), key("con_1"), "set_1", []byte("two")); err == nil {
		t.Error("other bytes were accepted under a version that was taken")
	}
	wantGrant(t, s, key("con_1"), "set_1", "one")
}

// Of those who put different bytes under one version, one succeeds, and its
// bytes are what is stored.
func putGrantRaced(t *testing.T, s vault.GrantStore) {
	var won atomic.Int64
	var winner atomic.Value
	race(16, func(i int) {
		sealed := fmt.Sprint("grant", i)
		if s.Put(t.Context(), key("con_1"), "set_1", []byte(sealed)) == nil {
			won.Add(1)
			winner.Store(sealed)
		}
	})
	if won.Load() != 1 {
		t.Fatalf("%d of 16 different grants were accepted under one version", won.Load())
	}
	wantGrant(t, s, key("con_1"), "set_1", winner.Load().(string))
}

func getUnknownGrant(t *testing.T, s vault.GrantStore) {
	ok(t, s.Put(t.Context(), key("con_1"), "set_1", []byte("one")))
	for _, place := range []struct {
		k       connection.Key
		version string
	}{
		{key("con_1"), "set_2"}, {key("con_2"), "set_1"}, {connection.Key{Tenant: "other", ID: "con_1"}, "set_1"},
	} {
		_, err := s.Get(t.Context(), place.k, place.version)
		wantErr(t, err, vault.ErrNoGrant)
	}
}

func grantBytesAreCopied(t *testing.T, s vault.GrantStore) {
	in := []byte("one")
	ok(t, s.Put(t.Context(), key("con_1"), "set_1", in))
	in[0] = 'X'
	out, err := s.Get(t.Context(), key("con_1"), "set_1")
	ok(t, err)
	out[0] = 'Y'
	wantGrant(t, s, key("con_1"), "set_1", "one")
}

func removeExactly(t *testing.T, s vault.GrantStore) {
	versions := []string{"set_1", "set_2", "set_3", "set_%", "it's"}
	for _, v := range versions {
		ok(t, s.Put(t.Context(), key("con_1"), v, []byte(v)))
	}
	remove := []string{"set_2", "it's", "set_%", "never stored"}
	for range 2 { // again: nothing is left to do, and nothing else goes
		ok(t, s.Remove(t.Context(), key("con_1"), remove...))
		ok(t, s.Remove(t.Context(), key("con_1"))) // nothing
		for _, v := range versions {
			if !slices.Contains(remove, v) {
				wantGrant(t, s, key("con_1"), v, v)
				continue
			}
			_, err := s.Get(t.Context(), key("con_1"), v)
			wantErr(t, err, vault.ErrNoGrant)
		}
	}
}

// Of a connection whose first grant is removed while others are put, those stay.
func removeSparesWhatIsPut(t *testing.T, s vault.GrantStore) {
	ok(t, s.Put(t.Context(), key("con_1"), "set_0", []byte("old")))
	race(16, func(i int) {
		var err error
		if i%2 == 0 {
			err = s.Remove(t.Context(), key("con_1"), "set_0")
		} else {
			err = s.Put(t.Context(), key("con_1"), fmt.Sprint("set_", i), []byte("new"))
		}
		if err != nil {
			t.Error(err)
		}
	})
	for i := 1; i < 16; i += 2 {
		wantGrant(t, s, key("con_1"), fmt.Sprint("set_", i), "new")
	}
	_, err := s.Get(t.Context(), key("con_1"), "set_0")
	wantErr(t, err, vault.ErrNoGrant)
}

func clearGrants(t *testing.T, s vault.GrantStore) {
	ok(t, s.Clear(t.Context(), key("con_1"))) // of nothing
	versions := []string{"set_1", "set_2"}
	for _, v := range versions {
		ok(t, s.Put(t.Context(), key("con_1"), v, []byte(v)))
	}
	ok(t, s.Clear(t.Context(), key("con_1")))
	for _, v := range versions {
		_, err := s.Get(t.Context(), key("con_1"), v)
		wantErr(t, err, vault.ErrNoGrant)
	}
}

func removalStaysInConnection(t *testing.T, s vault.GrantStore) {
	others := []connection.Key{key("con_2"), key("con_10"), {Tenant: "other", ID: "con_1"}}
	for _, k := range append(others, key("con_1")) {
		ok(t, s.Put(t.Context(), k, "set_1", []byte("one")))
	}
	ok(t, s.Remove(t.Context(), key("con_1"), "set_1"))
	ok(t, s.Clear(t.Context(), key("con_1")))
	for _, k := range others {
		wantGrant(t, s, k, "set_1", "one")
	}
}

// Keys is the suite of vault.Keys, uncached.
func Keys(t *testing.T, newKeys func(*testing.T) vault.Keys) {
	for name, check := range map[string]func(*testing.T, vault.Keys){
		"UnwrapReturnsTheKey":      unwrapReturnsTheKey,
		"DataKeyIsFresh":           dataKeyIsFresh,
		"UnwrapIsBoundToTheTenant": unwrapIsBoundToTheTenant,
		"UnwrapRefusesDamage":      unwrapRefusesDamage,
		"WrappedHidesTheKey":       wrappedHidesTheKey,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newKeys(t))
		})
	}
}

func unwrapReturnsTheKey(t *testing.T, keys vault.Keys) {
	for _, tenant := range []string{tenant, "other", ""} {
		key, wrapped, err := keys.DataKey(t.Context(), tenant)
		ok(t, err)
		if len(key) != 32 {
			t.Errorf("a key of %d bytes, want 32", len(key))
		}
		got, err := keys.Unwrap(t.Context(), tenant, wrapped)
		ok(t, err)
		if !bytes.Equal(got, key) {
			t.Error("the unwrapped key is another one")
		}
	}
}

func dataKeyIsFresh(t *testing.T, keys vault.Keys) {
	a, wrappedA, err := keys.DataKey(t.Context(), tenant)
	ok(t, err)
	b, wrappedB, err := keys.DataKey(t.Context(), tenant)
	ok(t, err)
	if bytes.Equal(a, b) || bytes.Equal(wrappedA, wrappedB) {
		t.Error("the same key twice")
	}
}

func unwrapIsBoundToTheTenant(t *testing.T, keys vault.Keys) {
	_, wrapped, err := keys.DataKey(t.Context(), tenant)
	ok(t, err)
	for _, other := range []string{"other", "", tenant + " ", "Default"} {
		_, err := keys.Unwrap(t.Context(), other, wrapped)
		wantErr(t, err, vault.ErrSealed)
	}
}

func unwrapRefusesDamage(t *testing.T, keys vault.Keys) {
	_, wrapped, err := keys.DataKey(t.Context(), tenant)
	ok(t, err)
	for i := range wrapped {
		damaged := bytes.Clone(wrapped)
		damaged[i] ^= 1
		_, err := keys.Unwrap(t.Context(), tenant, damaged)
		wantErr(t, err, vault.ErrSealed)
		_, err = keys.Unwrap(t.Context(), tenant, wrapped[:i])
		wantErr(t, err, vault.ErrSealed)
	}
	_, err = keys.Unwrap(t.Context(), tenant, append(bytes.Clone(wrapped), 0))
	wantErr(t, err, vault.ErrSealed)
}

func wrappedHidesTheKey(t *testing.T, keys vault.Keys) {
	key, wrapped, err := keys.DataKey(t.Context(), tenant)
	ok(t, err)
	if bytes.Contains(wrapped, key[:8]) {
		t.Error("the wrapped key holds the key itself")
	}
}
