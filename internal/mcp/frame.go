package mcp

import (
	"bytes"
	"io"
)

// Frame is a message with up to three of its parts replaced, so that a large one
// is rewritten without a copy.
type Frame struct {
	Raw   []byte
	edits [3]edit
	n     int
}

type edit struct {
	at   Span
	with []byte
}

// Replace adds an edit; edits are kept in the order of the message.
func (f *Frame) Replace(at Span, with []byte) {
	i := f.n
	for ; i > 0 && f.edits[i-1].at.Start > at.Start; i-- {
		f.edits[i] = f.edits[i-1]
	}
	f.edits[i] = edit{at, with}
	f.n++
}

// Size is the length of the message, edits included, in bytes.
func (f *Frame) Size() int {
	n := len(f.Raw)
	for _, e := range f.edits[:f.n] {
		n += len(e.with) - (e.at.End - e.at.Start)
	}
	return n
}

// Emit writes the message, edits included.
func (f *Frame) Emit(w io.Writer) error {
	from := 0
	for _, e := range f.edits[:f.n] {
		if _, err := w.Write(f.Raw[from:e.at.Start]); err != nil {
			return err
		}
		if _, err := w.Write(e.with); err != nil {
			return err
		}
		from = e.at.End
	}
	_, err := w.Write(f.Raw[from:])
	return err
}

// OneLine makes raw fit a line of stdio or of an event stream. Line breaks
// stand only between JSON tokens, where a space means the same.
func OneLine(raw []byte) {
	for _, c := range []byte{'\n', '\r'} {
		for i := 0; ; i++ {
			n := bytes.IndexByte(raw[i:], c)
			if n < 0 {
				break
			}
			i += n
			raw[i] = ' '
		}
	}
}
