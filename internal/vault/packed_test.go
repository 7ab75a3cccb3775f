package vault_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// sealedAs is a set whose access part is sealed over that plaintext.
func sealedAs(t *testing.T, v *vault.Vault, plain []byte) connection.Set {
	t.Helper()
	sealed, err := v.Sealer.Seal(t.Context(), vault.Binding{Tenant: "default", Connection: "con_1", Part: vault.AccessPart, Version: "set_1"}, plain)
	if err != nil {
		t.Fatal(err)
	}
	return connection.Set{AccessVersion: "set_1", Access: sealed}
}

// TestPackedBefore: what was sealed before opens for ever, packed or not. Who
// changes the dictionary loses all tokens, and this test says so.
func TestPackedBefore(t *testing.T) {
	t.Parallel()
	want := token.Access{Tokens: map[string]token.Token{"": {AccessToken: "leak-access", TokenType: "Bearer",
		ExpiresAt: time.Date(2026, 3, 4, 6, 6, 7, 0, time.UTC), Scopes: []string{"https://www.googleapis.com/auth/drive.readonly", "openid"}}}}
	plain, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := base64.StdEncoding.DecodeString("ASJgf05qYrYuPKMR7QZjXQOTEAMzKxAyJ81BaMEMz5Kg8AYE")
	if err != nil {
		t.Fatal(err)
	}
	v, _ := newVault()
	for name, stored := range map[string][]byte{"packed": packed, "as JSON": plain} {
		got, err := v.Access(t.Context(), caller, conn, sealedAs(t, v, stored), "token")
		if err != nil || got.Hash() != want.Hash() || !got.ExpiresAt().Equal(want.ExpiresAt()) || strings.Join(got.Tokens[""].Scopes, " ") != strings.Join(want.Tokens[""].Scopes, " ") {
			t.Errorf("%s: not what was sealed (%v)", name, err)
		}
	}
}

func TestPackedDamaged(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	bomb.WriteByte(1)
	w, err := flate.NewWriter(&bomb, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(`{"metadata":{"a":"` + strings.Repeat("leak", 1<<20) + `"}}`))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	v, _ := newVault()
	for name, plain := range map[string][]byte{"nothing": nil, "a format of tomorrow": {9, 9}, "4 MB": bomb.Bytes(), "no DEFLATE": {1, 0xff}} {
		got, err := v.Access(t.Context(), caller, conn, sealedAs(t, v, plain), "token")
		if err == nil || errors.Is(err, vault.ErrSealed) {
			t.Errorf("%s: error %v, want one that does not say that the token is lost", name, err)
		}
		wantNothing(t, got)
	}
}

// TestPackedLength: a token of random letters is kept in about three quarters,
// in either part.
func TestPackedLength(t *testing.T) {
	t.Parallel()
	v, e := newVault()
	letters := ""
	for len(letters) < 3000 {
		letters += token.NewSecret().Reveal()
	}
	set := token.Set{
		Grant:  token.Grant{Renewables: map[string]token.Renewable{"": {RefreshToken: token.Secret(letters)}}},
		Access: token.Access{Tokens: map[string]token.Token{"": {AccessToken: token.Secret(letters), TokenType: "Bearer", ExpiresAt: now}}},
	}
	s, err := v.Seal(t.Context(), caller, conn, "set_1", "connect", set)
	if err != nil {
		t.Fatal(err)
	}
	grant, err := e.GrantStore.Get(t.Context(), conn.Key, "set_1")
	if err != nil {
		t.Fatal(err)
	}
	for part, n := range map[string]int{"access": len(s.Access), "grant": len(grant)} {
		if n > len(letters)*3/4+250 {
			t.Errorf("the %s part of %d letters is sealed in %d bytes", part, len(letters), n)
		}
	}
	access, err := v.Access(t.Context(), caller, conn, s, "token")
	if err != nil || access.Tokens[""].AccessToken.Reveal() != letters {
		t.Errorf("not what was sealed: %v", err)
	}
}
