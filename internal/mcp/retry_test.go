package mcp

import (
	"bytes"
	"testing"
)

func TestRetryDigest(t *testing.T) {
	t.Parallel()
	digest := func(params string) []byte {
		t.Helper()
		m, err := Parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + params + `}`))
		if err != nil {
			t.Fatal(err)
		}
		d, err := m.RetryDigest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := digest(`{"name":"send","arguments":{"to":"ann","n":12345678901234567890}}`)
	for params, same := range map[string]bool{
		`{ "arguments": {"n":12345678901234567890,"to":"\u0061nn"}, "name":"send" }`:                                                                 true,
		`{"name":"send","arguments":{"to":"ann","n":12345678901234567890},"_meta":{"progressToken":7},"inputResponses":{"a":{}},"requestState":"s"}`: true,
		`{"name":"send","arguments":{"to":"bob","n":12345678901234567890}}`:                                                                          false,
		`{"name":"send","arguments":{"to":"ann","n":12345678901234567891}}`:                                                                          false,
		`{"name":"send","arguments":{"to":"ann","n":12345678901234567890,"requestState":"s"}}`:                                                       false,
		`{"name":"delete","arguments":{"to":"ann","n":12345678901234567890}}`:                                                                        false,
	} {
		if bytes.Equal(digest(params), first) != same {
			t.Errorf("%s: the same as the first: %t, want %t", params, !same, same)
		}
	}
	if m, err := Parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}`)); err == nil {
		if _, err := m.RetryDigest(); err == nil {
			t.Error("params that are no object have a digest")
		}
	}
}
