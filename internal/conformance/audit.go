package conformance

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/vault"
)

// AuditLog is an audit that can be read again.
type AuditLog interface {
	vault.Audit
	// List returns a page of a tenant's lines that the filter selects, the
	// newest first, and the cursor of the next page, empty at the end.
	List(ctx context.Context, tenant string, f struct{ Connection, User string }, after string, limit int) ([]vault.Line, string, error)
}

// auditFilter is the filter of [AuditLog].
type auditFilter = struct{ Connection, User string }

// Audit is the suite of vault.Audit and of reading it.
func Audit(t *testing.T, newAudit func(*testing.T) AuditLog) {
	for name, check := range map[string]func(*testing.T, AuditLog){
		"AppendKeepsEveryField":    appendKeepsEveryField,
		"AppendRefusesATakenID":    appendRefusesATakenID,
		"AppendRaced":              appendRaced,
		"ListNewestFirst":          auditNewestFirst,
		"ListFilters":              auditFilters,
		"ListIsStableUnderAppends": auditIsStableUnderAppends,
		"ListRefusesAForeignCursor": func(t *testing.T, a AuditLog) {
			if _, _, err := a.List(t.Context(), tenant, auditFilter{}, "!", 1); err == nil {
				t.Error("the cursor was accepted")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newAudit(t))
		})
	}
}

func line(n int) vault.Line {
	return vault.Line{
		ID: fmt.Sprintf("aud_%03d", n), At: epoch.Add(time.Duration(n) * time.Second), Tenant: tenant, Actor: "refresh",
		UserID: "ann", Connection: "con_1", Server: "drive", Action: "open_grant", Purpose: "refresh",
	}
}

func appendLines(t *testing.T, a AuditLog, lines ...vault.Line) {
	t.Helper()
	for _, l := range lines {
		ok(t, a.Append(t.Context(), l))
	}
}

// lines follows the cursors to the end, calling between pages.
func lines(t *testing.T, a AuditLog, f auditFilter, limit int, between func()) []string {
	t.Helper()
	var out []string
	cursor := ""
	for range 100 {
		page, next, err := a.List(t.Context(), tenant, f, cursor, limit)
		ok(t, err)
		if limit > 0 && len(page) > limit {
			t.Errorf("a page of %d lines, limit %d", len(page), limit)
		}
		for _, l := range page {
			out = append(out, l.ID)
		}
		if next == "" {
			return out
		}
		cursor = next
		between()
	}
	t.Fatal("the list has no end")
	return nil
}

func lineIDs(numbers ...int) []string {
	var out []string
	for _, n := range numbers {
		out = append(out, line(n).ID)
	}
	return out
}

func appendKeepsEveryField(t *testing.T, a AuditLog) {
	appendLines(t, a, line(1))
	got, next, err := a.List(t.Context(), tenant, auditFilter{}, "", 10)
	ok(t, err)
	same(t, got, []vault.Line{line(1)})
	same(t, next, "")
}

func appendRefusesATakenID(t *testing.T, a AuditLog) {
	appendLines(t, a, line(1))
	forged := line(1)
	forged.Actor = "nobody"
	if err := a.Append(t.Context(), forged); err == nil {
		t.Error("a line was appended over another")
	}
	got, _, err := a.List(t.Context(), tenant, auditFilter{}, "", 10)
	ok(t, err)
	same(t, got, []vault.Line{line(1)})
}

func appendRaced(t *testing.T, a AuditLog) {
	const n = 32
	race(n, func(i int) {
		if err := a.Append(t.Context(), line(i)); err != nil {
			t.Error(err)
		}
	})
	if got := lines(t, a, auditFilter{}, 7, func() {}); len(got) != n {
		t.Errorf("%d of %d lines are there", len(got), n)
	}
}

func auditNewestFirst(t *testing.T, a AuditLog) {
	elsewhere, tied := line(5), line(4)
	elsewhere.Tenant, tied.At = "other", line(2).At // then the ids decide
	appendLines(t, a, line(2), line(1), tied, line(3), elsewhere)
	for _, limit := range []int{0, 1, 2, 3, 4, 5} {
		same(t, lines(t, a, auditFilter{}, limit, func() {}), lineIDs(3, 4, 2, 1))
	}
}

func auditFilters(t *testing.T, a AuditLog) {
	second, third := line(2), line(3)
	second.Connection, third.UserID = "con_2", "bob"
	appendLines(t, a, line(1), second, third)
	for _, test := range []struct {
		filter auditFilter
		want   []string
	}{
		{auditFilter{Connection: "con_2"}, lineIDs(2)},
		{auditFilter{User: "bob"}, lineIDs(3)},
		{auditFilter{Connection: "con_1", User: "ann"}, lineIDs(1)},
		{auditFilter{Connection: "con_2", User: "bob"}, nil},
	} {
		same(t, lines(t, a, test.filter, 1, func() {}), test.want)
	}
}

func auditIsStableUnderAppends(t *testing.T, a AuditLog) {
	old := []int{1, 2, 3, 4, 5, 6, 7}
	for _, n := range old {
		appendLines(t, a, line(n))
	}
	next := 8
	got := lines(t, a, auditFilter{}, 2, func() {
		appendLines(t, a, line(next))
		next++
	})
	slices.Reverse(got)
	same(t, got, lineIDs(old...))
}
