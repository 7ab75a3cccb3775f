package conformance

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// Connections is the suite of connection.Store.
func Connections(t *testing.T, newStore func(*testing.T) connection.Store) {
	for name, check := range map[string]func(*testing.T, connection.Store){
		"CreateKeepsEveryField":        createKeepsEveryField,
		"CreateRefusesATakenKey":       createRefusesATakenKey,
		"CreateRaced":                  createRaced,
		"GetUnknown":                   getUnknown,
		"UpdateIncrementsRevision":     updateIncrementsRevision,
		"UpdateRaced":                  updateRaced,
		"UpdateIsSeenByTheNextRead":    updateIsSeenByTheNextRead,
		"UpdateErrorLeavesTheRow":      updateErrorLeavesTheRow,
		"UpdateSeesAFreshCopy":         updateSeesAFreshCopy,
		"UpdateKeepsTheKey":            updateKeepsTheKey,
		"UpdateUnknown":                updateUnknown,
		"UpdateFromWhatWasSeen":        updateFromWhatWasSeen,
		"UpdateFromAStaleRow":          updateFromAStaleRow,
		"UpdateFromRaced":              updateFromRaced,
		"UpdateFromLeaseRaced":         updateFromLeaseRaced,
		"UpdateFromErrorLeavesTheRow":  updateFromErrorLeavesTheRow,
		"UpdateFromSeesACopy":          updateFromSeesACopy,
		"UpdateFromUnknown":            updateFromUnknown,
		"LeaseRaced":                   leaseRaced,
		"PickRaced":                    pickRaced,
		"DeleteUnlessCheckRefuses":     deleteUnlessCheckRefuses,
		"DeleteRaced":                  deleteRaced,
		"DeleteIsNotUndoneByUpdate":    deleteIsNotUndoneByUpdate,
		"ListInOrderOfCreation":        listInOrderOfCreation,
		"ListFilters":                  listFilters,
		"ListFiltersSubjects":          listFiltersSubjects,
		"ListPages":                    listPages,
		"ListIsStableUnderInserts":     listIsStableUnderInserts,
		"ListRefusesAForeignCursor":    listRefusesAForeignCursor,
		"DueSelectsByAttention":        dueSelectsByAttention,
		"DueIsLimitedAndEarliestFirst": dueIsLimited,
		"DueFollowsTheRow":             dueFollowsTheRow,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newStore(t))
		})
	}
}

func key(id string) connection.Key { return connection.Key{Tenant: tenant, ID: id} }

// simple is a connection of one second per number after the epoch.
func simple(n int) connection.Connection {
	return connection.Connection{
		Key: key(fmt.Sprintf("con_%03d", n)), UserID: "ann", Server: "drive", AuthType: "oauth", Provider: "google",
		Status: connection.Connected, CreatedAt: epoch.Add(time.Duration(n) * time.Second),
	}
}

func place(name string) *connection.Place {
	return &connection.Place{ID: "id-" + name, Label: name + ".example", Name: name, Metadata: map[string]string{"site": name}}
}

// full has every field set.
func full() connection.Connection {
	set := connection.Set{
		GrantVersion: "set_1", GrantStore: "local", AccessVersion: "set_2", Access: []byte{0, 0xff, 'x'},
		AccessExpiresAt: epoch.Add(time.Hour), IssuedAt: epoch, RefreshExpiresAt: epoch.Add(time.Hour * 24),
		RefreshFixed: true, TokenHash: "hash",
	}
	granted := connection.Granted{
		Account:     connection.Account{Subject: "108", Label: "ann@example.com \u2028<b>"},
		ScopesAsked: []string{"a", "b"}, Scopes: []string{"a"}, ClientID: "client", Variant: "eu", ClientAt: map[string]string{"host": "git.acme.example"},
		Parameters: map[string]string{"shop": "acme"},
		Found: &connection.Found{Issuer: "https://issuer.example", AuthorizationEndpoint: "https://issuer.example/a", TokenEndpoint: "https://issuer.example/t",
			RevocationEndpoint: "https://issuer.example/r", Resource: "https://mcp.example", Auth: "client_secret_post", Public: true, ISS: true, Offline: true},
		Place: place("north"),
	}
	c := simple(1)
	c.Label, c.Granted, c.Set = "work", granted, set
	c.Alias = "notes-1a2b"
	c.Tools = connection.ToolFilter{Allow: []string{"list_*"}, Deny: []string{"list_secrets"}}
	c.Proposal = &connection.Proposal{FlowID: "flo_1", ConfirmBy: epoch.Add(time.Minute), Set: set, Granted: granted, Places: []connection.Place{*place("south"), *place("west")}, More: true}
	c.Retired = []connection.Retired{{Set: set, Granted: granted}}
	c.Fence, c.Lease = 7, &connection.Lease{Holder: "worker", Until: epoch.Add(time.Minute)}
	c.Intent = &connection.Intent{ID: "set_3", TokenHash: "hash", At: epoch, Attempt: 1}
	c.Failure = &connection.Failure{Verdict: "transient", Code: "503", Detail: "busy", At: epoch, Count: 2}
	c.RetryAt, c.ConnectedAt, c.LastRefreshAt, c.LastUsedAt = epoch, epoch, epoch, epoch
	c.RenewAt, c.EndsAt, c.NoticeAt, c.EndAnnounced = epoch.Add(50*time.Minute), epoch.Add(time.Hour), epoch.Add(time.Minute), epoch
	c.Health, c.ScopesLost = connection.Transient, []string{"b"}
	c.Events = []connection.Event{{ID: "evt_1", Type: connection.HealthChanged, At: epoch, Health: connection.Transient, Was: connection.Healthy,
		Code: "503", Reason: "busy", EndsAt: epoch, Published: true, Tries: 2, NextAt: epoch.Add(time.Minute)}}
	c.Revision = 3
	return c
}

