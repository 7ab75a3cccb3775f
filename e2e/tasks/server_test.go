//go:build linux

package tasks

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// tool is a tool of a server: what it returns, and whether that is an error.
type tool func(text string) (answer string, failed bool)

// serveTools is an MCP server (2025-11-25, stdio) whose tools take one text. All
// of them may be called at once, and again.
func serveTools(in io.Reader, out io.Writer, tools map[string]tool) error {
	var writing sync.Mutex
	r := bufio.NewReader(in)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return nil
		}
		var m struct {
			ID     json.RawMessage
			Method string
			Params struct {
				Name      string
				Arguments struct{ Text string }
			}
		}
		if json.Unmarshal(line, &m) != nil || len(m.ID) == 0 {
			continue
		}
		go func() {
			result := any(struct{}{})
			switch m.Method {
			case "initialize":
				result = json.RawMessage(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"t","version":"1"}}`)
			case "tools/list":
				var all []any
				for name := range tools {
					all = append(all, map[string]any{"name": name, "inputSchema": map[string]any{"type": "object"},
						"annotations": map[string]any{"readOnlyHint": true, "idempotentHint": true}})
				}
				result = map[string]any{"tools": all}
			case "tools/call":
				text, failed := tools[m.Params.Name](m.Params.Arguments.Text)
				result = map[string]any{"content": []any{map[string]any{"type": "text", "text": text}}, "isError": failed}
			}
			answer, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": result})
			writing.Lock()
			defer writing.Unlock()
			if err == nil {
				fmt.Fprintf(out, "%s\n", answer)
			}
		}()
	}
}
