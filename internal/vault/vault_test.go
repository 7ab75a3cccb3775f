package vault_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

var (
	now    = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	conn   = connection.Connection{Key: connection.Key{Tenant: "default", ID: "con_1"}, UserID: "ann", Server: "drive"}
	caller = vault.Caller{Tenant: "default", User: "ann", Connection: "con_1", Actor: "refresh"}
)

func tokens() token.Set {
	return token.Set{
		Grant: token.Grant{Renewables: map[string]token.Renewable{
			"":     {RefreshToken: "leak-refresh", ExpiresAt: now.Add(48 * time.Hour)},
			"user": {RefreshToken: "leak-user", ExpiresAt: now.Add(24 * time.Hour)},
		}},
		Access: token.Access{Tokens: map[string]token.Token{
			"": {AccessToken: "leak-access", TokenType: "Bearer", ExpiresAt: now.Add(time.Hour)},
		}},
	}
}

// events notes in which order the stores were used.
type events struct {
	store *fake.Store
	vault.GrantStore
	vault.Keys
	log  []string
	fail error // of the audit
}

func (e *events) Append(ctx context.Context, l vault.Line) error {
	e.log = append(e.log, "audit "+l.Action)
	if e.fail != nil {
		return e.fail
	}
	return e.store.Audit().Append(ctx, l)
}

func (e *events) Put(ctx context.Context, k connection.Key, version string, sealed []byte) error {
	e.log = append(e.log, "put")
	return e.GrantStore.Put(ctx, k, version, sealed)
}

func (e *events) Get(ctx context.Context, k connection.Key, version string) ([]byte, error) {
	e.log = append(e.log, "get")
	return e.GrantStore.Get(ctx, k, version)
}

func (e *events) Remove(ctx context.Context, k connection.Key, versions ...string) error {
	e.log = append(e.log, "remove")
	return e.GrantStore.Remove(ctx, k, versions...)
}

func (e *events) Clear(ctx context.Context, k connection.Key) error {
	e.log = append(e.log, "clear")
	return e.GrantStore.Clear(ctx, k)
}

func (e *events) DataKey(ctx context.Context, tenant string) (key, wrapped []byte, err error) {
	e.log = append(e.log, "key")
	return e.Keys.DataKey(ctx, tenant)
}

func (e *events) Unwrap(ctx context.Context, tenant string, wrapped []byte) ([]byte, error) {
	e.log = append(e.log, "key")
	return e.Keys.Unwrap(ctx, tenant, wrapped)
}

func newVault() (*vault.Vault, *events) {
	store := fake.New()
	e := &events{store: store, GrantStore: store.Grants(), Keys: fake.NewKeys()}
	return &vault.Vault{
		Sealer: &vault.Sealer{Keys: e, Rand: rand.Reader}, Grants: e, Audit: e, Now: func() time.Time { return now },
	}, e
}

func sealSet(t *testing.T, v *vault.Vault) connection.Set {
	t.Helper()
	s, err := v.Seal(t.Context(), caller, conn, "set_1", "connect", tokens())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	v, e := newVault()
	s := sealSet(t, v)
	if s.GrantVersion != "set_1" || s.AccessVersion != "set_1" || s.GrantStore != "fake" || !s.IssuedAt.Equal(now) ||
		!s.AccessExpiresAt.Equal(now.Add(time.Hour)) || !s.RefreshExpiresAt.Equal(now.Add(24*time.Hour)) {
		t.Errorf("set %+v", s)
	}
	access, err := v.Access(t.Context(), caller, conn, s, "token")
	if err != nil || access.Tokens[""].AccessToken.Reveal() != "leak-access" || access.Tokens[""].TokenType != "Bearer" {
		t.Errorf("access %v, error %v", access, err)
	}
	grant, err := v.Grant(t.Context(), caller, conn, s, "refresh")
	if err != nil || len(grant.Renewables) != 2 || grant.Renewables["user"].RefreshToken.Reveal() != "leak-user" {
		t.Errorf("grant %v, error %v", grant, err)
	}
	stored, err := e.GrantStore.Get(t.Context(), conn.Key, "set_1")
	if err != nil || strings.Contains(string(stored)+string(s.Access), "leak") {
		t.Errorf("a token is stored in clear (%v)", err)
	}
}

