package mcp

import (
	"net/http"
	"testing"
)

const toolList = `[
 {"name":"read","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}},
 {"name":"put","annotations":{"readOnlyHint":false,"idempotentHint":true}},
 {"name":"send","annotations":{"destructiveHint":false}},
 {"name":"lies","annotations":{"readOnlyHint":"yes"}},
 {"name":"sql","inputSchema":{"properties":{
   "region":{"type":"string","x-mcp-header":"Region"},
   "any":true,
   "at":{"properties":{"n":{"type":"integer","x-mcp-header":"Num"}}},
   "dry":{"type":"boolean","x-mcp-header":"Dry"}}}},
 7, {"name":""}]`

func TestTools(t *testing.T) {
	t.Parallel()
	tools := Tools([]byte(toolList))
	for name, want := range map[string]bool{"read": true, "put": true, "send": false, "lies": false, "sql": false, "never": false} {
		if got := tools[name].Repeatable; got != want {
			t.Errorf("%s: repeatable %v", name, got)
		}
	}
	if len(tools) != 4 || len(tools["sql"].Params) != 3 {
		t.Errorf("%+v", tools)
	}
	if Tools([]byte(`{}`)) != nil {
		t.Error("read what is no list")
	}
}

func TestCheckParams(t *testing.T) {
	t.Parallel()
	sql := Tools([]byte(toolList))["sql"]
	for _, tc := range []struct {
		args   string
		header http.Header
		ok     bool
	}{
		{`{}`, http.Header{}, true},
		{`{"region":null}`, http.Header{}, true},
		{`{"region":null}`, http.Header{"Mcp-Param-Region": {"null"}}, false},
		{`{}`, http.Header{"Mcp-Param-Region": {"us"}}, false},
		{`{"region":"us"}`, http.Header{"Mcp-Param-Region": {"us"}}, true},
		{`{"region":"us"}`, http.Header{"Mcp-Param-Region": {"us", "eu"}}, false},
		{`{"region":"us"}`, http.Header{"Mcp-Param-Region": {"eu"}}, false},
		{`{"region":"us"}`, http.Header{}, false},
		{`{"region":"\u00fc"}`, http.Header{"Mcp-Param-Region": {"=?base64?w7w=?="}}, true},
		{`{"region":"\u00fc"}`, http.Header{"Mcp-Param-Region": {"ü"}}, false},
		{`{"region":"us"}`, http.Header{"Mcp-Param-Region": {"=?base64?!!?="}}, false},
		{`{"at":{"n":42}}`, http.Header{"Mcp-Param-Num": {"42.0"}}, true},
		{`{"at":{"n":42}}`, http.Header{"Mcp-Param-Num": {"41"}}, false},
		{`{"at":{"n":42}}`, http.Header{}, false},
		{`{"dry":true}`, http.Header{"Mcp-Param-Dry": {"true"}}, true},
		{`{"dry":true}`, http.Header{"Mcp-Param-Dry": {"True"}}, false},
		{`{"region":["us"]}`, http.Header{"Mcp-Param-Region": {"us"}}, false},
		{`{"region":"us","region":"eu"}`, http.Header{"Mcp-Param-Region": {"us"}}, false},
		{`{"region":"us","Region":"eu"}`, http.Header{"Mcp-Param-Region": {"us"}}, false},
	} {
		m, err := Parse([]byte(`{"id":1,"method":"tools/call","params":{"name":"sql","arguments":` + tc.args + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		if r := sql.CheckParams(tc.header, m); (r == nil) != tc.ok {
			t.Errorf("%s %v: %v", tc.args, tc.header, r)
		}
	}
}