func create(t *testing.T, s connection.Store, cs ...connection.Connection) {
	t.Helper()
	for _, c := range cs {
		ok(t, s.Create(t.Context(), c))
	}
}

func createKeepsEveryField(t *testing.T, s connection.Store) {
	create(t, s, full())
	got, err := s.Get(t.Context(), full().Key)
	ok(t, err)
	same(t, got, full())
}

func createRefusesATakenKey(t *testing.T, s connection.Store) {
	first, second, elsewhere := simple(1), simple(1), simple(1)
	first.Label, second.Label, elsewhere.Tenant = "first", "second", "other"
	create(t, s, first)
	wantErr(t, s.Create(t.Context(), second), connection.ErrExists)
	create(t, s, elsewhere) // the same id in another tenant is another key
	got, err := s.Get(t.Context(), first.Key)
	ok(t, err)
	same(t, got, first)
}

func createRaced(t *testing.T, s connection.Store) {
	oneWins(t, 16, connection.ErrExists, func(int) error { return s.Create(t.Context(), simple(1)) })
}

func getUnknown(t *testing.T, s connection.Store) {
	create(t, s, simple(1))
	for _, k := range []connection.Key{key("con_2"), {Tenant: "other", ID: "con_001"}, {}} {
		_, err := s.Get(t.Context(), k)
		wantErr(t, err, connection.ErrNotFound)
	}
}

func updateIncrementsRevision(t *testing.T, s connection.Store) {
	create(t, s, full())
	want := full()
	want.Label, want.Revision = "home", want.Revision+1
	got, err := s.Update(t.Context(), want.Key, func(c *connection.Connection) error {
		same(t, *c, full())
		c.Label, c.Revision = "home", 99
		return nil
	})
	ok(t, err)
	same(t, got, want)
	got, err = s.Get(t.Context(), want.Key)
	ok(t, err)
	same(t, got, want)
}

