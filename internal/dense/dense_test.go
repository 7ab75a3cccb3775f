package dense_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/lanyardhq/lanyard/internal/dense"
)

var format = dense.New(1, `"name":"{"id":"`)

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
	if packed := format.Pack([]byte(`{"id":"con_1","name":"ada"}`)); packed[0] != 1 || len(packed) > 19 {
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
