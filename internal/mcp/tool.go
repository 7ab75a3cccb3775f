package mcp

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
)

// Tool is what a server says of one of its tools that concerns whoever passes
// calls on. It is the server's word, and says nothing of anybody else's tools.
type Tool struct {
	// Repeatable: two calls do no more than one (the annotations readOnlyHint and
	// idempotentHint).
	Repeatable bool
	// Params are the arguments that clients mirror into headers.
	Params []Param
}

// Param is an argument that is mirrored into a header (MCP 2026-07-28,
// Streamable HTTP, custom headers).
type Param struct {
	// Header is the header's whole name.
	Header string
	// Path leads to the argument, by the names of members.
	Path []string
}

// maxSchemaDepth is how deep in a schema mirrored arguments are looked for.
const maxSchemaDepth = 16

// Tools are those of a raw list by their names. One that cannot be read is left
// out.
func Tools(list []byte) map[string]Tool {
	var each []json.RawMessage
	if json.Unmarshal(list, &each) != nil {
		return nil
	}
	tools := make(map[string]Tool, len(each))
	for _, raw := range each {
		var t struct {
			Name        string `json:"name"`
			Annotations struct {
				ReadOnly   bool `json:"readOnlyHint"`
				Idempotent bool `json:"idempotentHint"`
			} `json:"annotations"`
			InputSchema schema `json:"inputSchema"`
		}
		if json.Unmarshal(raw, &t) != nil || t.Name == "" {
			continue
		}
		tool := Tool{Repeatable: t.Annotations.ReadOnly || t.Annotations.Idempotent}
		t.InputSchema.params(nil, &tool.Params)
		tools[t.Name] = tool
	}
	return tools
}

// schema is as much of a JSON Schema as says what is mirrored.
type schema struct {
	Header     string                     `json:"x-mcp-header"`
	Properties map[string]json.RawMessage `json:"properties"`
}

func (s schema) params(path []string, out *[]Param) {
	if len(path) >= maxSchemaDepth {
		return
	}
	for name, raw := range s.Properties {
		var sub schema
		if json.Unmarshal(raw, &sub) != nil {
			continue // true and false are schemas, too
		}
		at := append(slices.Clone(path), name)
		if sub.Header != "" {
			*out = append(*out, Param{Header: "Mcp-Param-" + sub.Header, Path: at})
		}
		sub.params(at, out)
	}
}

// CheckParams holds the headers of a modern tools/call against its arguments.
func (t Tool) CheckParams(h http.Header, m Message) *Refusal {
	for _, p := range t.Params {
		at, err := Lookup(m.Raw, m.Params, append([]string{"arguments"}, p.Path...)...)
		if err != nil {
			return &Refusal{http.StatusBadRequest, CodeParams, err.Error(), nil}
		}
		given := h.Values(p.Header)
		value := m.Bytes(at)
		if !at.Present() || bytes.Equal(value, []byte("null")) {
			if len(given) > 0 {
				return mismatch("there is a %s header, but no such argument", p.Header)
			}
			continue
		}
		if len(given) != 1 || !mirrors(given[0], value) {
			return mismatch("the %s header does not say what the argument says", p.Header)
		}
	}
	return nil
}

// mirrors reports whether a header carries a raw JSON value.
func mirrors(header string, value []byte) bool {
	text, ok := DecodeHeader(header)
	if !ok {
		return false
	}
	var v any
	if json.Unmarshal(value, &v) != nil {
		return false
	}
	switch v := v.(type) {
	case string:
		return v == text
	case bool:
		return strconv.FormatBool(v) == text
	case float64:
		n, err := strconv.ParseFloat(text, 64)
		return err == nil && n == v
	}
	return false
}
