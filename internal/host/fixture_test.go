package host_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// childMode in the environment makes the test binary an MCP server.
const childMode = "LANYARD_HOST_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childMode) == "" {
		os.Exit(m.Run())
	}
	// The server does not start while the file that it is told of is there.
	if gate := os.Getenv("GATE"); gate != "" {
		if _, err := os.Stat(gate); err == nil {
			fmt.Fprintln(os.Stderr, "the notes API refused", os.Getenv("NOTES_TOKEN"))
			os.Exit(3)
		}
	}
	serveStdio()
}

// serveStdio is an MCP server with one tool, which tells the server's token.
func serveStdio() {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
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
		result := `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"t","version":"1"}}`
		switch m.Method {
		case "tools/list":
			result = `{"tools":[{"name":"whoami","inputSchema":{"type":"object"}}]}`
		case "tools/call":
			text, _ := json.Marshal(m.Params.Name + " " + os.Getenv("NOTES_TOKEN") + " " + m.Params.Arguments.Text)
			result = fmt.Sprintf(`{"content":[{"type":"text","text":%s}]}`, text)
		}
		fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", m.ID, result)
	}
}

// clock is the real one, which a test may move on.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// tokens stands in for package refresh. It asks, like the vault, who calls.
type tokens struct {
	store connection.Store

	mu     sync.Mutex
	calls  []string // "renew con_… 300s", "check con_…"
	broken error
}

func tokenOf(k connection.Key) string { return "canary-access-" + k.ID }

func (s *tokens) Token(ctx context.Context, who vault.Caller, k connection.Key, minTTL time.Duration, purpose string) (token.Access, connection.Connection, error) {
	return s.answer(ctx, who, k, fmt.Sprintf("%s %s %v", purpose, k.ID, minTTL))
}

func (s *tokens) Check(ctx context.Context, who vault.Caller, k connection.Key, d refresh.Doubt, purpose string) (token.Access, connection.Connection, error) {
	if d.Quiet {
		purpose = "quiet " + purpose
	}
	return s.answer(ctx, who, k, purpose+" "+k.ID+" "+d.Refused)
}

func (s *tokens) answer(ctx context.Context, who vault.Caller, k connection.Key, call string) (token.Access, connection.Connection, error) {
	c, err := s.store.Get(ctx, k)
	if err != nil {
		return token.Access{}, c, err
	}
	if !who.May(c) {
		return token.Access{}, c, vault.ErrForbidden
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	return token.Access{Tokens: map[string]token.Token{"": {AccessToken: token.Secret(tokenOf(k))}}}, c, s.broken
}

func (s *tokens) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

// count is how many calls began with that word.
func (s *tokens) count(word string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if strings.HasPrefix(c, word+" ") {
			n++
		}
	}
	return n
}

// catalogue has the servers of the tests: notes, mail, and one that is remote.
type catalogue map[string]presets.Server

func (c catalogue) Server(name string) (presets.Server, bool) { s, ok := c[name]; return s, ok }
func (c catalogue) Provider(string) (presets.Provider, bool)  { return presets.Provider{}, false }
func stdioServer(name string, env ...string) presets.Server {
	s := presets.Server{Name: name, AuthType: presets.TypeOAuth, Rotation: task.RotateRestart,
		OAuthToEnvMapping: map[string]string{"access_token": "NOTES_TOKEN"},
		Server:            presets.Program{Registry: presets.RegistryCommand, Command: []string{os.Args[0]}, Clients: task.ClientsShared},
		Env:               map[string]string{childMode: "1"}}
	for i := 0; i < len(env); i += 2 {
		s.Env[env[i]] = env[i+1]
	}
	return s
}

type installer struct{ err error }

func (i installer) Ensure(context.Context, presets.Server) (string, error) { return "", i.err }

// world is a host on stores in memory, with its endpoint served.
type world struct {
	t        *testing.T
	store    *fake.Store
	clock    *clock
	tokens   *tokens
	service  *host.Service
	endpoint *httptest.Server
	log      *fake.Log
}

