package conformance

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// listAll follows the cursors to the end, calling between pages.
func listAll(t *testing.T, s connection.Store, f connection.Filter, limit int, between func()) []string {
	t.Helper()
	var out []string
	p := connection.Page{Limit: limit}
	for range 100 {
		page, next, err := s.List(t.Context(), tenant, f, p)
		ok(t, err)
		if limit > 0 && len(page) > limit {
			t.Errorf("a page of %d rows, limit %d", len(page), limit)
		}
		for _, c := range page {
			out = append(out, c.ID)
		}
		if next == "" {
			return out
		}
		if len(page) == 0 {
			t.Fatal("an empty page names a next one")
		}
		p.Cursor = next
		between()
	}
	t.Fatal("the list has no end")
	return nil
}

func ids(numbers ...int) []string {
	var out []string
	for _, n := range numbers {
		out = append(out, simple(n).ID)
	}
	return out
}

func listInOrderOfCreation(t *testing.T, s connection.Store) {
	tied, elsewhere := simple(4), simple(9)
	tied.CreatedAt = simple(2).CreatedAt // then the ids decide
	elsewhere.Tenant = "other"
	create(t, s, simple(3), tied, simple(2), simple(1), elsewhere)
	same(t, listAll(t, s, connection.Filter{}, 10, func() {}), ids(1, 2, 4, 3))
}

func listFilters(t *testing.T, s connection.Store) {
	a, b, c, d := simple(1), simple(2), simple(3), simple(4)
	b.UserID, c.Server, d.Provider = "bob", "gmail", "slack"
	create(t, s, a, b, c, d)
	for _, test := range []struct {
		filter connection.Filter
		want   []string
	}{
		{connection.Filter{UserID: "bob"}, ids(2)},
		{connection.Filter{Server: "gmail"}, ids(3)},
		{connection.Filter{Provider: "slack"}, ids(4)},
		{connection.Filter{UserID: "ann", Server: "drive"}, ids(1, 4)},
		{connection.Filter{UserID: "bob", Server: "gmail"}, nil},
		{connection.Filter{UserID: "an"}, nil},
	} {
		same(t, listAll(t, s, test.filter, 1, func() {}), test.want)
	}
	// A filter follows what an update changed.
	_, err := s.Update(t.Context(), a.Key, func(c *connection.Connection) error {
		c.UserID, c.Server = "bob", "gmail"
		return nil
	})
	ok(t, err)
	same(t, listAll(t, s, connection.Filter{UserID: "bob", Server: "gmail"}, 1, func() {}), ids(1))
}

// held has a set in force of the one account, and proposed one of the other;
// "-" is none.
func held(n int, current, proposed string) connection.Connection {
	c := simple(n)
	if current != "-" {
		c.Set, c.Account.Subject = full().Set, current
	}
	if proposed != "-" {
		c.Proposal = &connection.Proposal{FlowID: "flo_1", ConfirmBy: expiry, Set: full().Set}
		c.Proposal.Granted.Account.Subject = proposed
	}
	return c
}

func listFiltersSubjects(t *testing.T, s connection.Store) {
	stale, slack, elsewhere := held(7, "-", "-"), held(8, "108", "-"), held(9, "108", "108")
	stale.Account.Subject = "108" // of a set that is not there
	slack.Provider, elsewhere.Tenant = "slack", "other"
	create(t, s, held(1, "108", "-"), held(2, "109", "108"), held(3, "-", "108"), held(4, "", "-"), held(5, "110", ""), held(6, "-", "-"),
		stale, slack, elsewhere)
	for _, test := range []struct {
		filter connection.Filter
		want   []string
	}{
		{connection.Filter{Subjects: []string{"108"}}, ids(1, 2, 3, 8)},
		{connection.Filter{Provider: "google", Subjects: []string{"108"}}, ids(1, 2, 3)},
		{connection.Filter{Provider: "google", Subjects: []string{"108", ""}}, ids(1, 2, 3, 4, 5)},
		{connection.Filter{Subjects: []string{""}}, ids(4, 5)},
		{connection.Filter{Subjects: []string{"109", "110"}}, ids(2, 5)},
		{connection.Filter{Subjects: []string{"108"}, UserID: "bob"}, nil},
		{connection.Filter{Subjects: []string{"1"}}, nil},
		{connection.Filter{Subjects: []string{"10%"}}, nil},
	} {
		for _, limit := range []int{1, 10} {
			same(t, listAll(t, s, test.filter, limit, func() {}), test.want)
		}
	}
	// A filter follows what an update changed.
	for _, test := range []struct {
		change  func(*connection.Connection) error
		subject string
		want    []string
	}{
		{func(c *connection.Connection) error { return c.Promote("flo_1", epoch) }, "109", nil},
		{func(c *connection.Connection) error { return c.Propose(*held(2, "-", "111").Proposal) }, "111", ids(2)},
		{func(c *connection.Connection) error { return c.Expire(expiry.Add(1)) }, "111", nil},
		{func(c *connection.Connection) error { return nil }, "108", ids(1, 2, 3)},
	} {
		_, err := s.Update(t.Context(), key("con_002"), test.change)
		ok(t, err)
		same(t, listAll(t, s, connection.Filter{Provider: "google", Subjects: []string{test.subject}}, 1, func() {}), test.want)
	}
}

