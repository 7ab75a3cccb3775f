package bridge

import (
	"bytes"
	"encoding/json"
	"strings"
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
		m, err := parse([]byte(tc.in))
		var token span
		if err == nil {
			token, err = lookup(m.raw, m.params, "_meta", "progressToken")
		}
		if tc.bad {
			if err == nil {
				t.Errorf("%s: accepted", tc.in)
			}
			continue
		}
		if err != nil || string(m.bytes(m.id)) != tc.id || m.method != tc.method || string(m.bytes(token)) != tc.token {
			t.Errorf("%s: id %s, method %q, token %s, %v", tc.in, m.bytes(m.id), m.method, m.bytes(token), err)
		}
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	raw := []byte("{\n \"a\":\r\n\"b\\n\"}\n")
	oneLine(raw)
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
		m, err := parse(bytes.Clone(in))
		if err != nil || !json.Valid(in) {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(in, &want); err != nil {
			t.Fatalf("parse took what is no object: %q", in)
		}
		if m.id.present() != (want["id"] != nil) || !bytes.Equal(m.bytes(m.id), want["id"]) {
			t.Fatalf("id %q of %q", m.bytes(m.id), in)
		}
		if !m.id.present() {
			return
		}
		fr := frame{raw: m.raw}
		fr.replace(m.id, []byte("4242"))
		if at, err := lookup(m.raw, m.params, "_meta", "progressToken"); err == nil && at.present() {
			fr.replace(at, []byte("4242"))
		}
		var out bytes.Buffer
		_ = fr.writeTo(&out)
		if out.Len() != fr.size() || !json.Valid(out.Bytes()) {
			t.Fatalf("rewrote %q to %q", in, out.Bytes())
		}
		again, err := parse(out.Bytes())
		if err != nil || string(again.bytes(again.id)) != "4242" || again.method != m.method {
			t.Fatalf("rewrote %q to %q: %v", in, out.Bytes(), err)
		}
	})
}

func TestTail(t *testing.T) {
	t.Parallel()
	secret := "s3cr3t/" + strings.Repeat("k", 40)
	tail := &Tail{Secrets: func() []string { return []string{secret, "me"} }}
	write := func(s string) { _, _ = tail.Write([]byte(s)) }
	write("a " + secret + " b s3cr3t%2F" + strings.Repeat("k", 40) + " me Authorization: Bearer abcdefghijkl\n")
	write(`{"access_token":"zzz"} eyJhbGciOiJI.eyJzdWIiOiIx.c2ln xoxb-12-ab` + "\n")
	tail.Noise([]byte("Starting"))
	got := tail.String()
	for _, leak := range []string{"kkkk", "abcdefghijkl", "zzz", "eyJ", "xoxb-12"} {
		if strings.Contains(got, leak) {
			t.Errorf("%q shows in %q", leak, got)
		}
	}
	if !strings.Contains(got, " me ") || !strings.Contains(got, "Starting\n(1 lines") {
		t.Errorf("lost what may be shown: %q", got)
	}
	// However the cut falls, no half of a secret shows.
	for n := range 60 {
		tail := &Tail{Secrets: func() []string { return []string{secret} }}
		_, _ = tail.Write([]byte(secret + strings.Repeat(".", keptBytes-n)))
		if s := tail.String(); strings.Contains(s, "kk") || len(s) > tailBytes+64 {
			t.Fatalf("cut at %d: %.80s", n, s)
		}
	}
}