// newWorld serves /mcp/{server} as package web does: bearer, then the endpoint.
func newWorld(t *testing.T, launcher host.Launcher, servers ...presets.Server) *world {
	t.Helper()
	w := &world{t: t, store: fake.New(), clock: &clock{}, log: &fake.Log{}}
	w.tokens = &tokens{store: w.store}
	known := catalogue{"remote": {Name: "remote", Server: presets.Program{Registry: presets.RegistryRemote}}}
	for _, s := range servers {
		known[s.Name] = s
	}
	for _, name := range []string{"notes", "mail"} {
		if _, ok := known[name]; !ok {
			known[name] = stdioServer(name)
		}
	}
	w.service = &host.Service{Store: w.store, Connections: w.store, Catalogues: w.store, Tokens: w.tokens, Catalogue: known, Installer: installer{},
		Launcher: launcher, BearerKey: []byte("0123456789abcdef0123456789abcdef"), BaseURL: "https://lanyard.test", ControlURL: "http://unused",
		IdleStop: 10 * time.Minute, Now: w.clock.now, Logger: slog.New(slog.NewTextHandler(w.log, nil))}
	w.endpoint = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.endpoint.Close)
	t.Cleanup(func() {
		if strings.Contains(w.log.String(), "canary") {
			t.Errorf("a secret is in the log:\n%s", w.log)
		}
	})
	return w
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	deny := func(rw http.ResponseWriter, err error) { http.Error(rw, err.Error(), http.StatusBadGateway) }
	challenge := func(code, _ string, scopes []string) string {
		return fmt.Sprintf("Bearer error=%q, scope=%q", code, strings.Join(scopes, " "))
	}
	tenant, server, ok := authserver.EndpointAt(strings.TrimSuffix(r.URL.Path, "/"))
	if !ok {
		http.NotFound(rw, r)
		return
	}
	if server == "" {
		who, err := w.service.BearerAll(r.Context(), token.Secret(bearer), tenant)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusUnauthorized)
			return
		}
		say := func(_ connection.Connection, err error) (string, string) { return err.Error(), "code" }
		w.service.ServeAll(rw, r, host.VisitAll{Holder: who, Say: say, Deny: deny, Challenge: challenge})
		return
	}
	c, who, err := w.service.Bearer(r.Context(), token.Secret(bearer), tenant, server)
	if err != nil && !errors.Is(err, host.ErrNotConnected) {
		http.Error(rw, err.Error(), http.StatusUnauthorized)
		return
	}
	w.service.Serve(rw, r, host.Visit{
		Connection: c, Holder: who, Refused: err, Challenge: challenge,
		Say:  func(err error) (string, string) { return err.Error(), "code" },
		Deny: deny,
	})
}

// connect stores a connection of the user.
func (w *world) connect(user, server string) connection.Connection {
	w.t.Helper()
	c := connection.Connection{Key: connection.Key{Tenant: "default", ID: token.NewID("con")}, UserID: user, Server: server,
		AuthType: "oauth", Status: connection.Connected, CreatedAt: w.clock.now()}
	if err := w.store.Create(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func page(user string) vault.Caller { return pageOf("default", user) }

func pageOf(tenant, user string) vault.Caller {
	return vault.Caller{Tenant: tenant, User: user, Actor: "page"}
}

// mint makes an MCP token for the connection.
func (w *world) mint(c connection.Connection) host.Minted {
	w.t.Helper()
	m, err := w.service.Mint(w.t.Context(), host.MintRequest{Caller: page(c.UserID), Connection: c.Key})
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// call is a call of a tool in the modern era, which needs nothing before it;
// [world.tryPost] adds its headers.
const call = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"whoami","arguments":{"text":"once"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// post sends a message to the server's endpoint, and returns status and body.
func (w *world) post(m host.Minted, body string, header ...string) (*http.Response, string) {
	w.t.Helper()
	resp, text, err := w.tryPost(m, body, header...)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, text
}

// tryPost is post for goroutines other than the test's own.
func (w *world) tryPost(m host.Minted, body string, header ...string) (*http.Response, string, error) {
	resp, err := w.send(context.Background(), http.MethodPost, m, body, header...)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp, string(data), err
}

// send is a request of an MCP client; the caller closes the answer's body. A
// header whose value is empty is left out.
func (w *world) send(ctx context.Context, method string, m host.Minted, body string, header ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.endpoint.URL+strings.TrimPrefix(m.URL, w.service.BaseURL), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	all := []string{"Authorization", "Bearer " + m.Token.Reveal(), "Content-Type", "application/json", "Accept", "application/json, text/event-stream"}
	if strings.Contains(body, mcp.MetaVersion) {
		all = append(all, mcp.VersionHeader, mcp.Modern, mcp.MethodHeader, methodOf(body))
	}
	if strings.Contains(body, `"tools/call"`) {
		all = append(all, mcp.NameHeader, "whoami")
	}
	all = append(all, header...)
	for i := 0; i < len(all); i += 2 {
		if req.Header.Set(all[i], all[i+1]); all[i+1] == "" {
			req.Header.Del(all[i])
		}
	}
	return w.endpoint.Client().Do(req)
}

func methodOf(body string) string {
	m, _ := mcp.Parse([]byte(body))
	return m.Method
}

// call starts a session and calls the tool with the text; it returns the
// tool's answer as it came over the wire.
func (w *world) call(m host.Minted, text string) string {
	w.t.Helper()
	resp, body := w.post(m, initialize)
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("initialize: %s %s", resp.Status, body)
	}
	session := resp.Header.Get("Mcp-Session-Id")
	resp, body = w.post(m, fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"whoami","arguments":{"text":%q}}}`, text), "Mcp-Session-Id", session)
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("tools/call: %s %s", resp.Status, body)
	}
	return body
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
