package mcp

import (
	"encoding/json"
	"fmt"
)

// Error codes of JSON-RPC 2.0 §5.1.
const (
	CodeParse    = -32700
	CodeInvalid  = -32600
	CodeNoMethod = -32601
	CodeParams   = -32602
	CodeInternal = -32603
	CodeServer   = -32000
)

// CodeURLElicitation is the error by which a client of MCP 2025-11-25 is asked to
// show its person a link (schema, URL_ELICITATION_REQUIRED).
const CodeURLElicitation = -32042

// Failure is a JSON-RPC error response to the request with this raw id; empty:
// to none that could be read.
func Failure(id []byte, code int, text string) []byte { return failure(id, code, text, nil) }

func failure(id []byte, code int, text string, data any) []byte {
	if len(id) == 0 {
		id = []byte("null")
	}
	fault := struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    any    `json:"data,omitempty"`
	}{code, text, data}
	quoted, err := json.Marshal(fault)
	if err != nil { // data is ours, and marshals
		panic(err)
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"error":%s}`, id, quoted)
}

// Reply is a response with this raw result to the request with this raw id.
func Reply(id, result []byte) []byte {
	out := make([]byte, 0, len(result)+len(id)+40)
	return fmt.Appendf(out, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result)
}
