package cloud_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/conformance"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/vault"
)

func TestKeys(t *testing.T) {
	cfg, _ := through(t, nil)
	conformance.Keys(t, func(t *testing.T) vault.Keys { return newKMS(t, cfg) })
}

// What another key wrapped is not ours to open, and what no KMS wrapped is not
// even asked for.
func TestUnwrapForeign(t *testing.T) {
	t.Parallel()
	cfg, tr := through(t, nil)
	ours, other := newKMS(t, cfg), newKMS(t, cfg)
	_, wrapped, err := other.DataKey(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	for _, foreign := range [][]byte{wrapped, []byte("LYK\x01 of a key file"), nil, make([]byte, 7000)} {
		if _, err := ours.Unwrap(t.Context(), "default", foreign); !errors.Is(err, vault.ErrSealed) {
			t.Errorf("%d foreign bytes: %v, want %v", len(foreign), err, vault.ErrSealed)
		}
	}
	if n := tr.count("Decrypt"); n != 2 {
		t.Errorf("KMS was asked %d times, want 2", n)
	}
}

// What KMS answers when it is no fault of the wrapped key: the codes of its API
// reference for GenerateDataKey and Decrypt.
var kmsFaults = map[string]fault{
	"disabled":    {status: 400, code: "DisabledException"},
	"deleted":     {status: 400, code: "KMSInvalidStateException"},
	"gone":        {status: 400, code: "NotFoundException"},
	"denied":      {status: 400, code: "AccessDeniedException"},
	"throttled":   {status: 400, code: "ThrottlingException"},
	"unavailable": {status: 500, code: "KeyUnavailableException"},
	"dependency":  {status: 503, code: "DependencyTimeoutException"},
	"internal":    {status: 500, code: "KMSInternalException"},
	"no sense":    {status: 502, code: ""},
	"reset":       {lost: true},
}

func TestKMSFails(t *testing.T) {
	t.Parallel()
	for name, broken := range kmsFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, _ := through(t, nil)
			working := newKMS(t, cfg)
			_, wrapped, err := working.DataKey(t.Context(), "default")
			if err != nil {
				t.Fatal(err)
			}
			failing, _ := through(t, func(string, int) fault { return broken })
			keys := newKMS(t, failing)
			_, _, err = keys.DataKey(t.Context(), "default")
			wantUnavailable(t, err, "KMS: GenerateDataKey")
			keys.ID = working.ID
			_, err = keys.Unwrap(t.Context(), "default", wrapped)
			wantUnavailable(t, err, "KMS: Decrypt")
		})
	}
}

// wantUnavailable: the error is one that passes, says which call failed, and
// is none that would tell a person to reconnect.
func wantUnavailable(t *testing.T, err error, call string) {
	t.Helper()
	if !errors.Is(err, connection.ErrUnavailable) || errors.Is(err, vault.ErrSealed) || errors.Is(err, vault.ErrNoGrant) {
		t.Errorf("error %v, want %v", err, connection.ErrUnavailable)
	} else if !strings.Contains(err.Error(), call) {
		t.Errorf("%q does not name the call %q", err, call)
	}
}

// A fault that passes is not seen.
func TestKMSRecovers(t *testing.T) {
	t.Parallel()
	for name, broken := range kmsFaults {
		if broken.status == 400 && broken.code != "ThrottlingException" {
			continue // does not pass by itself
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, _ := through(t, func(_ string, n int) fault {
				if n == 1 {
					return broken
				}
				return fault{}
			})
			keys := newKMS(t, cfg)
			key, wrapped, err := keys.DataKey(t.Context(), "default")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := keys.Unwrap(t.Context(), "default", wrapped); err != nil || string(got) != string(key) {
				t.Errorf("unwrapped another key, or %v", err)
			}
		})
	}
}

// A KMS that does not answer at all costs no more than the caller's time.
func TestKMSHangs(t *testing.T) {
	t.Parallel()
	cfg, _ := through(t, func(string, int) fault { return fault{hangs: true} })
	keys := newKMS(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := keys.DataKey(ctx, "default")
	wantUnavailable(t, err, "KMS: GenerateDataKey")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v does not say that the time was up", err)
	}
}

// A key that its owner disabled is nobody's reason to reconnect: the same set
// opens when it is enabled again.
func TestCachedKeysOutliveAnOutage(t *testing.T) {
	t.Parallel()
	down := false
	cfg, _ := through(t, func(string, int) fault {
		if down {
			return kmsFaults["disabled"]
		}
		return fault{}
	})
	cached := &vault.CachedKeys{Keys: newKMS(t, cfg), TTL: time.Minute, MaxUses: 10, Now: clock}
	sealer := &vault.Sealer{Keys: cached, Rand: strings.NewReader(strings.Repeat("n", 100))}
	place := vault.Binding{Tenant: "default", Connection: "con_1", Part: vault.GrantPart, Version: "set_1"}
	sealed, err := sealer.Seal(t.Context(), place, []byte("grant"))
	if err != nil {
		t.Fatal(err)
	}
	down = true
	_, err = sealer.Open(t.Context(), place, sealed)
	wantUnavailable(t, err, "KMS: Decrypt")
	down = false
	for range 2 { // the second time from the cache
		got, err := sealer.Open(t.Context(), place, sealed)
		if err != nil || string(got) != "grant" {
			t.Errorf("opened %q, %v", got, err)
		}
		down = true
	}
}
