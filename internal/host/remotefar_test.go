package host_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// grants stands in for package refresh with a provider whose tokens end when
// they are renewed.
type grants struct {
	store  connection.Store
	mu     sync.Mutex
	n      int
	broken error
	// tokens, checks and quiet are how often each was asked for.
	tokens, checks, quiet int
}

func (g *grants) current() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Sprint("canary-access-", g.n)
}

// version is the row's after so many renewals.
func version(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint("v", n)
}

// renew ends the current token. The row says so before the next is used.
func (g *grants) renew(ctx context.Context, k connection.Key) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
	_, _ = g.store.Update(ctx, k, func(c *connection.Connection) error {
		c.Set.AccessVersion = version(g.n)
		return nil
	})
}

func (g *grants) answer(ctx context.Context, who vault.Caller, k connection.Key, count *int) (token.Access, connection.Connection, error) {
	c, err := g.store.Get(ctx, k)
	if err != nil || !who.May(c) {
		return token.Access{}, c, errors.Join(err, vault.ErrForbidden)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	*count++
	c.Set.AccessVersion = version(g.n)
	return token.Access{Tokens: map[string]token.Token{"": {AccessToken: token.Secret(fmt.Sprint("canary-access-", g.n))}}}, c, g.broken
}

func (g *grants) Token(ctx context.Context, who vault.Caller, k connection.Key, _ time.Duration, _ string) (token.Access, connection.Connection, error) {
	return g.answer(ctx, who, k, &g.tokens)
}

func (g *grants) Check(ctx context.Context, who vault.Caller, k connection.Key, d refresh.Doubt, _ string) (token.Access, connection.Connection, error) {
	if d.Quiet {
		return g.answer(ctx, who, k, &g.quiet)
	}
	return g.answer(ctx, who, k, &g.checks)
}

func (g *grants) counts() (tokens, checks, quiet int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tokens, g.checks, g.quiet
}

// far is a remote server that nobody here wrote, mcp-go's, behind a bearer. It
// keeps what it was sent.
type far struct {
	*httptest.Server
	accept func(token string) bool
	mcp    http.Handler

	mu      sync.Mutex
	headers []http.Header
	bodies  []string
	refused int
}

// farMCP is a whole server with sessions of its own.
func farMCP() http.Handler {
	s := server.NewMCPServer("far", "1.0.0", server.WithToolCapabilities(false))
	s.AddTool(mcp.NewTool("whoami", mcp.WithString("text")), func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText("far: " + r.GetString("text", "") + " for " + clientOf(ctx)), nil
	})
	return server.NewStreamableHTTPServer(s, server.WithStateful(true))
}

func clientOf(ctx context.Context) string {
	if s, ok := server.ClientSessionFromContext(ctx).(server.SessionWithClientInfo); ok {
		return s.GetClientInfo().Name
	}
	return "nobody"
}

func newFar(t *testing.T, accept func(string) bool, handler http.Handler) *far {
	t.Helper()
	f := &far{accept: accept, mcp: handler}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	f.mu.Lock()
	f.headers, f.bodies = append(f.headers, r.Header.Clone()), append(f.bodies, string(body))
	ok := f.accept == nil || f.accept(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if !ok {
		f.refused++
	}
	handler := f.mcp
	f.mu.Unlock()
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="https://far.example/canary"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	handler.ServeHTTP(w, r)
}

// restart is a far server that has forgotten its sessions.
func (f *far) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mcp = farMCP()
}

// count is how many bodies had the text.
func (f *far) count(text string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.bodies {
		if strings.Contains(b, text) {
			n++
		}
	}
	return n
}

// newRemote is a world with a server that runs at the far one.
func newRemote(t *testing.T, url string) (*world, *grants, connection.Connection) {
	t.Helper()
	w, _ := newOrders(t, presets.Server{Name: "far", DisplayName: "Far", AuthType: presets.TypeOAuth,
		Server: presets.Program{Registry: presets.RegistryRemote, URL: url}})
	g := &grants{store: w.store}
	w.service.Tokens, w.service.AllowLoopback = g, true
	return w, g, w.connect("ada", "far")
}

// via passes a request on as the endpoint does.
func via(t *testing.T, s *host.Service, c connection.Connection, method, body string, header ...string) (*http.Response, string, error) {
	t.Helper()
	fresh, err := s.Connections.Get(t.Context(), c.Key)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://task.invalid/mcp", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.Upstream(fresh).RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

const (
	initializeFar = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"ada's client","version":"1"}}}`
	callTool      = `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"whoami","arguments":{"text":"hello"}}}`
)

// opens are the headers of a client's session.
func opens(inner string) []string {
	params := `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"ada's client","version":"1"}}`
	return []string{"Mcp-Session-Id", inner, "Lanyard-Session", base64.RawURLEncoding.EncodeToString([]byte(params)), "Lanyard-Client", "mct_1", "Mcp-Protocol-Version", "2025-11-25"}
}
