package mcp

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestLegacy(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"id":1,"method":"tools/call","params":{"name":"a",` + meta + `,"arguments":{"requestState":1}}}`:                  `{"id":1,"method":"tools/call","params":{"name":"a","_meta":{},"arguments":{"requestState":1}}}`,
		`{"method":"m","params":{"_meta":{"progressToken":3,"` + MetaLevel + `":"info","` + MetaClient + `":{}}},"id":"x"}`: `{"method":"m","params":{"_meta":{"progressToken":3}},"id":"x"}`,
		`{"id":1,"method":"m","params":{"inputResponses":{"a":{}},"x":[1],"requestState":"s"}}`:                             `{"id":1,"method":"m","params":{"x":[1]}}`,
		`{"id":1,"method":"m"}`:               `{"id":1,"method":"m"}`,
		`{"id":1,"method":"m","params":[1]}`:  `{"id":1,"method":"m","params":[1]}`,
		`{"id":1,"method":"m","params":{  }}`: `{"id":1,"method":"m","params":{}}`,
	} {
		m, err := Parse([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		l, err := m.Legacy()
		if err != nil || string(l.Raw) != want || string(l.Bytes(l.ID)) != string(m.Bytes(m.ID)) {
			t.Errorf("%s: %s %v", in, l.Raw, err)
		}
	}
}

func TestModernize(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, method, server, want string }{
		{`{"id":4,"result":{}}`, "tools/call", "", `{"id":"mine","result":{"resultType":"complete"}}`},
		{`{"result": { "content":[]},"id":4}`, "tools/call", `{"name":"s"}`, `{"result": { "resultType":"complete","_meta":{"` + MetaServer + `":{"name":"s"}},"content":[]},"id":"mine"}`},
		{`{"id":4,"result":{"tools":[],"_meta":{}}}`, "tools/list", `{}`, `{"id":"mine","result":{"resultType":"complete","ttlMs":60000,"cacheScope":"private","tools":[],"_meta":{}}}`},
		{`{"id":4,"result":{"ttlMs":1,"resultType":"x"}}`, "resources/read", ``, `{"id":"mine","result":{"cacheScope":"private","ttlMs":1,"resultType":"x"}}`},
		{`{"id":4,"result":7}`, "tools/list", ``, `{"id":"mine","result":7}`},
		{`{"id":4,"error":{"code":-32002,"message":"no"}}`, "resources/read", ``, `{"id":"mine","error":{"code":-32602,"message":"no"}}`},
		{`{"id":4,"error":{"code":-32042,"message":"no"}}`, "tools/call", ``, `{"id":"mine","error":{"code":-32603,"message":"no"}}`},
		{`{"id":4,"error":{"code":-32601,"message":"no"}}`, "tools/call", ``, `{"id":"mine","error":{"code":-32601,"message":"no"}}`},
	} {
		m, err := Parse([]byte(tc.in))
		if err != nil {
			t.Fatal(err)
		}
		f := Frame{Raw: m.Raw}
		f.Replace(m.ID, []byte(`"mine"`))
		Modernize(&f, m, tc.method, []byte(tc.server))
		var out bytes.Buffer
		_ = f.Emit(&out)
		if out.String() != tc.want || out.Len() != f.Size() || !json.Valid(out.Bytes()) {
			t.Errorf("%s: %s", tc.in, out.Bytes())
		}
	}
}

// FuzzTranslate: what is translated stays JSON, and keeps its id and method.
func FuzzTranslate(f *testing.F) {
	for _, s := range []string{
		`{"id":1,"method":"m","params":{"_meta":{"a":1,"` + MetaVersion + `":"2026-07-28"},"requestState":"x","z":[{}]}}`,
		`{"id":1,"result":{"a":"}"}}`, `{"id":1,"result":{}}`, `{"id":1,"error":{"code":-32002}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := Parse(bytes.Clone(in))
		if err != nil || !json.Valid(in) || !m.ID.Present() {
			return
		}
		if m.Response() {
			fr := Frame{Raw: m.Raw}
			fr.Replace(m.ID, []byte("7"))
			Modernize(&fr, m, "tools/list", []byte(`{}`))
			var out bytes.Buffer
			if _ = fr.Emit(&out); !json.Valid(out.Bytes()) || out.Len() != fr.Size() {
				t.Fatalf("%q became %q", in, out.Bytes())
			}
			return
		}
		l, err := m.Legacy()
		if err == nil && (!json.Valid(l.Raw) || l.Method != m.Method || !bytes.Equal(l.Bytes(l.ID), m.Bytes(m.ID))) {
			t.Fatalf("%q became %q", in, l.Raw)
		}
	})
}