func updateRaced(t *testing.T, s connection.Store) {
	const n = 50
	create(t, s, simple(1))
	race(n, func(int) {
		_, err := s.Update(t.Context(), key("con_001"), func(c *connection.Connection) error {
			c.Fence++
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	c, err := s.Get(t.Context(), key("con_001"))
	ok(t, err)
	if c.Fence != n || c.Revision != n {
		t.Errorf("after %d updates: %d increments, revision %d", n, c.Fence, c.Revision)
	}
}

func updateIsSeenByTheNextRead(t *testing.T, s connection.Store) {
	create(t, s, simple(1))
	race(8, func(int) {
		for range 3 {
			wrote, err := s.Update(t.Context(), key("con_001"), func(c *connection.Connection) error { return nil })
			if err != nil {
				t.Error(err)
				return
			}
			read, err := s.Get(t.Context(), key("con_001"))
			if err != nil || read.Revision < wrote.Revision {
				t.Errorf("wrote revision %d, then read %d (%v)", wrote.Revision, read.Revision, err)
			}
		}
	})
}

func updateErrorLeavesTheRow(t *testing.T, s connection.Store) {
	create(t, s, full())
	refused := errors.New("refused")
	_, err := s.Update(t.Context(), full().Key, func(c *connection.Connection) error {
		c.Label, c.Scopes[0], c.Parameters["shop"], c.Set.Access[0], c.Lease.Holder = "x", "x", "x", 'x', "x"
		return refused
	})
	if err != refused { // as it is: not even wrapped
		t.Errorf("error %v, want %v itself", err, refused)
	}
	got, err := s.Get(t.Context(), full().Key)
	ok(t, err)
	same(t, got, full())
}

func updateSeesAFreshCopy(t *testing.T, s connection.Store) {
	mine := full()
	create(t, s, mine)
	vandalise := func(c connection.Connection) {
		c.Scopes[0], c.Parameters["shop"], c.Set.Access[0] = "vandal", "vandal", 'v'
		c.Lease.Holder, c.Retired[0].Granted.Scopes[0], c.Proposal.FlowID = "vandal", "vandal", "vandal"
		c.Place.Metadata["site"], c.Proposal.Places[0].Metadata["site"], c.Proposal.Places[1].ID = "vandal", "vandal", "vandal"
	}
	vandalise(mine) // what was handed in,
	read, err := s.Get(t.Context(), mine.Key)
	ok(t, err)
	vandalise(read) // what was read,
	var seen connection.Connection
	wrote, err := s.Update(t.Context(), mine.Key, func(c *connection.Connection) error {
		seen = *c
		return nil
	})
	ok(t, err)
	vandalise(wrote) // what was returned,
	vandalise(seen)  // and what change was given: none of it is the row itself
	listed, _, err := s.List(t.Context(), tenant, connection.Filter{}, connection.Page{Limit: 1})
	ok(t, err)
	want := full()
	want.Revision++
	same(t, listed, []connection.Connection{want})
}

func updateKeepsTheKey(t *testing.T, s connection.Store) {
	create(t, s, simple(1))
	_, err := s.Update(t.Context(), key("con_001"), func(c *connection.Connection) error {
		c.Key = connection.Key{Tenant: "other", ID: "con_002"}
		return nil
	})
	ok(t, err)
	got, err := s.Get(t.Context(), key("con_001"))
	ok(t, err)
	same(t, got.Key, key("con_001"))
}

func updateUnknown(t *testing.T, s connection.Store) {
	_, err := s.Update(t.Context(), key("con_001"), func(*connection.Connection) error {
		t.Error("change was called although there is no row")
		return nil
	})
	wantErr(t, err, connection.ErrNotFound)
}

func leaseRaced(t *testing.T, s connection.Store) {
	create(t, s, simple(1))
	oneWins(t, 32, connection.ErrLeased, func(i int) error {
		_, err := s.Update(t.Context(), key("con_001"), func(c *connection.Connection) error {
			_, err := c.Acquire(fmt.Sprint("worker", i), epoch, time.Minute)
			return err
		})
		return err
	})
}

func pickRaced(t *testing.T, s connection.Store) {
	create(t, s, full())
	oneWins(t, 16, connection.ErrNoProposal, func(i int) error {
		_, err := s.Update(t.Context(), full().Key, func(c *connection.Connection) error {
			return c.Pick("flo_1", []string{"id-south", "id-west"}[i%2], c.Proposal.Set, epoch, epoch.Add(time.Hour))
		})
		return err
	})
	got, err := s.Get(t.Context(), full().Key)
	ok(t, err)
	if p := got.Proposal; p.Granted.Place == nil || p.Granted.Place.ID == "id-north" || len(p.Places) != 0 {
		t.Errorf("what was picked is not there: %+v", p)
	}
}

func deleteUnlessCheckRefuses(t *testing.T, s connection.Store) {
	create(t, s, full())
	refused := errors.New("refused")
	err := s.Delete(t.Context(), full().Key, func(c connection.Connection) error {
		same(t, c, full())
		return refused
	})
	if err != refused {
		t.Errorf("error %v, want %v itself", err, refused)
	}
	got, err := s.Get(t.Context(), full().Key)
	ok(t, err)
	same(t, got, full())

	agree := func(connection.Connection) error { return nil }
	ok(t, s.Delete(t.Context(), full().Key, agree))
	_, err = s.Get(t.Context(), full().Key)
	wantErr(t, err, connection.ErrNotFound)
	wantErr(t, s.Delete(t.Context(), full().Key, agree), connection.ErrNotFound)
	due, err := s.Due(t.Context(), epoch.AddDate(1, 0, 0), 10)
	ok(t, err)
	if len(due) != 0 {
		t.Errorf("a deleted row is still due: %v", due)
	}
}

func deleteRaced(t *testing.T, s connection.Store) {
	create(t, s, simple(1))
	oneWins(t, 16, connection.ErrNotFound, func(int) error {
		return s.Delete(t.Context(), key("con_001"), func(connection.Connection) error { return nil })
	})
}

func deleteIsNotUndoneByUpdate(t *testing.T, s connection.Store) {
	create(t, s, simple(1))
	race(32, func(i int) {
		if i == 16 {
			if err := s.Delete(t.Context(), key("con_001"), func(connection.Connection) error { return nil }); err != nil {
				t.Error(err)
			}
			return
		}
		_, err := s.Update(t.Context(), key("con_001"), func(c *connection.Connection) error { return nil })
		if err != nil && !errors.Is(err, connection.ErrNotFound) {
			t.Error(err)
		}
	})
	_, err := s.Get(t.Context(), key("con_001"))
	wantErr(t, err, connection.ErrNotFound)
}
