// Goclient is a client of the official Go SDK: it connects to an MCP endpoint,
// lists the tools, calls one that takes no arguments, and prints what it saw as
// a line of JSON.
//
//	MCP_BEARER=… goclient URL TOOL
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	if flag.NArg() != 2 {
		log.Fatal("goclient URL TOOL")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := run(ctx, flag.Arg(0), flag.Arg(1)); err != nil {
		log.Fatal(err)
	}
}

// bearer adds the token to each request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

func run(ctx context.Context, url, tool string) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "goclient", Version: "1.0.0"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: url, HTTPClient: &http.Client{Transport: bearer(os.Getenv("MCP_BEARER"))},
	}, nil)
	if err != nil {
		return err
	}
	defer session.Close()
	listed, err := session.ListTools(ctx, nil)
	if err != nil {
		return err
	}
	var out struct {
		Version string   `json:"version"`
		Tools   []string `json:"tools"`
		Text    string   `json:"text"`
	}
	out.Version = session.InitializeResult().ProtocolVersion
	for _, t := range listed.Tools {
		out.Tools = append(out.Tools, t.Name)
	}
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: tool})
	if err != nil {
		return err
	}
	for _, c := range result.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			out.Text += t.Text
		}
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}
