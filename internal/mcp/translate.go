package mcp

import (
	"bytes"
	"encoding/json"
)

// Legacy is a modern request as a server of the legacy era may see it: without
// what only the modern one has, in _meta and beside it. The bytes are its own.
func (m Message) Legacy() (Message, error) {
	if !m.Params.Present() || m.Raw[m.Params.Start] != '{' {
		return m, nil
	}
	meta, err := Lookup(m.Raw, m.Params, "_meta")
	if err != nil {
		return m, err
	}
	var kept []byte
	if meta.Present() {
		if kept, err = without(m.Raw, meta, nil, MetaVersion, MetaCapabilities, MetaClient, MetaLevel); err != nil {
			return m, err
		}
	}
	params, err := without(m.Raw, m.Params, kept, "inputResponses", "requestState")
	if err != nil {
		return m, err
	}
	raw := make([]byte, 0, len(m.Raw))
	raw = append(raw, m.Raw[:m.Params.Start]...)
	raw = append(raw, params...)
	return Parse(append(raw, m.Raw[m.Params.End:]...))
}

// without is an object without the named members, and with another _meta if
// there is one.
func without(raw []byte, at Span, meta []byte, names ...string) ([]byte, error) {
	out := []byte{'{'}
	err := members(raw, at, func(key []byte, v Span) error {
		for _, n := range names {
			if string(key) == n {
				return nil
			}
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), key...), '"', ':')
		if meta != nil && string(key) == "_meta" {
			out = append(out, meta...)
		} else {
			out = append(out, raw[v.Start:v.End]...)
		}
		return nil
	})
	return append(out, '}'), err
}

// Modernize edits a legacy server's response to a request for this method, which
// the frame carries, into what a modern client expects. server is its raw
// serverInfo; nil: it is not known. One edit of the frame must be free.
func Modernize(f *Frame, m Message, method string, server []byte) {
	if !m.Result.Present() {
		// Resource not found has another code now (MCP 2026-07-28, changelog), and
		// the codes of what was removed must not be sent.
		at, err := Lookup(m.Raw, m.Fault, "code")
		if err != nil || !at.Present() {
			return
		}
		switch string(m.Bytes(at)) {
		case "-32002":
			f.Replace(at, []byte("-32602"))
		case "-32042":
			f.Replace(at, []byte("-32603"))
		}
		return
	}
	if m.Raw[m.Result.Start] != '{' {
		return
	}
	var add []byte
	member := func(name, value string) {
		if at, err := Lookup(m.Raw, m.Result, name); err == nil && !at.Present() {
			add = append(append(append(append(add, '"'), name...), '"', ':'), value...)
			add = append(add, ',')
		}
	}
	member("resultType", `"complete"`)
	switch method {
	case "tools/list", "prompts/list", "resources/list", "resources/templates/list":
		member("ttlMs", listTTL)
		member("cacheScope", `"private"`)
	case "resources/read":
		member("ttlMs", "0") // it may change whenever it likes
		member("cacheScope", `"private"`)
	}
	if len(server) > 0 {
		member("_meta", `{"`+MetaServer+`":`+string(server)+`}`)
	}
	first := skipSpace(m.Raw, m.Result.Start+1)
	if m.Raw[first] == '}' {
		add = bytes.TrimSuffix(add, []byte{','})
	}
	f.Replace(Span{first, first}, add)
}

// Code is the code of an error response; 0 if it is none.
func (m Message) Code() int {
	at, err := Lookup(m.Raw, m.Fault, "code")
	var code int
	if err != nil || !m.Fault.Present() || !at.Present() || json.Unmarshal(m.Bytes(at), &code) != nil {
		return 0
	}
	return code
}
