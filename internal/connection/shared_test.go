package connection_test

import (
	"context"
	"fmt"
	"testing"

	. "github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
)

func granted(client, subject string) Granted {
	return Granted{ClientID: client, Account: Account{Subject: subject}}
}

// holding is a connection of provider acme with a set in force of g.
func holding(id string, g Granted) Connection {
	return Connection{Key: Key{Tenant: "default", ID: id}, Provider: "acme", Status: Connected, CreatedAt: now, Set: set(id), Granted: g}
}

func proposing(id string, g Granted) Connection {
	c := Connection{Key: Key{Tenant: "default", ID: id}, Provider: "acme", Status: Pending, CreatedAt: now}
	c.Proposal = &Proposal{FlowID: "flo_1", ConfirmBy: now, Set: set(id), Granted: g}
	return c
}

func TestShared(t *testing.T) {
	t.Parallel()
	ada := granted("client", "108")
	reconnecting := holding("con_2", granted("client", "109"))
	reconnecting.Proposal = proposing("con_2", ada).Proposal
	leaving, otherProvider, otherTenant := holding("con_2", ada), holding("con_2", ada), holding("con_2", ada)
	leaving.Status, otherProvider.Provider, otherTenant.Tenant = Deleting, "other", "other"
	replaced := holding("con_2", granted("client", "109"))
	replaced.Retired = []Retired{{Set: set("old"), Granted: ada}}
	stale := holding("con_2", ada)
	stale.Set = Set{}
	for name, test := range map[string]struct {
		of    Granted
		other Connection
		want  bool
	}{
		"in force":                         {ada, holding("con_2", ada), true},
		"proposed":                         {ada, proposing("con_2", ada), true},
		"proposed beside another account":  {ada, reconnecting, true},
		"in force, not named":              {ada, holding("con_2", granted("client", "")), true},
		"proposed, not named":              {ada, proposing("con_2", granted("client", "")), true},
		"itself not named":                 {granted("client", ""), holding("con_2", ada), true},
		"itself not named, other proposed": {granted("client", ""), proposing("con_2", ada), true},
		"of another account":               {ada, holding("con_2", granted("client", "109")), false},
		"proposed of another account":      {ada, proposing("con_2", granted("client", "109")), false},
		"of another client":                {ada, holding("con_2", granted("theirs", "108")), false},
		"of another client, not named":     {ada, proposing("con_2", granted("theirs", "")), false},
		"being deleted":                    {ada, leaving, false},
		"no longer in force":               {ada, replaced, false},
		"without a set":                    {ada, stale, false},
		"of another provider":              {ada, otherProvider, false},
		"of another tenant":                {ada, otherTenant, false},
		"the connection itself":            {ada, holding("con_1", ada), false},
	} {
		s := fake.New()
		must(t, s.Create(t.Context(), test.other))
		got, err := Shared(t.Context(), s, "default", "acme", test.of, "con_1")
		if err != nil || got != test.want {
			t.Errorf("%s: shared %v, want %v (%v)", name, got, test.want, err)
		}
	}
}

// counting counts the rows that were listed.
type counting struct {
	*fake.Store
	rows int
}

func (s *counting) List(ctx context.Context, tenant string, f Filter, p Page) ([]Connection, string, error) {
	found, next, err := s.Store.List(ctx, tenant, f, p)
	s.rows += len(found)
	return found, next, err
}

// TestSharedLooksAtFewRows: other people's connections are not read, and the one
// that shares is found behind a page of those that do not.
func TestSharedLooksAtFewRows(t *testing.T) {
	t.Parallel()
	s := &counting{Store: fake.New()}
	for i := range 150 {
		must(t, s.Create(t.Context(), holding(fmt.Sprintf("con_%03d", i), granted("client", fmt.Sprint("other", i)))))
		must(t, s.Create(t.Context(), holding(fmt.Sprintf("con_x%03d", i), granted("theirs", "108"))))
	}
	must(t, s.Create(t.Context(), holding("con_z", granted("client", "108"))))
	got, err := Shared(t.Context(), s, "default", "acme", granted("client", "108"), "con_1")
	if err != nil || !got || s.rows != 151 {
		t.Errorf("shared %v after %d rows, want true after 151 (%v)", got, s.rows, err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	c := connected()
	must(t, c.Propose(proposal("flo_1", "dropped")))
	must(t, c.Propose(proposal("flo_2", "proposed")))
	must(t, c.Record(acquire(t, c, "worker", now), Intent{ID: "next"}, now.Add(ttl)))
	for version, want := range map[string]bool{"old": true, "dropped": true, "proposed": true, "next": true, "another": false} {
		if got := c.Names(version); got != want {
			t.Errorf("%s: named %v, want %v", version, got, want)
		}
	}
}
