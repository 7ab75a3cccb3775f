package vault_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// slotted notes what a vault asks of slots.
type slotted struct {
	vault.Slots
	log []string
}

func (s *slotted) Put(ctx context.Context, k connection.Key, version string, sealed []byte) error {
	s.log = append(s.log, "put "+version)
	return s.Slots.Put(ctx, k, version, sealed)
}

func (s *slotted) Replace(ctx context.Context, k connection.Key, version string, fence int64, sealed []byte) error {
	s.log = append(s.log, fmt.Sprint("replace ", version, " ", fence))
	return s.Slots.Replace(ctx, k, version, fence, sealed)
}

func (s *slotted) Spent(ctx context.Context, k connection.Key, version, store string) error {
	s.log = append(s.log, strings.TrimSpace("spent "+version+" "+store))
	return s.Slots.Spent(ctx, k, version, store)
}

func (s *slotted) Prove(context.Context, connection.Key) error { return errRefused }

var errRefused = errors.New("the store takes no writes")

func TestSlot(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"set_x_a": "a", "set_x_b": "b", "set_x_c": "", "set_xa": "", "_a": "", "a": "", "": "", "set_x_a_": "", "set_x_A": ""} {
		if got := vault.Slot(version); got != want {
			t.Errorf("%q: %q, want %q", version, got, want)
		}
	}
	if id := token.NewID("set"); vault.Slot(id) != "" {
		t.Errorf("%s names a slot", id)
	}
}

// TestNextVersion: a renewal gets a slot that nothing in the row needs, or none.
func TestNextVersion(t *testing.T) {
	t.Parallel()
	set := func(version string) connection.Set { return connection.Set{GrantVersion: version} }
	for name, test := range map[string]struct {
		c    connection.Connection
		want string
	}{
		"nothing":        {connection.Connection{}, "a"},
		"a callback's":   {connection.Connection{Set: set("set_1")}, "a"},
		"one renewed":    {connection.Connection{Set: set("set_1_a")}, "b"},
		"another":        {connection.Connection{Set: set("set_1_b")}, "a"},
		"an intent":      {connection.Connection{Set: set("set_1"), Intent: &connection.Intent{ID: "set_2_a"}}, "b"},
		"one retired":    {connection.Connection{Set: set("set_1"), Retired: []connection.Retired{{Set: set("set_2")}, {Set: set("set_3_a")}}}, "b"},
		"one proposed":   {connection.Connection{Set: set("set_1"), Proposal: &connection.Proposal{Set: set("set_2_a")}}, "b"},
		"both are taken": {connection.Connection{Set: set("set_1_a"), Retired: []connection.Retired{{Set: set("set_3_b")}}}, ""},
	} {
		if got := vault.NextVersion(test.c); vault.Slot(got) != test.want || test.c.Names(got) {
			t.Errorf("%s: %s, want slot %q", name, got, test.want)
		}
	}
}

// TestRotation: a renewal's grant goes to its slot, under its lease's fence; what
// has no slot, and what callbacks store, goes to a place of its own.
func TestRotation(t *testing.T) {
	t.Parallel()
	v, _ := newVault()
	s := &slotted{Slots: fake.New().Slots()}
	v.Grants = s
	c := conn
	c.Set = connection.Set{GrantVersion: "set_0", GrantStore: "fake"}
	p, err := v.Permit(t.Context(), caller, c, "renew", "refresh")
	if err != nil {
		t.Fatal(err)
	}
	put := p.Rotation("set_1_a", 7, tokens())
	for range 2 { // its answer was lost
		if _, err := put(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Rotation("set_2", 8, tokens())(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Rotation("set_3_a", 6, tokens())(t.Context()); !errors.Is(err, connection.ErrFenced) {
		t.Errorf("a lower fence: %v", err)
	}
	for _, version := range []string{"set_0", "set_1_a"} {
		if err := p.DropSpent(t.Context(), version); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"replace set_1_a 7", "replace set_1_a 7", "put set_2", "replace set_3_a 6", "spent set_0 fake", "spent set_1_a"}
	if !slices.Equal(s.log, want) {
		t.Errorf("got  %q\nwant %q", s.log, want)
	}
	if got, err := p.Grant(t.Context(), connection.Set{GrantVersion: "set_1_a"}); err != nil || got.Hash() != tokens().Grant.Hash() {
		t.Errorf("the grant in the slot: %v", err)
	}
	if err := p.Prove(t.Context()); !errors.Is(err, errRefused) {
		t.Errorf("the store was not asked: %v", err)
	}
}
