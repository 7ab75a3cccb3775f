package conformance

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Slots is the suite of vault.Slots, beside that of its vault.GrantStore.
func Slots(t *testing.T, newStore func(*testing.T) vault.Slots) {
	for name, check := range map[string]func(*testing.T, vault.Slots){
		"ReplaceTakesThePlace":         replaceTakesThePlace,
		"ReplaceTwice":                 replaceTwice,
		"ReplaceOfTheRetried":          replaceOfTheRetried,
		"ReplaceRefusesTheFencedOut":   replaceRefusesTheFencedOut,
		"ReplaceRaced":                 replaceRaced,
		"ReplaceCopiesItsBytes":        replaceCopiesItsBytes,
		"RemoveFromASlotExactly":       removeFromASlotExactly,
		"RemovalFreesTheSlot":          removalFreesTheSlot,
		"SpentLeavesTheOthers":         spentLeavesTheOthers,
		"ClearEmptiesTheSlots":         clearEmptiesTheSlots,
		"SlotsStayInConnection":        slotsStayInConnection,
		"PutUnderTheNameOfASlotStands": putUnderTheNameOfASlotStands,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newStore(t))
		})
	}
}

func replace(t *testing.T, s vault.Slots, version string, fence int64, sealed string) {
	t.Helper()
	ok(t, s.Replace(t.Context(), key("con_1"), version, fence, []byte(sealed)))
}

func wantFenced(t *testing.T, s vault.Slots, version string, fence int64, sealed string) {
	t.Helper()
	wantErr(t, s.Replace(t.Context(), key("con_1"), version, fence, []byte(sealed)), connection.ErrFenced)
}

func wantNoGrant(t *testing.T, s vault.GrantStore, version string) {
	t.Helper()
	_, err := s.Get(t.Context(), key("con_1"), version)
	wantErr(t, err, vault.ErrNoGrant)
}

func replaceTakesThePlace(t *testing.T, s vault.Slots) {
	ok(t, s.Put(t.Context(), key("con_1"), "set_0", []byte("zero")))
	replace(t, s, "set_1_a", 1, "one")
	replace(t, s, "set_2_b", 2, "two")
	wantGrant(t, s, key("con_1"), "set_1_a", "one") // each slot by itself
	replace(t, s, "set_3_a", 3, "three")
	wantGrant(t, s, key("con_1"), "set_3_a", "three")
	wantNoGrant(t, s, "set_1_a")
	wantGrant(t, s, key("con_1"), "set_2_b", "two")
	wantGrant(t, s, key("con_1"), "set_0", "zero")
	for _, never := range []string{"a", "b", "_a", "set_3_b", "set_3"} {
		wantNoGrant(t, s, never)
	}
}

func replaceTwice(t *testing.T, s vault.Slots) {
	for range 2 {
		replace(t, s, "set_1_a", 5, "one")
	}
	wantFenced(t, s, "set_1_a", 5, "other")
	wantFenced(t, s, "set_2_a", 5, "two")
	replace(t, s, "set_1_a", 3, "one") // there it is
	wantFenced(t, s, "set_2_a", 4, "two")
	wantGrant(t, s, key("con_1"), "set_1_a", "one")
}

// An attempt whose answer was lost is repeated under the same version, by
// somebody else: the late result of the first one does not come back.
func replaceOfTheRetried(t *testing.T, s vault.Slots) {
	replace(t, s, "set_1_a", 5, "first")
	replace(t, s, "set_1_a", 6, "second")
	wantGrant(t, s, key("con_1"), "set_1_a", "second")
	wantFenced(t, s, "set_1_a", 5, "first")
	wantGrant(t, s, key("con_1"), "set_1_a", "second")
}

func replaceRefusesTheFencedOut(t *testing.T, s vault.Slots) {
	replace(t, s, "set_2_a", 9, "two")
	for _, fence := range []int64{0, 1, 8, 9} {
		wantFenced(t, s, "set_1_a", fence, "one")
	}
	wantGrant(t, s, key("con_1"), "set_2_a", "two")
	wantNoGrant(t, s, "set_1_a")
	replace(t, s, "set_3_a", 10, "three") // by number: "10" comes before "9"
	wantGrant(t, s, key("con_1"), "set_3_a", "three")
}

