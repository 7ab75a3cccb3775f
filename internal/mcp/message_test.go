package mcp

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in, id, method, token string
		bad                   bool
	}{
		{in: `{"jsonrpc":"2.0","id":7,"method":"ping"}`, id: "7", method: "ping"},
		{in: ` {"method":"a","params":{"x":"}{\"id\":9"},"id":"q\"7"} `, id: `"q\"7"`, method: "a"},
		{in: `{"id":-1,"result":{"id":5,"a":[1,{"id":6}]}}`, id: "-1"},
		{in: `{"id":1,"method":"m","params":{"_meta":{"z":1,"progressToken":"t"}}}`, id: "1", method: "m", token: `"t"`},
		{in: `{"id":1,"method":"m","params":{"meta":{"progressToken":"t"}}}`, id: "1", method: "m"},
		{in: `{"id":1,"method":"m","params":[{"_meta":1}]}`, id: "1", method: "m"},
		{in: `[{"id":1,"method":"ping"}]`, bad: true},
		{in: `{"id":1,"id":2,"method":"m"}`, bad: true},
		{in: `{"id":1,"ID":2,"method":"m"}`, bad: true},
		{in: `{"id":1,"\u0069d":2,"method":"m"}`, bad: true},
		{in: `{"id":1,"method":"m","params":{"_meta":{"progressToken":1,"progresstoken":2}}}`, bad: true},
		{in: `{"id":1}`, bad: true},
		{in: `{"id":1,"method":""}`, bad: true},
		{in: `{"id":1,"method":7}`, bad: true},
		{in: `{"id":1,"method":"m"`, bad: true},
		{in: `{"id":1,"method":"m"} {}`, bad: true},
		{in: `{"id":,"method":"m"}`, bad: true},
		{in: `Starting server`, bad: true},
		{in: ``, bad: true},
	} {
		m, err := Parse([]byte(tc.in))
		var token Span
		if err == nil {
			token, err = Lookup(m.Raw, m.Params, "_meta", "progressToken")
		}
		if tc.bad {
			if err == nil {
				t.Errorf("%s: accepted", tc.in)
			}
			continue
		}
		if err != nil || string(m.Bytes(m.ID)) != tc.id || m.Method != tc.method || string(m.Bytes(token)) != tc.token {
			t.Errorf("%s: id %s, method %q, token %s, %v", tc.in, m.Bytes(m.ID), m.Method, m.Bytes(token), err)
		}
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	raw := []byte("{\n \"a\":\r\n\"b\\n\"}\n")
	OneLine(raw)
	if string(raw) != `{  "a":  "b\n"} ` {
		t.Errorf("%q", raw)
	}
}

// FuzzParse: whatever parse finds in valid JSON is what encoding/json finds,
// and a rewritten message stays valid and changes in nothing else.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"progressToken":3}}}`,
		`{"params":{"a":"\\\""},"id":"x","method":"m"}`, `{"id":null,"result":[{},[]]}`, `[1]`, `{`, `{"a":"\`, `{"id":1 2,"method":"m"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := Parse(bytes.Clone(in))
		if err != nil || !json.Valid(in) {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(in, &want); err != nil {
			t.Fatalf("parse took what is no object: %q", in)
		}
		if m.ID.Present() != (want["id"] != nil) || !bytes.Equal(m.Bytes(m.ID), want["id"]) {
			t.Fatalf("id %q of %q", m.Bytes(m.ID), in)
		}
		if !m.ID.Present() {
			return
		}
		fr := Frame{Raw: m.Raw}
		fr.Replace(m.ID, []byte("4242"))
		if at, err := Lookup(m.Raw, m.Params, "_meta", "progressToken"); err == nil && at.Present() {
			fr.Replace(at, []byte("4242"))
		}
		var out bytes.Buffer
		_ = fr.Emit(&out)
		if out.Len() != fr.Size() || !json.Valid(out.Bytes()) {
			t.Fatalf("rewrote %q to %q", in, out.Bytes())
		}
		again, err := Parse(out.Bytes())
		if err != nil || string(again.Bytes(again.ID)) != "4242" || again.Method != m.Method {
			t.Fatalf("rewrote %q to %q: %v", in, out.Bytes(), err)
		}
	})
}

// The short way to read a string finds what the long one does.
func FuzzText(f *testing.F) {
	for _, s := range []string{`"tools/call"`, `""`, `"`, ``, `null`, `"a\u0062"`, `"a"b"`, "\"\x01\"", "\"\x7f\"", `"é"`, "\"\xff\"", `1`, `"a" `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got, want string
		err, wantErr := text(raw, &got), json.Unmarshal(raw, &want)
		if (err == nil) != (wantErr == nil) || err == nil && got != want {
			t.Errorf("%q: %q, %v, want %q, %v", raw, got, err, want, wantErr)
		}
	})
}