func listPages(t *testing.T, s connection.Store) {
	create(t, s, simple(1), simple(2), simple(3), simple(4))
	for _, limit := range []int{0, 1, 2, 3, 4, 5} {
		same(t, listAll(t, s, connection.Filter{}, limit, func() {}), ids(1, 2, 3, 4))
	}
	// The cursor of the last row is empty even when the page is just full.
	_, next, err := s.List(t.Context(), tenant, connection.Filter{}, connection.Page{Limit: 4})
	ok(t, err)
	same(t, next, "")
}

// listIsStableUnderInserts: the rows that were there before are listed once
// each, whatever comes and goes between two pages.
func listIsStableUnderInserts(t *testing.T, s connection.Store) {
	old := []int{20, 21, 22, 23, 24, 25, 26, 27}
	for _, n := range old {
		create(t, s, simple(n))
	}
	newer, older := 50, 10
	got := listAll(t, s, connection.Filter{}, 2, func() {
		var writers sync.WaitGroup
		for _, n := range []int{newer, older} {
			writers.Go(func() {
				if err := s.Create(t.Context(), simple(n)); err != nil {
					t.Error(err)
				}
			})
		}
		writers.Wait()
		newer, older = newer+1, older-1
		if newer == 52 { // the row that the cursor was made of
			ok(t, s.Delete(t.Context(), simple(23).Key, func(connection.Connection) error { return nil }))
		}
	})
	for _, id := range ids(old...) {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != id })); n != 1 {
			t.Errorf("%s was listed %d times in %v", id, n, got)
		}
	}
	if !slices.IsSorted(got) {
		t.Errorf("not in the order of creation: %v", got)
	}
}

func listRefusesAForeignCursor(t *testing.T, s connection.Store) {
	for _, cursor := range []string{"!", "Garbage", "'; --"} {
		if _, _, err := s.List(t.Context(), tenant, connection.Filter{}, connection.Page{Cursor: cursor, Limit: 1}); err == nil {
			t.Errorf("cursor %q was accepted", cursor)
		}
	}
}

// waiting has a proposal that runs out n seconds after the epoch.
func waiting(n int) connection.Connection {
	c := simple(n)
	c.Proposal = &connection.Proposal{FlowID: "flo_1", ConfirmBy: c.CreatedAt}
	return c
}

func due(t *testing.T, s connection.Store, now time.Time, limit int) []string {
	t.Helper()
	keys, err := s.Due(t.Context(), now, limit)
	ok(t, err)
	var out []string
	for _, k := range keys {
		out = append(out, k.Tenant+"/"+k.ID)
	}
	return out
}

func dueSelectsByAttention(t *testing.T, s connection.Store) {
	now := epoch.Add(5 * time.Second)
	never, past, elsewhere, exactly, later := simple(1), waiting(2), waiting(3), waiting(5), waiting(6)
	elsewhere.Tenant = "other"
	almost := waiting(7)
	almost.Proposal.ConfirmBy = now.Add(1) // a nanosecond is not yet
	create(t, s, never, past, elsewhere, exactly, later, almost)
	same(t, due(t, s, now, 10), []string{"default/con_002", "other/con_003", "default/con_005"})
}

func dueIsLimited(t *testing.T, s connection.Store) {
	create(t, s, waiting(3), waiting(1), waiting(4), waiting(2))
	now := epoch.Add(time.Hour)
	same(t, due(t, s, now, 2), []string{"default/con_001", "default/con_002"})
	same(t, due(t, s, now, 4), []string{"default/con_001", "default/con_002", "default/con_003", "default/con_004"})
	same(t, due(t, s, now, 0), nil)
}

func dueFollowsTheRow(t *testing.T, s connection.Store) {
	create(t, s, waiting(1))
	now := epoch.Add(time.Hour)
	update := func(change func(*connection.Connection) error) {
		t.Helper()
		_, err := s.Update(t.Context(), key("con_001"), change)
		ok(t, err)
	}
	update(func(c *connection.Connection) error { return c.Expire(now) })
	same(t, due(t, s, now, 1), []string{"default/con_001"}) // the retired set is to be removed
	update(func(c *connection.Connection) error {
		_, err := c.Acquire("worker", now, time.Minute)
		return err
	})
	same(t, due(t, s, now, 1), nil) // somebody is at it
	same(t, due(t, s, now.Add(time.Minute), 1), []string{"default/con_001"})
	update(func(c *connection.Connection) error {
		c.Retired = nil
		return nil
	})
	same(t, due(t, s, now.Add(time.Hour), 1), nil)
}