// Of any number at once, the highest fence stays.
func replaceRaced(t *testing.T, s vault.Slots) {
	const n = 16
	race(n, func(i int) {
		err := s.Replace(t.Context(), key("con_1"), fmt.Sprintf("set_%d_a", i), int64(i), fmt.Append(nil, "grant", i))
		if i == n-1 && err != nil {
			t.Errorf("the highest fence was refused: %v", err)
		} else if err != nil {
			wantErr(t, err, connection.ErrFenced)
		}
	})
	wantGrant(t, s, key("con_1"), fmt.Sprintf("set_%d_a", n-1), fmt.Sprint("grant", n-1))
	for i := range n - 1 {
		wantNoGrant(t, s, fmt.Sprintf("set_%d_a", i))
	}
}

func replaceCopiesItsBytes(t *testing.T, s vault.Slots) {
	large := bytes.Repeat([]byte{0, 0xff, '\'', 1}, 8<<10)
	in := bytes.Clone(large)
	ok(t, s.Replace(t.Context(), key("con_1"), "set_1_a", 1, in))
	in[0] = 'X'
	out, err := s.Get(t.Context(), key("con_1"), "set_1_a")
	ok(t, err)
	out[1] = 'Y'
	wantGrant(t, s, key("con_1"), "set_1_a", string(large))
}

// Whoever removes a version that was replaced meanwhile removes nothing.
func removeFromASlotExactly(t *testing.T, s vault.Slots) {
	replace(t, s, "set_1_a", 1, "one")
	replace(t, s, "set_2_a", 2, "two")
	replace(t, s, "set_3_b", 3, "three")
	for range 2 {
		ok(t, s.Remove(t.Context(), key("con_1"), "set_1_a", "set_9_b", "never_a", "a", "b"))
		wantGrant(t, s, key("con_1"), "set_2_a", "two")
		wantGrant(t, s, key("con_1"), "set_3_b", "three")
	}
	ok(t, s.Remove(t.Context(), key("con_1"), "set_2_a"))
	wantNoGrant(t, s, "set_2_a")
	wantGrant(t, s, key("con_1"), "set_3_b", "three")
}

func removalFreesTheSlot(t *testing.T, s vault.Slots) {
	replace(t, s, "set_1_a", 5, "one")
	ok(t, s.Remove(t.Context(), key("con_1"), "set_1_a"))
	replace(t, s, "set_2_a", 6, "two")
	wantGrant(t, s, key("con_1"), "set_2_a", "two")
}

func spentLeavesTheOthers(t *testing.T, s vault.Slots) {
	ok(t, s.Put(t.Context(), key("con_1"), "set_0", []byte("zero")))
	replace(t, s, "set_1_a", 1, "one")
	replace(t, s, "set_2_b", 2, "two")
	for _, store := range []string{s.Name(), ""} {
		ok(t, s.Spent(t.Context(), key("con_1"), "set_0", store))
		ok(t, s.Spent(t.Context(), key("con_1"), "set_1_a", store))
	}
	wantNoGrant(t, s, "set_0") // it is in nobody's way, and would stay for ever
	wantGrant(t, s, key("con_1"), "set_2_b", "two")
}

func clearEmptiesTheSlots(t *testing.T, s vault.Slots) {
	ok(t, s.Put(t.Context(), key("con_1"), "set_0", []byte("zero")))
	replace(t, s, "set_1_a", 1, "one")
	replace(t, s, "set_2_b", 2, "two")
	ok(t, s.Clear(t.Context(), key("con_1")))
	for _, version := range []string{"set_0", "set_1_a", "set_2_b"} {
		wantNoGrant(t, s, version)
	}
}

func slotsStayInConnection(t *testing.T, s vault.Slots) {
	others := []connection.Key{key("con_2"), key("con_10"), {Tenant: "other", ID: "con_1"}}
	for i, k := range append(others, key("con_1")) {
		ok(t, s.Replace(t.Context(), k, "set_1_a", int64(9-i), []byte("one")))
	}
	ok(t, s.Remove(t.Context(), key("con_1"), "set_1_a"))
	ok(t, s.Clear(t.Context(), key("con_1")))
	for _, k := range others {
		wantGrant(t, s, k, "set_1_a", "one")
	}
}

// A grant that was put before there were slots has a place of its own.
func putUnderTheNameOfASlotStands(t *testing.T, s vault.Slots) {
	ok(t, s.Put(t.Context(), key("con_1"), "set_1_a", []byte("one")))
	replace(t, s, "set_2_a", 1, "two")
	wantGrant(t, s, key("con_1"), "set_1_a", "one")
	wantGrant(t, s, key("con_1"), "set_2_a", "two")
	ok(t, s.Remove(t.Context(), key("con_1"), "set_1_a"))
	wantNoGrant(t, s, "set_1_a")
	wantGrant(t, s, key("con_1"), "set_2_a", "two")
}
