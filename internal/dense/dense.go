// Package dense keeps short JSON texts in less space: DEFLATE with a dictionary
// of what such texts have in common, which they need not spell out themselves.
package dense

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	fast "github.com/klauspost/compress/flate"
)

// Format is a way to pack texts. What it has packed opens with the same
// dictionary only: to change one, make another Format with another tag.
type Format struct {
	tag        byte
	dictionary []byte

	writers, readers sync.Pool
}

// ErrFormat means that the bytes were not packed in this format, or damaged.
var ErrFormat = errors.New("the packed text is damaged, or of a format that is not known here")

// tail ends a stream of DEFLATE, as an empty block: it need not be kept (as in
// RFC 7692, section 7.2.1).
var tail = []byte{0, 0, 0xff, 0xff}

// plain begins every text, and so what is kept as it is: tags are others.
const plain = '{'

// New is the format of that tag. Of the dictionary, what is the most common
// comes last.
func New(tag byte, dictionary string) *Format {
	if tag == plain {
		panic("dense: the tag of a format is what texts begin with")
	}
	f := &Format{tag: tag, dictionary: []byte(dictionary)}
	f.writers.New = func() any {
		w, err := fast.NewWriterDict(nil, fast.BestSpeed, f.dictionary)
		if err != nil {
			panic(err) // the level is no level
		}
		return w
	}
	f.readers.New = func() any { return flate.NewReaderDict(bytes.NewReader(nil), f.dictionary) }
	return f
}

// Pack packs a JSON object. One that would not be shorter stays as it is.
func (f *Format) Pack(text []byte) []byte {
	w := f.writers.Get().(*fast.Writer)
	defer f.writers.Put(w)
	var packed bytes.Buffer
	packed.Grow(len(text) + 64)
	packed.WriteByte(f.tag)
	w.ResetDict(&packed, f.dictionary)
	// A buffer fails at nothing.
	_, err := w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		panic(err)
	}
	out := bytes.TrimSuffix(packed.Bytes(), tail)
	if len(out) >= len(text) {
		return text
	}
	return out
}

// Unpack returns what was packed, if it is no longer than most bytes.
func (f *Format) Unpack(packed []byte, most int) ([]byte, error) {
	if len(packed) > 0 && packed[0] == plain && len(packed) <= most {
		return packed, nil
	}
	if len(packed) == 0 || packed[0] != f.tag {
		return nil, ErrFormat
	}
	r := f.readers.Get().(io.ReadCloser)
	defer f.readers.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(slices.Concat(packed[1:], tail)), f.dictionary); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	switch {
	case err != nil:
		return nil, ErrFormat // its cause tells an offset, and nobody anything
	case len(text) > most:
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrFormat, most)
	}
	return text, nil
}
