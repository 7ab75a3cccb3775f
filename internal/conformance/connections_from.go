package conformance

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
)

func get(t *testing.T, s connection.Store, id string) connection.Connection {
	t.Helper()
	c, err := s.Get(t.Context(), key(id))
	ok(t, err)
	return c
}

// It does what Update does, from a row that was read, listed or written.
func updateFromWhatWasSeen(t *testing.T, s connection.Store) {
	create(t, s, full())
	want, read := full(), get(t, s, "con_001")
	listed, _, err := s.List(t.Context(), tenant, connection.Filter{}, connection.Page{Limit: 1})
	ok(t, err)
	next := func(seen connection.Connection) connection.Connection {
		t.Helper()
		got, err := s.UpdateFrom(t.Context(), seen, func(c *connection.Connection) error {
			c.Fence++
			c.Key, c.Revision = key("con_002"), 99 // whatever change does
			return nil
		})
		ok(t, err)
		want.Fence++
		want.Revision++
		same(t, got, want)
		same(t, get(t, s, "con_001"), want)
		return got
	}
	got := next(read)
	next(listed[0]) // as it was before the last one
	for range 20 {
		got = next(got)
	}
	// Lists and the index follow, too.
	_, err = s.UpdateFrom(t.Context(), got, func(c *connection.Connection) error {
		c.UserID, c.Retired, c.Proposal, c.Events = "bob", nil, nil, nil
		c.RenewAt, c.NoticeAt = time.Time{}, time.Time{}
		return nil
	})
	ok(t, err)
	same(t, listAll(t, s, connection.Filter{UserID: "bob"}, 1, func() {}), ids(1))
	same(t, listAll(t, s, connection.Filter{UserID: "ann"}, 1, func() {}), nil)
	same(t, due(t, s, epoch.AddDate(1, 0, 0), 10), nil)
}

// What others have written since is neither lost nor overlooked.
func updateFromAStaleRow(t *testing.T, s connection.Store) {
	create(t, s, full())
	seen := get(t, s, "con_001")
	_, err := s.Update(t.Context(), seen.Key, func(c *connection.Connection) error {
		c.Label, c.Scopes = "theirs", []string{"theirs"}
		return nil
	})
	ok(t, err)
	last := ""
	got, err := s.UpdateFrom(t.Context(), seen, func(c *connection.Connection) error {
		last, c.Fence = c.Label, c.Fence+1
		return nil
	})
	ok(t, err)
	want := full()
	want.Label, want.Scopes, want.Fence, want.Revision = "theirs", []string{"theirs"}, want.Fence+1, want.Revision+2
	same(t, got, want)
	same(t, get(t, s, "con_001"), want)
	same(t, last, "theirs")
}

func updateFromRaced(t *testing.T, s connection.Store) {
	const n, each = 25, 3
	create(t, s, simple(1))
	race(n, func(int) {
		c, err := s.Get(t.Context(), key("con_001"))
		for i := 0; i < each && err == nil; i++ {
			c, err = s.UpdateFrom(t.Context(), c, func(c *connection.Connection) error {
				c.Fence++
				return nil
			})
		}
		if err != nil {
			t.Error(err)
		}
	})
	c := get(t, s, "con_001")
	if c.Fence != n*each || c.Revision != n*each {
		t.Errorf("after %d updates: %d increments, revision %d", n*each, c.Fence, c.Revision)
	}
}

func updateFromLeaseRaced(t *testing.T, s connection.Store) {
	create(t, s, simple(1))
	seen := get(t, s, "con_001")
	oneWins(t, 32, connection.ErrLeased, func(i int) error {
		_, err := s.UpdateFrom(t.Context(), seen, func(c *connection.Connection) error {
			_, err := c.Acquire(fmt.Sprint("worker", i), epoch, time.Minute)
			return err
		})
		return err
	})
}

// vandalise changes everything that a copy could share.
func vandalise(c *connection.Connection) {
	c.Label, c.Scopes[0], c.Parameters["shop"], c.Set.Access[0], c.Lease.Holder = "x", "x", "x", 'x', "x"
	c.Proposal.Set.Access[0], c.Retired[0].Granted.Scopes[0], c.Events[0].Reason, c.Failure.Code, c.Intent.ID = 'x', "x", "x", "x", "x"
}

func updateFromErrorLeavesTheRow(t *testing.T, s connection.Store) {
	create(t, s, full())
	seen := get(t, s, "con_001")
	refused := errors.New("refused")
	_, err := s.UpdateFrom(t.Context(), seen, func(c *connection.Connection) error {
		vandalise(c)
		return refused
	})
	if err != refused { // as it is: not even wrapped
		t.Errorf("error %v, want %v itself", err, refused)
	}
	same(t, get(t, s, "con_001"), full())
	same(t, seen, full()) // and what the caller holds is the caller's
}

func updateFromSeesACopy(t *testing.T, s connection.Store) {
	create(t, s, full())
	seen := get(t, s, "con_001")
	var given connection.Connection
	wrote, err := s.UpdateFrom(t.Context(), seen, func(c *connection.Connection) error {
		given = *c
		return nil
	})
	ok(t, err)
	vandalise(&wrote)
	vandalise(&given)
	same(t, seen, full())
	want := full()
	want.Revision++
	same(t, get(t, s, "con_001"), want)
}

// A row that has gone stays away.
func updateFromUnknown(t *testing.T, s connection.Store) {
	create(t, s, simple(1))
	seen := get(t, s, "con_001")
	ok(t, s.Delete(t.Context(), seen.Key, func(connection.Connection) error { return nil }))
	for _, c := range []connection.Connection{seen, simple(2)} {
		_, err := s.UpdateFrom(t.Context(), c, func(*connection.Connection) error { return nil })
		wantErr(t, err, connection.ErrNotFound)
		_, err = s.Get(t.Context(), c.Key)
		wantErr(t, err, connection.ErrNotFound)
	}
}
