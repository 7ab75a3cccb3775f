package dense_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/lanyardhq/lanyard/internal/dense"
)

const dictionary = `"scopes":["read","write"],"name":"{"id":"con_","created_at":"2026-`

var format = dense.New(1, dictionary)

const row = `{"id":"con_01","created_at":"2026-03-04T05:06:07Z","name":"ada lovelace","scopes":["read","write"],"at":"2026-03-04T06:06:07Z"}`

func TestPack(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{}`, `{"id":"1"}`, `{"id":"con_1","name":"ada"}`, `{"id":"` + strings.Repeat("x", 100_000) + `"}`} {
		packed := format.Pack([]byte(text))
		if len(packed) > len(text) {
			t.Errorf("%d bytes became %d", len(text), len(packed))
		}
		got, err := format.Unpack(packed, len(text))
		if err != nil || string(got) != text {
			t.Errorf("%.30s: %.30s, %v", text, got, err)
		}
		if _, err := format.Unpack(packed, len(text)-1); !errors.Is(err, dense.ErrFormat) {
			t.Errorf("longer than it may be: %v", err)
		}
	}
	if packed := format.Pack([]byte(`{"id":"con_1","name":"ada"}`)); packed[0] != 1 || len(packed) > 16 {
		t.Errorf("the dictionary saves nothing: %q", packed)
	}
}

// TestPackedAtOnce: what is pooled is nobody's but its user's.
func TestPackedAtOnce(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 100 {
				text := fmt.Sprintf(`{"id":"con_%d","name":"%s"}`, i, strings.Repeat("ada", n))
				got, err := format.Unpack(format.Pack([]byte(text)), 1<<20)
				if err != nil || string(got) != text {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	all.Wait()
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	packed := format.Pack([]byte(`{"id":"con_1","name":"ada"}`))
	var bomb bytes.Buffer
	bomb.WriteByte(1)
	w, err := flate.NewWriter(&bomb, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	for range 1 << 6 {
		_, _ = w.Write(make([]byte, 64<<10))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "another format": append([]byte{2}, packed[1:]...), "cut off": packed[:len(packed)-3], "a tag alone": {1},
		"no block of DEFLATE": {1, 0xff, 0xff}, "4 MB of zeros": bomb.Bytes(),
	} {
		if got, err := format.Unpack(b, 1<<20); !errors.Is(err, dense.ErrFormat) || got != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(format.Pack([]byte(`{"id":"con_1","name":"ada"}`)))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := format.Unpack(b, 1000)
		if err == nil && len(got) > 1000 || err != nil && got != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func BenchmarkPack(b *testing.B) {
	text := []byte(`{"id":"con_1","name":"` + strings.Repeat("ada lovelace, ", 70) + `"}`)
	packed := format.Pack(text)
	b.Run("pack", func(b *testing.B) {
		for b.Loop() {
			format.Pack(text)
		}
	})
	b.Run("unpack", func(b *testing.B) {
		for b.Loop() {
			if _, err := format.Unpack(packed, 1<<20); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// FuzzPack: whatever is packed is unpacked by Go's own reader.
func FuzzPack(f *testing.F) {
	f.Add([]byte(row))
	f.Add([]byte(strings.Repeat("ab", 300)))
	f.Fuzz(func(t *testing.T, text []byte) {
		text = append([]byte("{"), text...)
		packed := format.Pack(text)
		got, err := format.Unpack(packed, len(text))
		if err != nil || !bytes.Equal(got, text) || len(packed) > len(text) {
			t.Fatalf("%q became %q, %v", text, got, err)
		}
	})
}

// TestAnyText packs texts of every kind: of few and of many letters, of all
// frequencies, with matches far and near.
func TestAnyText(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 2000 {
		text := []byte{'{'}
		letters, most := 1+random.IntN(256), 1+random.IntN(1+n*20)
		for len(text) < most {
			if from := random.IntN(len(text)); random.IntN(20) == 0 {
				text = append(text, text[from:min(len(text), from+random.IntN(400))]...)
			} else { // each letter about half as often as the one before
				text = append(text, byte(min(letters-1, bits.TrailingZeros64(random.Uint64())+random.IntN(1+letters/8))))
			}
		}
		packed := format.Pack(text)
		if got, err := format.Unpack(packed, len(text)); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("text %d, of %d bytes: %d bytes, %v", n, len(text), len(got), err)
		}
	}
}

// TestAsShort: no text is longer than with Go's own writer at its best, but for
// a tenth.
func TestAsShort(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	letters := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return base64.RawURLEncoding.EncodeToString(b)[:n]
	}
	for n := range 50 {
		text := []byte(strings.ReplaceAll(row, "ada lovelace", letters(n*60)))
		var best bytes.Buffer
		w, err := flate.NewWriterDict(&best, flate.BestCompression, []byte(dictionary))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(text)
		_ = w.Close()
		if packed := format.Pack(text); len(packed) > best.Len()*11/10 {
			t.Errorf("%d bytes became %d, and not %d", len(text), len(packed), best.Len())
		}
	}
}
