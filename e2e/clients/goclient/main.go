// Goclient is a client of the official Go SDK: it connects to an MCP endpoint,
// lists the tools, calls one that takes no arguments, and prints what it saw as
// a line of JSON.
//
//	MCP_BEARER=… goclient URL TOOL
//	goclient -redirect CALLBACK [-document CLIENT] URL TOOL
//
// The second has no bearer and signs itself in, as the client of that metadata
// document or by registering itself: it prints "authorize URL", and reads the
// query that the callback got.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

func main() {
	log.SetFlags(0)
	redirect := flag.String("redirect", "", "sign in, and have the browser come back to this `URL`")
	document := flag.String("document", "", "be the client of the metadata document at this `URL`")
	flag.Parse()
	if flag.NArg() != 2 {
		log.Fatal("goclient URL TOOL")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	transport := &mcp.StreamableClientTransport{Endpoint: flag.Arg(0)}
	if *redirect == "" {
		transport.HTTPClient = &http.Client{Transport: bearer(os.Getenv("MCP_BEARER"))}
	} else {
		handler, err := signIn(*redirect, *document)
		if err != nil {
			log.Fatal(err)
		}
		transport.OAuthHandler = handler
	}
	if err := run(ctx, transport, flag.Arg(1)); err != nil {
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

// signIn is the SDK's own handling of authorization, whose browser is whoever
// reads our output.
func signIn(redirect, document string) (auth.OAuthHandler, error) {
	config := &auth.AuthorizationCodeHandlerConfig{RedirectURL: redirect, AuthorizationCodeFetcher: ask}
	if document != "" {
		config.ClientIDMetadataDocumentConfig = &auth.ClientIDMetadataDocumentConfig{URL: document}
	} else {
		config.DynamicClientRegistrationConfig = &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName: "goclient", RedirectURIs: []string{redirect}, GrantTypes: []string{"authorization_code", "refresh_token"}, TokenEndpointAuthMethod: "none",
		}}
	}
	return auth.NewAuthorizationCodeHandler(config)
}

func ask(_ context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
	fmt.Println("authorize", args.URL)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return nil, err
	}
	q, err := url.ParseQuery(strings.TrimSpace(line))
	if err != nil {
		return nil, err
	}
	if code := q.Get("error"); code != "" {
		return nil, fmt.Errorf("%s: %s", code, cmp.Or(q.Get("error_description"), "no reason given"))
	}
	return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
}

func run(ctx context.Context, transport *mcp.StreamableClientTransport, tool string) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "goclient", Version: "1.0.0"}, nil)
	session, err := client.Connect(ctx, transport, nil)
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
