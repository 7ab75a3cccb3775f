package mcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"unicode/utf8"
)

// Span is a half-open range of a message's bytes; the zero span is absent.
type Span struct{ Start, End int }

// Present reports whether the part is there.
func (s Span) Present() bool { return s.End > 0 }

// Message is one JSON-RPC message and where in it the parts stand that are read
// or rewritten. Everything else passes byte for byte.
type Message struct {
	Raw    []byte
	ID     Span
	Method string
	Params Span
	// Result and Fault are the two kinds of answer.
	Result, Fault Span
}

var (
	errBatch   = errors.New("batches are not supported: send one message per request")
	errMessage = errors.New("not a JSON-RPC message")
)

// Parse reads the envelope of one message. Messages on which two JSON parsers
// could disagree about the id or the method (a member twice, or one that
// differs only in case or is written with escapes) are refused: an id that was
// not rewritten could be answered to somebody else's call.
func Parse(raw []byte) (Message, error) {
	raw = bytes.TrimSpace(raw)
	m := Message{Raw: raw}
	if len(raw) > 0 && raw[0] == '[' {
		return m, errBatch
	}
	err := members(raw, Span{0, len(raw)}, func(key []byte, v Span) error {
		switch string(key) {
		case "id":
			return once(&m.ID, v)
		case "params":
			return once(&m.Params, v)
		case "method":
			if m.Method != "" || text(raw[v.Start:v.End], &m.Method) != nil || m.Method == "" {
				return errMessage
			}
		case "result":
			return once(&m.Result, v)
		case "error":
			return once(&m.Fault, v)
		default:
			return ambiguous(key, "id", "params", "method", "result", "error")
		}
		return nil
	})
	if err == nil && m.Method == "" && !m.Answers() {
		err = errMessage
	}
	return m, err
}

// text reads a JSON string. Nearly all stand as they are between their quotes.
func text(raw []byte, into *string) error {
	if n := len(raw) - 1; n > 0 && raw[0] == '"' && raw[n] == '"' {
		inner := raw[1:n]
		if !bytes.ContainsFunc(inner, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r >= utf8.RuneSelf }) {
			*into = string(inner)
			return nil
		}
	}
	return json.Unmarshal(raw, into)
}

// Read is the one message that a client sent, or why it is none. What it returns
// stands on one line.
func Read(body []byte) (Message, *Refusal) {
	m, err := Parse(body)
	switch {
	case !json.Valid(body):
		return m, &Refusal{Status: http.StatusBadRequest, Code: CodeParse, Text: "the body is not JSON"}
	case err != nil:
		return m, &Refusal{Status: http.StatusBadRequest, Code: CodeInvalid, Text: err.Error()}
	case m.Request() && !m.ValidID():
		return m, &Refusal{Status: http.StatusBadRequest, Code: CodeInvalid, Text: "the id must be a string or a number"}
	}
	OneLine(m.Raw)
	return m, nil
}

// Request and Response say of which kind m is; what is neither is a
// notification.
func (m Message) Request() bool { return m.Method != "" && m.ID.Present() }

// Response: see [Message.Request].
func (m Message) Response() bool { return m.Method == "" && m.Answers() }

// Answers reports whether m has a result or an error.
func (m Message) Answers() bool { return m.Result.Present() || m.Fault.Present() }

// Bytes are those of a part; none if it is absent.
func (m Message) Bytes(s Span) []byte { return m.Raw[s.Start:s.End] }

// ValidID reports whether the id is one that MCP allows: a string or a number.
func (m Message) ValidID() bool {
	c := m.Raw[m.ID.Start]
	return c == '"' || c == '-' || c >= '0' && c <= '9'
}

// Number is the id, if it is a whole number that fits.
func (m Message) Number() (uint64, bool) { return Number(m.Bytes(m.ID)) }

// Number is a raw whole number that fits.
func Number(raw []byte) (uint64, bool) {
	n, err := strconv.ParseUint(string(raw), 10, 64)
	return n, err == nil
}

// Failed reports whether m is an error: of JSON-RPC, or of the tool that was
// called (MCP 2025-11-25, tools, error handling). A message on which parsers
// could disagree is none.
func (m Message) Failed() bool {
	if !m.Result.Present() {
		return m.Fault.Present()
	}
	at, err := Lookup(m.Raw, m.Result, "isError")
	return err == nil && !m.Fault.Present() && at.Present() && string(m.Bytes(at)) == "true"
}

// Lookup finds at.path[0].path[1]…; an absent one is the zero span.
func Lookup(raw []byte, at Span, path ...string) (Span, error) {
	for _, name := range path {
		if !at.Present() || raw[at.Start] != '{' {
			return Span{}, nil
		}
		var found Span
		err := members(raw, at, func(key []byte, v Span) error {
			if string(key) == name {
				return once(&found, v)
			}
			return ambiguous(key, name)
		})
		if err != nil {
			return Span{}, err
		}
		at = found
	}
	return at, nil
}

func once(s *Span, v Span) error {
	if s.Present() {
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
func members(raw []byte, at Span, visit func(key []byte, v Span) error) error {
	i := skipSpace(raw, at.Start)
	if i >= at.End || raw[i] != '{' {
		return errMessage
	}
	i = skipSpace(raw, i+1)
	for first := true; ; first = false {
		if i < at.End && raw[i] == '}' && first {
			i++
			break
		}
		if i >= at.End || raw[i] != '"' {
			return errMessage
		}
		keyEnd := skipString(raw, i)
		colon := skipSpace(raw, keyEnd)
		if keyEnd < 0 || colon >= at.End || raw[colon] != ':' {
			return errMessage
		}
		start := skipSpace(raw, colon+1)
		end := skipValue(raw, start)
		if end < 0 || end > at.End {
			return errMessage
		}
		if err := visit(raw[i+1:keyEnd-1], Span{start, end}); err != nil {
			return err
		}
		i = skipSpace(raw, end)
		if i >= at.End {
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
	if skipSpace(raw, i) < at.End {
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
