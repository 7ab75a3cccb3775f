package host

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// ErrNotOffered: the connection's person does not let MCP clients have the tool.
var ErrNotOffered = errors.New("this tool is not offered: the connection's page says which are")

// withheld reports whether the request calls a tool that the connection does not
// offer, or one whose name cannot be told.
func (x *exchange) withheld() bool {
	if x.m.Method != "tools/call" || x.Connection.Tools.All() {
		return false
	}
	at, err := mcp.Lookup(x.m.Raw, x.m.Params, "name")
	var name string
	return err != nil || !at.Present() || json.Unmarshal(x.m.Bytes(at), &name) != nil || !x.Connection.Tools.Offers(name)
}

// narrows reports whether the answer names tools of which not all are offered.
func (x *exchange) narrows() bool { return x.m.Method == "tools/list" && !x.Connection.Tools.All() }

// narrowed is a message of the server without the tools that are not offered. A
// result that cannot be read is an error: it could name any.
func (x *exchange) narrowed(message []byte) ([]byte, error) {
	if !x.narrows() {
		return message, nil
	}
	m, err := mcp.Parse(message)
	if err != nil {
		return nil, err
	}
	if !m.Result.Present() {
		return message, nil
	}
	result, err := x.narrowedResult(m.Bytes(m.Result))
	if err != nil {
		return nil, err
	}
	f := mcp.Frame{Raw: m.Raw}
	f.Replace(m.Result, result)
	var out bytes.Buffer
	if err := f.Emit(&out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (x *exchange) narrowedResult(raw []byte) ([]byte, error) {
	at, err := mcp.Lookup(raw, mcp.Span{End: len(raw)}, "tools")
	if err != nil || !at.Present() {
		return raw, err
	}
	var tools []json.RawMessage
	if err := json.Unmarshal(raw[at.Start:at.End], &tools); err != nil {
		return nil, err
	}
	offered := []json.RawMessage{}
	for _, tool := range tools {
		named, err := mcp.Lookup(tool, mcp.Span{End: len(tool)}, "name")
		var name string
		if err == nil && named.Present() && json.Unmarshal(tool[named.Start:named.End], &name) == nil && x.Connection.Tools.Offers(name) {
			offered = append(offered, tool)
		}
	}
	list, err := json.Marshal(offered)
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{raw[:at.Start], list, raw[at.End:]}, nil), nil
}

// relayNarrowed is relay for a stream in which a list of tools comes: it passes
// on whole messages.
func (x *exchange) relayNarrowed(body io.Reader) error {
	in := bufio.NewReader(io.LimitReader(body, maxAnswer))
	var data []byte
	for {
		line, err := in.ReadBytes('\n')
		line = bytes.TrimRight(line, "\r\n")
		if text, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(data, bytes.TrimPrefix(text, []byte(" "))...)
		}
		if len(line) == 0 && len(data) > 0 {
			message, err := x.narrowed(data)
			if err != nil {
				return err
			}
			x.event(message)
			data = nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