func TestRemoveAndClear(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do   func(*vault.Vault) error
		want error
	}{
		"Remove":            {func(v *vault.Vault) error { return v.Remove(t.Context(), caller, conn, "retired", "set_1") }, vault.ErrNoGrant},
		"Remove of another": {func(v *vault.Vault) error { return v.Remove(t.Context(), caller, conn, "retired", "set_2") }, nil},
		"Clear":             {func(v *vault.Vault) error { return v.Clear(t.Context(), caller, conn, "disconnect") }, vault.ErrNoGrant},
	} {
		v, _ := newVault()
		s := sealSet(t, v)
		if err := test.do(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := v.Grant(t.Context(), caller, conn, s, "refresh"); !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", name, err, test.want)
		}
	}
}

// TestWithoutGrant: a set without refresh tokens touches no grant store.
func TestWithoutGrant(t *testing.T) {
	t.Parallel()
	v, e := newVault()
	s, err := v.Seal(t.Context(), caller, conn, "set_1", "connect", token.Set{Access: tokens().Access})
	if err != nil || s.Renewable() || s.GrantStore != "" {
		t.Fatalf("set %+v, error %v", s, err)
	}
	grant, err := v.Grant(t.Context(), caller, conn, s, "refresh")
	if err != nil || !grant.Empty() || slices.Contains(e.log, "put") || slices.Contains(e.log, "get") {
		t.Errorf("grant %v, error %v, events %v", grant, err, e.log)
	}
}

// operations are all ways to a secret.
func operations(v *vault.Vault, s connection.Set) map[string]func(context.Context, vault.Caller, connection.Connection) (any, error) {
	return map[string]func(context.Context, vault.Caller, connection.Connection) (any, error){
		"Seal": func(ctx context.Context, by vault.Caller, c connection.Connection) (any, error) {
			return v.Seal(ctx, by, c, "set_2", "p", tokens())
		},
		"SealAccess": func(ctx context.Context, by vault.Caller, c connection.Connection) (any, error) {
			return v.SealAccess(ctx, by, c, "set_2", "p", tokens().Access)
		},
		"Access": func(ctx context.Context, by vault.Caller, c connection.Connection) (any, error) {
			return v.Access(ctx, by, c, s, "p")
		},
		"Grant": func(ctx context.Context, by vault.Caller, c connection.Connection) (any, error) {
			return v.Grant(ctx, by, c, s, "p")
		},
		"Remove": func(ctx context.Context, by vault.Caller, c connection.Connection) (any, error) {
			return nil, v.Remove(ctx, by, c, "p", "set_2")
		},
		"Clear": func(ctx context.Context, by vault.Caller, c connection.Connection) (any, error) {
			return nil, v.Clear(ctx, by, c, "p")
		},
	}
}

// wantNothing checks that what came back holds nothing.
func wantNothing(t *testing.T, got any) {
	t.Helper()
	b, err := json.Marshal(got)
	if err != nil || strings.Contains(string(b), "leak") {
		t.Errorf("something came back: %v (%v)", len(b), err)
	}
	if s, ok := got.(connection.Set); ok && (len(s.Access) != 0 || s.GrantVersion != "") {
		t.Errorf("a set came back: %+v", s)
	}
}

// TestAuditPrecedes: the line comes first, and without it nothing happens.
func TestAuditPrecedes(t *testing.T) {
	t.Parallel()
	for name := range operations(nil, connection.Set{}) {
		v, e := newVault() // what one removes, the next one needs
		do := operations(v, sealSet(t, v))[name]
		e.log = nil
		if _, err := do(t.Context(), caller, conn); err != nil {
			t.Fatal(name, err)
		}
		if !strings.HasPrefix(e.log[0], "audit ") {
			t.Errorf("%s: the audit line is not the first of %v", name, e.log)
		}
		e.log, e.fail = nil, errors.New("disk full")
		got, err := do(t.Context(), caller, conn)
		if !errors.Is(err, vault.ErrAudit) || !errors.Is(err, e.fail) {
			t.Errorf("%s: error %v, want %v and its cause", name, err, vault.ErrAudit)
		}
		wantNothing(t, got)
		if len(e.log) != 1 {
			t.Errorf("%s: went on without an audit line: %v", name, e.log)
		}
	}
}

