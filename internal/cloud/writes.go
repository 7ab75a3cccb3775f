package cloud

import (
	"bytes"
	crand "crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
)

const (
	// nonceSize is how long the name of a write is: it is unique among the few
	// that an item remembers.
	nonceSize = 5
	// remembered is how many writes an item remembers. A request whose answer
	// was lost is repeated within a second or two, in which few others can have
	// written.
	remembered = 12
)

// nonce names a write.
func nonce() []byte {
	b := make([]byte, nonceSize)
	_, _ = crand.Read(b) // never fails: it ends the program instead
	return b
}

// sign names the write that makes the item, before those that the item
// remembers from [following].
func sign(it item, nonce []byte) {
	writes := slices.Concat(nonce, trail(it))
	it["w"] = binary(writes[:min(remembered*nonceSize, len(writes))])
}

// trail are the names of the item's last writes, the last one first.
func trail(it item) []byte {
	if w := binaryOf(it, "w"); w != nil {
		return w
	}
	// Items that were written before this was binary.
	w, err := base64.RawURLEncoding.DecodeString(strings.ReplaceAll(textOf(it, "w"), " ", ""))
	if err != nil {
		return nil
	}
	return w
}

// following lets an item remember the writes of the one that it replaces.
func following(it, replaced item) item { return trailing(it, trail(replaced)) }

func trailing(it item, writes []byte) item {
	if len(writes) > 0 {
		it["w"] = binary(writes)
	}
	return it
}

// own reports whether the item was written by the write that the other one was
// to be: the answer to it was lost and the request repeated, maybe after
// somebody else had written again.
func own(there, written item) bool {
	w := trail(written)
	for n := range slices.Chunk(trail(there), nonceSize) {
		if len(w) >= nonceSize && bytes.Equal(n, w[:nonceSize]) {
			return true
		}
	}
	return false
}
