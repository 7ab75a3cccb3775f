package local

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
)

// TestMigrateFromVersion1: what the first schema kept is found by what the
// second one looks for.
func TestMigrateFromVersion1(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	old, err := openPool(filepath.Join(dir, fileName), 1)
	if err != nil {
		t.Fatal(err)
	}
	run := func(query string, args ...any) {
		t.Helper()
		if _, err := old.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	doc := func(record any) string {
		t.Helper()
		s, err := encode(record)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	run(migrations[0] + `; PRAGMA user_version = 1`)
	connected := connection.Connection{Key: connection.Key{Tenant: "default", ID: "con_1"}, Provider: "acme", CreatedAt: now, Status: connection.Connected,
		Set: connection.Set{Access: []byte("sealed")}}
	connected.Account.Subject = "108"
	unnamed, pending, empty := connected, connected, connected
	unnamed.ID, unnamed.Account.Subject = "con_2", ""
	pending.ID, pending.Set, pending.Account.Subject, pending.Status = "con_3", connection.Set{}, "", connection.Pending
	pending.Proposal = &connection.Proposal{Granted: connected.Granted}
	empty.ID, empty.Set = "con_4", connection.Set{}
	for _, c := range []connection.Connection{connected, unnamed, pending, empty} {
		run(`INSERT INTO connections (tenant, id, created_at, user_id, server, provider, subject, doc) VALUES (?, ?, ?, '', '', ?, ?, ?)`,
			c.Tenant, c.ID, connection.Stamp(c.CreatedAt), c.Provider, c.Account.Subject, doc(c))
	}
	later := now.Add(time.Hour)
	run(`INSERT INTO links (tenant, id, expires_at, doc) VALUES ('default', 'lnk_1', ?, ?)`, connection.Stamp(later),
		doc(flow.Link{ID: "lnk_1", Tenant: "default", UserID: "ann", ExpiresAt: later}))
	for _, s := range []flow.Session{{Hash: "of a link", LinkID: "lnk_1"}, {Hash: "of none"}} {
		s.Tenant, s.UserID, s.ExpiresAt = "default", "ann", later
		run(`INSERT INTO sessions (hash, expires_at, doc) VALUES (?, ?, ?)`, s.Hash, connection.Stamp(later), doc(s))
	}
	for i, expires := range []time.Time{now.Add(-48 * time.Hour), later} {
		m := host.MCPToken{ID: fmt.Sprint("mct_", i), Hash: fmt.Sprint("hash", i), ExpiresAt: expires}
		run(`INSERT INTO mcp_tokens (id, hash, tenant, connection, created_at, doc) VALUES (?, ?, '', '', '', ?)`, m.ID, m.Hash, doc(m))
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}

	d, err := Open(t.Context(), dir, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for subject, want := range map[string]string{"108": "[con_1 con_3]", "": "[con_2]"} {
		found, _, err := d.List(t.Context(), "default", connection.Filter{Provider: "acme", Subjects: []string{subject}}, connection.Page{})
		var got []string
		for _, c := range found {
			got = append(got, c.ID)
		}
		if fmt.Sprint(got) != want || err != nil {
			t.Errorf("account %q has %v, want %s (%v)", subject, got, want, err)
		}
	}
	due, err := d.Due(t.Context(), now, 10)
	if err != nil || len(due) != 3 {
		t.Errorf("to be planned: %v (%v), want all that are connected", due, err)
	}
	if c, err := d.Get(t.Context(), connected.Key); err != nil || !c.RenewAt.Equal(now) || !c.AttentionAt().Equal(now) {
		t.Errorf("planned at %v, attention at %v (%v)", c.RenewAt, c.AttentionAt(), err)
	}
	if _, err := d.MCPTokenByHash(t.Context(), "hash0"); !errors.Is(err, host.ErrNoToken) {
		t.Errorf("an expired token was not purged: %v", err)
	}
	if _, err := d.MCPTokenByHash(t.Context(), "hash1"); err != nil {
		t.Errorf("a living token: %v", err)
	}
	if err := d.DeleteLink(t.Context(), "default", "lnk_1"); err != nil {
		t.Fatal(err)
	}
	for hash, want := range map[string]error{"of a link": flow.ErrNoSession, "of none": nil} {
		if _, err := d.GetSession(t.Context(), hash); !errors.Is(err, want) {
			t.Errorf("session %s: error %v, want %v", hash, err, want)
		}
	}
	if err := d.DeleteUser(t.Context(), "default", "ann"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.GetSession(t.Context(), "of none"); !errors.Is(err, flow.ErrNoSession) {
		t.Errorf("the user's session: %v", err)
	}
}

// TestPurgeOfMarks: what was deleted stays taken until it would have expired,
// and no longer than a day more.
func TestPurgeOfMarks(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	d, err := Open(t.Context(), t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	k := connection.Key{Tenant: "default", ID: "con_1"}
	link := flow.Link{ID: "lnk_1", Tenant: "default", ExpiresAt: now.Add(time.Hour)}
	m := host.MCPToken{ID: "mct_1", Hash: "hash", Connection: k, ExpiresAt: now.Add(time.Hour)}
	if err := errors.Join(d.PutLink(t.Context(), link), d.DeleteLink(t.Context(), link.Tenant, link.ID),
		d.PutMCPToken(t.Context(), m), d.DeleteMCPToken(t.Context(), k, m.ID)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		at                time.Time
		wantLink, wantMCP error
	}{
		{now.Add(time.Hour), flow.ErrExists, host.ErrExists},
		{now.Add(26 * time.Hour), nil, nil},
	} {
		if err := d.Purge(t.Context(), test.at); err != nil {
			t.Fatal(err)
		}
		if err := d.PutLink(t.Context(), link); !errors.Is(err, test.wantLink) {
			t.Errorf("at %v: the link's id: error %v, want %v", test.at, err, test.wantLink)
		}
		if err := d.PutMCPToken(t.Context(), m); !errors.Is(err, test.wantMCP) {
			t.Errorf("at %v: the token's id: error %v, want %v", test.at, err, test.wantMCP)
		}
	}
}

// TestPurgeOfGenerations: a count goes with its connection, and not before its
// task does.
func TestPurgeOfGenerations(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	d, err := Open(t.Context(), t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	there, running, gone := connection.Key{Tenant: "default", ID: "con_1"}, connection.Key{Tenant: "default", ID: "con_2"}, connection.Key{Tenant: "default", ID: "con_3"}
	if err := d.Create(t.Context(), connection.Connection{Key: there}); err != nil {
		t.Fatal(err)
	}
	begin := func(k connection.Key) int64 {
		t.Helper()
		task, err := d.BeginTask(t.Context(), host.Task{ID: "tsk_" + k.ID, Connection: k})
		if err != nil {
			t.Fatal(err)
		}
		return task.Generation
	}
	end := func(k connection.Key) {
		t.Helper()
		if err := d.EndTask(t.Context(), "tsk_"+k.ID); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []connection.Key{there, running, gone} {
		begin(k)
	}
	end(there)
	end(gone)
	if err := d.Purge(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	end(running)
	for k, want := range map[connection.Key]int64{there: 2, running: 2, gone: 1} {
		if got := begin(k); got != want {
			t.Errorf("%s: generation %d, want %d", k.ID, got, want)
		}
	}
}

// TestPurgeOfSignIns: what signs MCP clients in goes a day after its end, the
// mark of a deleted grant with it; a client without an end stays.
func TestPurgeOfSignIns(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	d, err := Open(t.Context(), t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s, end := d.AuthServer(), now.Add(time.Hour)
	add := func() []error {
		return []error{
			s.AddClient(t.Context(), authserver.Client{ID: "expires", ExpiresAt: end}),
			s.AddClient(t.Context(), authserver.Client{ID: "stays"}),
			s.AddRequest(t.Context(), authserver.Request{ID: "req_1", ExpiresAt: end}),
			s.AddGrant(t.Context(), authserver.Grant{ID: "gnt_1", ExpiresAt: end}),
			s.AddGrant(t.Context(), authserver.Grant{ID: "gnt_2", ExpiresAt: end}),
			s.Spend(t.Context(), "jti", end),
			s.Admit(t.Context(), "window", 1, end),
		}
	}
	there := []error{authserver.ErrExists, authserver.ErrExists, authserver.ErrExists, authserver.ErrExists, authserver.ErrExists, authserver.ErrSpent, authserver.ErrTooMany}
	for _, test := range []struct {
		at   time.Time
		want []error
	}{
		{now, make([]error, len(there))},
		{end.Add(24*time.Hour - 1), there},
		{end.Add(24 * time.Hour), []error{nil, authserver.ErrExists, nil, nil, nil, nil, nil}},
	} {
		if err := d.Purge(t.Context(), test.at); err != nil {
			t.Fatal(err)
		}
		for i, err := range add() {
			if !errors.Is(err, test.want[i]) {
				t.Errorf("at %v: record %d: error %v, want %v", test.at, i, err, test.want[i])
			}
		}
		if err := s.DeleteGrant(t.Context(), "gnt_2"); err != nil {
			t.Fatal(err)
		}
	}
}