func TestAuditLine(t *testing.T) {
	t.Parallel()
	v, e := newVault()
	if _, err := v.Access(t.Context(), caller, conn, sealSet(t, v), "token"); err != nil {
		t.Fatal(err)
	}
	lines, _, err := e.store.Audit().List(t.Context(), "default", fake.AuditFilter{}, "", 10)
	if err != nil || len(lines) != 2 {
		t.Fatalf("%d lines, error %v", len(lines), err)
	}
	for _, l := range lines {
		want := vault.Line{
			ID: l.ID, At: now, Tenant: "default", Actor: "refresh", UserID: "ann", Connection: "con_1", Server: "drive",
			Action: "seal", Purpose: "connect",
		}
		if l.Action == "open_access" {
			want.Action, want.Purpose = "open_access", "token"
		}
		if l != want || !strings.HasPrefix(l.ID, "aud_") {
			t.Errorf("line %+v, want %+v", l, want)
		}
	}
}

func TestForbidden(t *testing.T) {
	t.Parallel()
	v, e := newVault()
	s := sealSet(t, v)
	for who, by := range map[string]vault.Caller{
		"another tenant":     {Tenant: "other", Actor: "api_key"},
		"no tenant":          {User: "ann", Actor: "page"},
		"another user":       {Tenant: "default", User: "bob", Actor: "page"},
		"another connection": {Tenant: "default", User: "ann", Connection: "con_2", Actor: "task:tsk_1"},
		"nobody":             {Tenant: "default", User: "ann", Connection: "con_1"},
		"no caller":          {},
	} {
		for name, do := range operations(v, s) {
			e.log = nil
			got, err := do(t.Context(), by, conn)
			if !errors.Is(err, vault.ErrForbidden) {
				t.Errorf("%s, %s: error %v, want %v", who, name, err, vault.ErrForbidden)
			}
			wantNothing(t, got)
			if len(e.log) != 0 {
				t.Errorf("%s, %s: stores were used: %v", who, name, e.log)
			}
		}
	}
	for who, by := range map[string]vault.Caller{
		"the tenant": {Tenant: "default", Actor: "api_key"},
		"the user":   {Tenant: "default", User: "ann", Actor: "page"},
	} {
		if _, err := v.Access(t.Context(), by, conn, s, "token"); err != nil {
			t.Errorf("%s: %v", who, err)
		}
	}
}

// TestCopiedSetsDoNotOpen: a set put into another row, or an old one put back
// under a newer version, does not open, even for a caller who may.
func TestCopiedSetsDoNotOpen(t *testing.T) {
	t.Parallel()
	v, e := newVault()
	s := sealSet(t, v)
	tenant := vault.Caller{Tenant: "default", Actor: "api_key"}
	other := conn
	other.ID = "con_2"
	sealed, err := e.GrantStore.Get(t.Context(), conn.Key, "set_1")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		e.GrantStore.Put(t.Context(), other.Key, "set_1", sealed),
		e.GrantStore.Put(t.Context(), conn.Key, "set_2", sealed),
	); err != nil {
		t.Fatal(err)
	}
	newer := s
	newer.AccessVersion, newer.GrantVersion = "set_2", "set_2"
	for name, test := range map[string]struct {
		c connection.Connection
		s connection.Set
	}{"another row": {other, s}, "another version": {conn, newer}} {
		access, err := v.Access(t.Context(), tenant, test.c, test.s, "token")
		if !errors.Is(err, vault.ErrSealed) {
			t.Errorf("%s: access opened: %v", name, err)
		}
		wantNothing(t, access)
		grant, err := v.Grant(t.Context(), tenant, test.c, test.s, "refresh")
		if !errors.Is(err, vault.ErrSealed) {
			t.Errorf("%s: grant opened: %v", name, err)
		}
		wantNothing(t, grant)
	}
}
