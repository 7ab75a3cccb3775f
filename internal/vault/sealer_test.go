package vault_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// fixedKeys always gives the same key.
type fixedKeys struct{ key, wrapped []byte }

func (k fixedKeys) DataKey(context.Context, string) (key, wrapped []byte, err error) {
	return k.key, k.wrapped, nil
}

func (k fixedKeys) Unwrap(context.Context, string, []byte) ([]byte, error) { return k.key, nil }

type vector struct {
	Name, Key, Wrapped, Nonce         string
	Tenant, Connection, Part, Version string
	Plaintext, Sealed                 string
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVectors pins the sealed format. The vectors were computed by another
// implementation of AES-GCM, from the drawing in the package alone.
func TestVectors(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/sealed.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(b, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors: %v", len(vectors), err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			s := vault.Sealer{
				Keys: fixedKeys{unhex(t, v.Key), unhex(t, v.Wrapped)}, Rand: bytes.NewReader(unhex(t, v.Nonce)),
			}
			binding := vault.Binding{Tenant: v.Tenant, Connection: v.Connection, Part: vault.Part(v.Part[0]), Version: v.Version}
			sealed, err := s.Seal(t.Context(), binding, unhex(t, v.Plaintext))
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(sealed) != v.Sealed {
				t.Errorf("sealed %x, want %s", sealed, v.Sealed)
			}
			plain, err := s.Open(t.Context(), binding, unhex(t, v.Sealed))
			if err != nil || !bytes.Equal(plain, unhex(t, v.Plaintext)) {
				t.Errorf("opened %x, error %v", plain, err)
			}
		})
	}
}

var place = vault.Binding{Tenant: "default", Connection: "con_1", Part: vault.AccessPart, Version: "set_1"}

func sealer() *vault.Sealer { return &vault.Sealer{Keys: fake.NewKeys(), Rand: rand.Reader} }

func seal(t testing.TB, s *vault.Sealer, b vault.Binding, plain string) []byte {
	t.Helper()
	sealed, err := s.Seal(t.Context(), b, []byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// wantSealed: the value does not open, and nothing of it comes out.
func wantSealed(t *testing.T, s *vault.Sealer, b vault.Binding, sealed []byte) {
	t.Helper()
	plain, err := s.Open(t.Context(), b, sealed)
	if !errors.Is(err, vault.ErrSealed) || plain != nil {
		t.Errorf("opened %q with error %v, want %v", plain, err, vault.ErrSealed)
	}
}

func TestOpensInItsPlaceAlone(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string]vault.Keys{
		"keys bound to tenants": fake.NewKeys(),
		// Even if the key service let another tenant unwrap:
		"one key for all": fixedKeys{make([]byte, 32), []byte("wrapped")},
	} {
		s := &vault.Sealer{Keys: keys, Rand: rand.Reader}
		sealed := seal(t, s, place, "plain")
		for change, b := range map[string]vault.Binding{
			"tenant":     {Tenant: "other", Connection: "con_1", Part: vault.AccessPart, Version: "set_1"},
			"connection": {Tenant: "default", Connection: "con_2", Part: vault.AccessPart, Version: "set_1"},
			"part":       {Tenant: "default", Connection: "con_1", Part: vault.GrantPart, Version: "set_1"},
			"version":    {Tenant: "default", Connection: "con_1", Part: vault.AccessPart, Version: "set_2"},
			"boundary":   {Tenant: "default", Connection: "con_1s", Part: vault.AccessPart, Version: "et_1"},
			"nothing":    {},
		} {
			t.Run(name+"/"+change, func(t *testing.T) { wantSealed(t, s, b, sealed) })
		}
	}
	wantSealed(t, sealer(), place, seal(t, sealer(), place, "plain")) // under another key
}

func TestDamageDoesNotOpen(t *testing.T) {
	t.Parallel()
	s := sealer()
	sealed := seal(t, s, place, "plain")
	for i := range sealed {
		for bit := range 8 { // header, wrapped key, nonce, ciphertext and tag
			damaged := bytes.Clone(sealed)
			damaged[i] ^= 1 << bit
			wantSealed(t, s, place, damaged)
		}
		wantSealed(t, s, place, sealed[:i])
	}
	wantSealed(t, s, place, append(bytes.Clone(sealed), 0))
	wantSealed(t, s, place, nil)
}

// TestPartIsAuthenticated: renaming the part in the header is not enough to
// use an access part as a grant.
func TestPartIsAuthenticated(t *testing.T) {
	t.Parallel()
	s := sealer()
	sealed := seal(t, s, place, "plain")
	sealed[5] = byte(vault.GrantPart)
	grant := place
	grant.Part = vault.GrantPart
	wantSealed(t, s, grant, sealed)
}

func TestSealsDifferEachTime(t *testing.T) {
	t.Parallel()
	s := &vault.Sealer{Keys: fixedKeys{make([]byte, 32), nil}, Rand: rand.Reader}
	if bytes.Equal(seal(t, s, place, "plain"), seal(t, s, place, "plain")) {
		t.Error("the same plaintext was sealed to the same bytes")
	}
}

type failingKeys struct{ err error }

func (k failingKeys) DataKey(context.Context, string) (key, wrapped []byte, err error) {
	return nil, nil, k.err
}

func (k failingKeys) Unwrap(context.Context, string, []byte) ([]byte, error) { return nil, k.err }

// TestKeyServiceFails: that the key service is down is not "does not open".
func TestKeyServiceFails(t *testing.T) {
	t.Parallel()
	down := errors.New("key service is down")
	sealed := seal(t, sealer(), place, "plain")
	s := &vault.Sealer{Keys: failingKeys{down}, Rand: rand.Reader}
	if _, err := s.Seal(t.Context(), place, nil); !errors.Is(err, down) {
		t.Errorf("seal: %v", err)
	}
	if _, err := s.Open(t.Context(), place, sealed); !errors.Is(err, down) || errors.Is(err, vault.ErrSealed) {
		t.Errorf("open: %v", err)
	}
	s = &vault.Sealer{Keys: fake.NewKeys(), Rand: bytes.NewReader(nil)}
	if out, err := s.Seal(t.Context(), place, nil); err == nil || out != nil {
		t.Errorf("sealed %x without a nonce", out)
	}
	s = &vault.Sealer{Keys: fixedKeys{make([]byte, 32), make([]byte, 70000)}, Rand: rand.Reader}
	if out, err := s.Seal(t.Context(), place, nil); err == nil || out != nil {
		t.Error("a wrapped key was accepted whose length does not fit the header")
	}
}

// FuzzOpen: whatever is stored, Open neither panics nor opens what was not
// sealed for its place.
func FuzzOpen(f *testing.F) {
	s := &vault.Sealer{Keys: fixedKeys{make([]byte, 32), []byte("wrapped")}, Rand: bytes.NewReader(make([]byte, 12))}
	sealed := seal(f, s, place, "plain")
	f.Add(sealed)
	f.Add(sealed[:8])
	f.Add([]byte("LYD\x01\x01a\xff\xff"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, err := s.Open(t.Context(), place, b)
		if bytes.Equal(b, sealed) {
			if err != nil || string(plain) != "plain" {
				t.Errorf("opened %q, error %v", plain, err)
			}
			return
		}
		if !errors.Is(err, vault.ErrSealed) || plain != nil {
			t.Errorf("opened %q, error %v", plain, err)
		}
	})
}
