package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// span is a half-open range of a message's bytes; the zero span is absent.
type span struct{ start, end int }

func (s span) present() bool { return s.end > 0 }

// message is one JSON-RPC message and where in it the parts stand that the
// bridge reads or rewrites. Everything else passes byte for byte.
type message struct {
	raw    []byte
	id     span
	method string
	params span
	// result and fault are the two kinds of answer.
	result, fault span
}

var (
	errBatch   = errors.New("batches are not supported: send one message per request")
	errMessage = errors.New("not a JSON-RPC message")
)

// parse reads the envelope of one message. Messages on which two JSON parsers
// could disagree about the id or the method (a member twice, or one that
// differs only in case or is written with escapes) are refused: an id that the
// bridge did not rewrite could be answered to somebody else's call.
func parse(raw []byte) (message, error) {
	raw = bytes.TrimSpace(raw)
	m := message{raw: raw}
	if len(raw) > 0 && raw[0] == '[' {
		return m, errBatch
	}
	err := members(raw, span{0, len(raw)}, func(key []byte, v span) error {
		switch string(key) {
		case "id":
			return once(&m.id, v)
		case "params":
			return once(&m.params, v)
		case "method":
			if m.method != "" || json.Unmarshal(raw[v.start:v.end], &m.method) != nil || m.method == "" {
				return errMessage
			}
		case "result":
			return once(&m.result, v)
		case "error":
			return once(&m.fault, v)
		default:
			return ambiguous(key, "id", "params", "method", "result", "error")
		}
		return nil
	})
	if err == nil && m.method == "" && !m.answers() {
		err = errMessage
	}
	return m, err
}

// request and response say of which kind m is; what is neither is a
// notification.
func (m message) request() bool  { return m.method != "" && m.id.present() }
func (m message) response() bool { return m.method == "" && m.answers() }

func (m message) answers() bool { return m.result.present() || m.fault.present() }

func (m message) bytes(s span) []byte { return m.raw[s.start:s.end] }

// validID reports whether the id is one that MCP allows: a string or a number.
func (m message) validID() bool {
	c := m.raw[m.id.start]
	return c == '"' || c == '-' || c >= '0' && c <= '9'
}

// number is the id, when it is one that the bridge could have given.
func (m message) number() (uint64, bool) {
	n, err := strconv.ParseUint(string(m.bytes(m.id)), 10, 64)
	return n, err == nil
}

// lookup finds at.path[0].path[1]…; an absent one is the zero span.
func lookup(raw []byte, at span, path ...string) (span, error) {
	for _, name := range path {
		if !at.present() || raw[at.start] != '{' {
			return span{}, nil
		}
		var found span
		err := members(raw, at, func(key []byte, v span) error {
			if string(key) == name {
				return once(&found, v)
			}
			return ambiguous(key, name)
		})
		if err != nil {
			return span{}, err
		}
		at = found
	}
	return at, nil
}

func once(s *span, v span) error {
	if s.present() {
		return errMessage
	}
	*s = v
	return nil
}

func ambiguous(key []byte, names ...string) error {
	if bytes.IndexByte(key, '\\') >= 0 {
		return fmt.Errorf("%w: a member's name is written with escapes", errMessage)
	}
	for _, n := range names {
		if bytes.EqualFold(key, []byte(n)) {
			return fmt.Errorf("%w: the member %q looks like %q", errMessage, key, n)
		}
	}
	return nil
}

// members calls visit with each member of the object that fills at, which may
// be followed by nothing but what at says. It checks the structure only as far
// as finding the members needs.
func members(raw []byte, at span, visit func(key []byte, v span) error) error {
	i := skipSpace(raw, at.start)
	if i >= at.end || raw[i] != '{' {
		return errMessage
	}
	i = skipSpace(raw, i+1)
	for first := true; ; first = false {
		if i < at.end && raw[i] == '}' && first {
			i++
			break
		}
		if i >= at.end || raw[i] != '"' {
			return errMessage
		}
		keyEnd := skipString(raw, i)
		colon := skipSpace(raw, keyEnd)
		if keyEnd < 0 || colon >= at.end || raw[colon] != ':' {
			return errMessage
		}
		start := skipSpace(raw, colon+1)
		end := skipValue(raw, start)
		if end < 0 || end > at.end {
			return errMessage
		}
		if err := visit(raw[i+1:keyEnd-1], span{start, end}); err != nil {
			return err
		}
		i = skipSpace(raw, end)
		if i >= at.end {
			return errMessage
		}
		if raw[i] == '}' {
			i++
			break
		}
		if raw[i] != ',' {
			return errMessage
		}
		i = skipSpace(raw, i+1)
	}
	if skipSpace(raw, i) < at.end {
		return errMessage
	}
	return nil
}

func skipSpace(raw []byte, i int) int {
	if i < 0 {
		return len(raw)
	}
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the index after the string that starts at i, or -1. It
// leans on IndexByte, so that megabytes of base64 cost next to nothing.
func skipString(raw []byte, i int) int {
	for j := i + 1; ; {
		n := bytes.IndexByte(raw[j:], '"')
		if n < 0 {
			return -1
		}
		end := j + n
		slashes := 0
		for k := end - 1; k > i && raw[k] == '\\'; k-- {
			slashes++
		}
		if slashes%2 == 0 {
			return end + 1
		}
		j = end + 1
	}
}

// skipValue returns the index after the JSON value that starts at i, or -1.
func skipValue(raw []byte, i int) int {
	depth := 0
	for i < len(raw) {
		switch raw[i] {
		case '"':
			if i = skipString(raw, i); i < 0 {
				return -1
			}
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth == 0 {
				return -1
			}
			depth--
			i++
		case ',', ':':
			if depth == 0 {
				return -1
			}
			i++
			continue
		case ' ', '\t', '\n', '\r':
			i++
			continue
		default:
			for i < len(raw) && !delimiter(raw[i]) {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}

// delimiter reports whether c ends a number, true, false or null.
func delimiter(c byte) bool {
	switch c {
	case ',', ':', '{', '}', '[', ']', '"', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}

// frame is a message with up to two of its parts replaced, so that a large one
// is rewritten without a copy.
type frame struct {
	raw   []byte
	edits [2]edit
	n     int
}

type edit struct {
	at   span
	with []byte
}

// replace adds an edit; edits are kept in the order of the message.
func (f *frame) replace(at span, with []byte) {
	f.edits[f.n] = edit{at, with}
	if f.n == 1 && f.edits[0].at.start > at.start {
		f.edits[0], f.edits[1] = f.edits[1], f.edits[0]
	}
	f.n++
}

func (f *frame) size() int {
	n := len(f.raw)
	for _, e := range f.edits[:f.n] {
		n += len(e.with) - (e.at.end - e.at.start)
	}
	return n
}

func (f *frame) writeTo(w io.Writer) error {
	from := 0
	for _, e := range f.edits[:f.n] {
		if _, err := w.Write(f.raw[from:e.at.start]); err != nil {
			return err
		}
		if _, err := w.Write(e.with); err != nil {
			return err
		}
		from = e.at.end
	}
	_, err := w.Write(f.raw[from:])
	return err
}

// oneLine makes raw fit a line of stdio or of an event stream. Line breaks
// stand only between JSON tokens, where a space means the same.
func oneLine(raw []byte) {
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
