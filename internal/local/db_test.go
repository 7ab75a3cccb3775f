package local_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/signin"
)

func TestFilesAreTheOwnersAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a b?c%23", "data") // an awkward name must not become a URL's
	db := open(t, dir)
	if err := db.PutSession(t.Context(), flow.Session{Hash: "s"}); err != nil {
		t.Fatal(err)
	}
	want := map[string]fs.FileMode{".": 0o700, "lanyard.db": 0o600, "lanyard.db-wal": 0o600, "lanyard.db-shm": 0o600}
	for name, mode := range want {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %04o, want %04o", name, info.Mode().Perm(), mode)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}

func TestReopenKeepsEverything(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := connection.Key{Tenant: "default", ID: "con_1"}
	first, err := local.Open(t.Context(), dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.Create(t.Context(), connection.Connection{Key: k}), first.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "lanyard.db"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir).Get(t.Context(), k); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(filepath.Join(dir, "lanyard.db"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode was not tightened: %v %v", info.Mode(), err)
	}
}

// TestOpenRefuses: a file that is not ours to change is left byte for byte.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	newer := func(t *testing.T, path string) {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.Exec(`CREATE TABLE precious (x); INSERT INTO precious VALUES (1); PRAGMA user_version = 999`)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	damaged := func(t *testing.T, path string) {
		if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		make func(*testing.T, string)
		want error
	}{
		"newer": {newer, local.ErrNewer}, "damaged": {damaged, local.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "lanyard.db")
			test.make(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if db, err := local.Open(t.Context(), dir, clock); !errors.Is(err, test.want) {
				t.Fatalf("opened %v with error %v, want %v", db, err, test.want)
			}
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

// TestDamageInside: pages that were overwritten later are told too.
func TestDamageInside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, err := local.Open(t.Context(), dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	large := connection.Connection{Key: connection.Key{Tenant: "default", ID: "con_1"}, Label: string(make([]byte, 64<<10))}
	if err := errors.Join(db.Create(t.Context(), large), db.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "lanyard.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(b); i++ {
		b[i] = 0xa5
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err = local.Open(t.Context(), dir, clock)
	if err == nil {
		t.Cleanup(func() { _ = db.Close() })
		_, err = db.Get(t.Context(), large.Key)
	}
	if !errors.Is(err, local.ErrDamaged) {
		t.Errorf("error %v, want %v", err, local.ErrDamaged)
	}
}

// TestBusy: whoever waits for another process's transaction is told so, and
// when the caller's own deadline ends first, that.
func TestBusy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, dir)
	other, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "lanyard.db")+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := db.Get(t.Context(), connection.Key{}); !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("a read had to wait for a writer: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := db.PutSession(short, flow.Session{Hash: "s"}); err == nil {
		t.Error("wrote although another process was writing")
	}
	if err := db.PutSession(t.Context(), flow.Session{Hash: "s"}); !errors.Is(err, local.ErrBusy) {
		t.Errorf("error %v, want %v", err, local.ErrBusy)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := db.PutSession(t.Context(), flow.Session{Hash: "s"}); err != nil {
		t.Errorf("still refused when the other is done: %v", err)
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, dir)
	now := clock()
	put := func(name string, expires time.Time) {
		t.Helper()
		if err := errors.Join(
			db.PutLink(t.Context(), flow.Link{ID: name, Tenant: "default", ExpiresAt: expires}),
			db.PutSession(t.Context(), flow.Session{Hash: name, ExpiresAt: expires}),
			db.PutFlow(t.Context(), flow.Flow{ID: name, ExpiresAt: expires}),
			db.PutAttempt(t.Context(), signin.Attempt{ID: name, ExpiresAt: expires}),
			db.PutState(t.Context(), flow.State{Hash: name, ExpiresAt: expires}),
			db.PutState(t.Context(), flow.State{Hash: "spent " + name, ExpiresAt: expires}),
		); err != nil {
			t.Fatal(err)
		}
		if _, err := db.TakeState(t.Context(), "spent "+name, "", expires.Add(-time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	put("live", now.Add(time.Minute))
	put("late", now.Add(-time.Hour))
	put("old", now.Add(-48*time.Hour))
	check := func(db *local.DB, old bool) {
		t.Helper()
		for _, name := range []string{"live", "late", "old"} {
			gone := name == "old" && !old
			_, link := db.GetLink(t.Context(), "default", name)
			_, session := db.GetSession(t.Context(), name)
			_, f := db.GetFlow(t.Context(), name)
			_, signIn := db.Attempt(t.Context(), name)
			_, spent := db.TakeState(t.Context(), "spent "+name, "", now)
			_, state := db.TakeState(t.Context(), name, "another browser", now)
			if (link != nil) != gone || (session != nil) != gone || (f != nil) != gone || (signIn != nil) != gone {
				t.Errorf("%s: link %v, session %v, flow %v, sign-in %v; gone: %v", name, link, session, f, signIn, gone)
			}
			if gone != errors.Is(state, flow.ErrStateUnknown) || gone != errors.Is(spent, flow.ErrStateUnknown) {
				t.Errorf("%s: state %v, spent state %v; gone: %v", name, state, spent, gone)
			}
		}
	}
	check(db, true)
	if err := db.Purge(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	check(db, false)
	put("old", now.Add(-48*time.Hour))
	check(open(t, dir), false) // opening purges too
}

// TestUpdateRolledBackOnPanic: a change function that panics leaves neither a
// changed row nor a locked database.
func TestUpdateRolledBackOnPanic(t *testing.T) {
	t.Parallel()
	db := open(t, t.TempDir())
	k := connection.Key{Tenant: "default", ID: "con_1"}
	if err := db.Create(t.Context(), connection.Connection{Key: k}); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = db.Update(t.Context(), k, func(*connection.Connection) error { panic("change") })
	}()
	c, err := db.Update(t.Context(), k, func(*connection.Connection) error { return nil })
	if err != nil || c.Revision != 1 {
		t.Errorf("revision %d, error %v", c.Revision, err)
	}
}
