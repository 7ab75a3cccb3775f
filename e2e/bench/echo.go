package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// echo is an MCP server (2025-11-25, stdio) with one tool, which says what it is
// told. It is as quick as may be, so that it is not what is measured.
func echo(in io.Reader, out io.Writer) error {
	r, w := bufio.NewReaderSize(in, 64<<10), bufio.NewWriterSize(out, 64<<10)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return ended(err)
		}
		answer(w, line)
		if r.Buffered() > 0 {
			continue
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
}

func ended(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// answer writes the answer to a request, and a line's end.
func answer(w *bufio.Writer, line []byte) {
	if id, text, ok := echoCall(line); ok {
		_, _ = w.WriteString(`{"jsonrpc":"2.0","id":`)
		_, _ = w.Write(id)
		_, _ = w.WriteString(`,"result":{"content":[{"type":"text","text":"`)
		_, _ = w.Write(text)
		_, _ = w.WriteString("\"}]}}\n")
		return
	}
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct {
			ProtocolVersion string
		}
	}
	if json.Unmarshal(line, &m) != nil || m.ID == nil {
		return
	}
	result := `{}`
	switch m.Method {
	case "initialize":
		result = fmt.Sprintf(`{"protocolVersion":%q,"capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1.0.0"}}`, m.Params.ProtocolVersion)
	case "tools/list":
		result = `{"tools":[{"name":"echo","description":"Says what it is told","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}}]}`
	}
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", m.ID, result)
}

// echoCall finds id and text of a call of the tool, without reading the rest.
// The callers send plain text of digits, which is not found anywhere else.
func echoCall(line []byte) (id, text []byte, ok bool) {
	if !bytes.Contains(line, []byte(`"method":"tools/call"`)) {
		return nil, nil, false
	}
	_, rest, ok := bytes.Cut(line, []byte(`"text":"`))
	if !ok {
		return nil, nil, false
	}
	text, _, ok = bytes.Cut(rest, []byte(`"`))
	if !ok {
		return nil, nil, false
	}
	_, rest, ok = bytes.Cut(line, []byte(`"id":`))
	end := bytes.IndexAny(rest, ",}")
	if !ok || end < 0 {
		return nil, nil, false
	}
	return rest[:end], text, true
}

// serveEcho is the same tool behind an HTTP server and nothing else.
func serveEcho(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var out bytes.Buffer
	b := bufio.NewWriter(&out)
	answer(b, body)
	_ = b.Flush()
	w.Header().Set(sessionHeader, "the-only-one")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(out.Len()))
	_, _ = w.Write(out.Bytes())
}
