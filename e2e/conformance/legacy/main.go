// Command legacy runs a stdio MCP server as one that does not know the modern
// era: what names a revision in its _meta is answered "no such method", and does
// not reach it. Usage: legacy COMMAND…
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "legacy:", err)
		os.Exit(1)
	}
}

func run(command []string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := filter(os.Stdin, in); err != nil {
		return err
	}
	return cmd.Wait()
}

// filter passes lines on until there are no more.
func filter(from io.Reader, to io.WriteCloser) error {
	defer to.Close()
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil // the end
		}
		var m struct {
			ID     json.RawMessage
			Params struct {
				Meta map[string]any `json:"_meta"`
			}
		}
		_ = json.Unmarshal(line, &m) // a list of params has no _meta either
		if m.Params.Meta["io.modelcontextprotocol/protocolVersion"] == nil {
			if _, err := to.Write(line); err != nil {
				return err
			}
			continue
		}
		// One write, so that it does not end up within a line of the server's.
		fmt.Fprintf(os.Stdout, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`+"\n", m.ID)
	}
}
