package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/notify"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

const (
	apiKey   = "canary-api-key-0123456789"
	otherKey = "canary-api-key-of-another-tenant"
	loopURL  = "http://127.0.0.1:8080"
)

// shared are the parts that take long to load and never change.
var shared = sync.OnceValues(func() (*page.Pages, *presets.Catalogue) {
	pages, err := page.New()
	if err != nil {
		panic(err)
	}
	known, err := presets.Load(nil)
	if err != nil {
		panic(err)
	}
	return pages, known
})

// catalogue offers the servers of the tests and the providers that there are.
type catalogue struct{ *presets.Catalogue }

func (c catalogue) Servers() []presets.Server {
	program := presets.Program{Registry: presets.RegistryCommand, Command: []string{"true"}, Clients: task.ClientsShared}
	scopes := []presets.OAuthScope{{Scope: "notes.read", Why: "Read your notes"}}
	two := append(slices.Clone(scopes), presets.OAuthScope{Scope: "notes.write", Why: "Change your notes"})
	return []presets.Server{
		{Name: "chat", DisplayName: "Chat", AuthType: presets.TypeOAuth, OAuthService: "slack", OAuthScopes: scopes, Rotation: task.RotateRestart, Server: program,
			Catalogue: func() (*mcp.Catalogue, error) {
				return &mcp.Catalogue{Initialized: []byte(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"c","version":"1"}}`), Tools: []byte(`[{"name":"say_hello","inputSchema":{"type":"object"}}]`)}, nil
			}},
		{Name: "keyed", DisplayName: "Keyed", AuthType: presets.TypeAPIKey, Rotation: task.RotateNone, Server: program,
			EnvValues:  []presets.EnvValue{{Name: "KEY", Label: "API key", Secret: true}},
			Parameters: map[string]presets.Parameter{"shop": {Label: "Shop", Pattern: "[a-z]+"}}},
		{Name: "mail", DisplayName: "Mail", AuthType: presets.TypeOAuth, OAuthService: "demo", OAuthScopes: two, Rotation: task.RotateRestart, Server: program},
		{Name: "notes", DisplayName: "Notes", AuthType: presets.TypeOAuth, OAuthService: "demo", OAuthScopes: scopes, Rotation: task.RotateRestart, Server: program,
			Tools: []string{"whoami", "add"}},
		{Name: "tracker", DisplayName: "Tracker", AuthType: presets.TypeOAuth, OAuthService: "sites", OAuthScopes: scopes, Rotation: task.RotateRestart, Server: program},
		{Name: "unset", DisplayName: "Unset", AuthType: presets.TypeOAuth, OAuthService: "google", OAuthScopes: scopes, Rotation: task.RotateRestart, Server: program,
			OAuthEnable: []presets.Feature{{Name: "Mail API", URL: "https://console.test/mail"}, {Name: "Files API", URL: "https://console.test/files"}}},
		{Name: "unset-too", DisplayName: "Unset too", AuthType: presets.TypeOAuth, OAuthService: "google", OAuthScopes: scopes, Rotation: task.RotateRestart, Server: program,
			OAuthEnable: []presets.Feature{{Name: "Mail API", URL: "https://console.test/mail"}}},
	}
}

func (c catalogue) Server(name string) (presets.Server, bool) {
	for _, s := range c.Servers() {
		if s.Name == name {
			return s, true
		}
	}
	// One that says itself who grants access to it, and two of hosts that come with
	// the client.
	if name == "notion-remote" || name == "gitlab" || name == "github" {
		return c.Catalogue.Server(name)
	}
	return presets.Server{}, false
}

// Provider is the demo provider, too, as one whose grants are for sites.
func (c catalogue) Provider(id string) (presets.Provider, bool) {
	if id != "sites" {
		return c.Catalogue.Provider(id)
	}
	p, ok := c.Catalogue.Provider("demo")
	p.ID, p.Discovery = id, &presets.Discovery{Request: presets.APIRequest{URL: "{base}/sites"}, Kind: "site",
		ID: "id", Label: "url", Name: "name", Metadata: map[string]string{"site_id": "id"}}
	return p, ok
}

// site is all four functions on stores in memory, with a provider to talk to.
type site struct {
	t        testing.TB
	base     string
	handler  http.Handler
	store    *fake.Store
	clock    *clock
	starter  *flow.Starter
	vault    *vault.Vault
	refresh  *refresh.Service
	host     *host.Service
	connect  *Connect
	mcprun   *MCPRun
	oauth    *authserver.Server
	grants   authserver.Store
	provider *authServer
	tasks    *launcher
	log      *fake.Log
	confirm  bool
	foreign  func(*http.Request) bool
	// signIn is how people of the tenants sign in: of those that are not in it, by
	// link.
	signIn map[string]flow.SignIn
	// webhook is what trying the default tenant's endpoint says.
	webhook error
}

// Test implements [Webhooks].
func (s *site) Test(_ context.Context, tenant string) (int, error) {
	switch {
	case tenant != flow.DefaultTenant:
		return 0, notify.ErrNoEndpoint
	case s.webhook != nil:
		return 0, s.webhook
	}
	return http.StatusNoContent, nil
}

// Tenant implements [flow.Tenants].
func (s *site) Tenant(_ context.Context, id string) (flow.Tenant, error) {
	return flow.Tenant{SignIn: s.signIn[id], ReturnURLs: []string{"https://app.test/done", "https://app.test/in/"}, Confirm: s.confirm}, nil
}

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

// newSite serves base; owner signs people in as on somebody's own machine.
func newSite(t testing.TB, base, owner string) *site {
	t.Helper()
	pages, known := shared()
	s := &site{t: t, base: base, store: fake.New(), clock: &clock{}, log: &fake.Log{}, provider: newAuthServer(t)}
	logger := slog.New(slog.NewTextHandler(s.log, nil))
	cfg, err := config.Load(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	clients := cfg.Clients(func(id string) []string { return flow.ClientParameters(known, id) }, map[string]provider.Client{"demo": {ID: "lanyard", Secret: "canary-client-secret"}, "slack": {ID: "lanyard", Secret: "canary-client-secret"}, "sites": {ID: "lanyard", Secret: "canary-client-secret"},
		"github":          {ID: "lanyard", Secret: "canary-client-secret", Parameters: map[string]string{"host": "git.acme.example"}},
		flow.SignInClient: {ID: "lanyard", Secret: "canary-client-secret"}})
	cat := catalogue{known}
	deployment := map[string]string{"base": s.provider.url, "demo_base": s.provider.url}
	engine := &provider.Engine{AllowLoopback: true, Now: s.clock.now, Logger: logger}
	s.vault = &vault.Vault{Sealer: &vault.Sealer{Keys: fake.NewKeys(), Rand: rand.Reader}, Grants: s.store.Grants(), Audit: s.store.Audit(), Now: s.clock.now}
	s.starter = &flow.Starter{Store: s.store, Connections: s.store, Catalogue: cat, Clients: clients, Tenants: s, Engine: engine,
		BaseURL: base, Deployment: deployment, Now: s.clock.now}
	finisher := &flow.Finisher{Store: s.store, Connections: s.store, Catalogue: cat, Secrets: clients, Engine: engine, Vault: s.vault,
		BaseURL: base, Deployment: deployment, Now: s.clock.now, Logger: logger}
	s.refresh = &refresh.Service{Connections: s.store, Vault: s.vault, Catalogue: cat, Secrets: clients, Engine: engine,
		BaseURL: base, Deployment: deployment, Now: s.clock.now, Logger: logger}
	s.tasks = newLauncher(t, s)
	s.host = &host.Service{Store: s.store, Connections: s.store, Catalogues: s.store, Tokens: s.refresh, Catalogue: cat, Installer: nothingToInstall{}, Launcher: s.tasks,
		BearerKey: []byte("0123456789abcdef0123456789abcdef"), BaseURL: base, ControlURL: base, Deployment: deployment,
		IdleStop: time.Hour, Now: s.clock.now, Logger: logger}
	s.grants = s.store.AuthServer()
	s.oauth = &authserver.Server{Store: s.grants, Catalogue: cat, BaseURL: base, Redirects: authserver.DefaultRedirects, AllowLoopback: true, Now: s.clock.now, Logger: logger}
	s.host.SignIns, s.host.Asker, s.host.StepUp = s.oauth, s.starter, true
	issuers := &signin.Issuers{AllowLoopback: true, Now: s.clock.now, Logger: logger}
	foreign := func(r *http.Request) bool { return s.foreign != nil && s.foreign(r) }
	common := &Site{BaseURL: base, Pages: pages, Keys: keys{}, Sessions: s.starter, Tenants: s, Local: owner != "", Owner: owner, Foreign: foreign, Logger: logger}
	mux := http.NewServeMux()
	s.connect = &Connect{Site: common, Flows: s.starter, Connections: s.store, Catalogue: cat, Audit: s.store.Audit(), OAuth: s.oauth, ToolsCount: s.host.ToolsCount,
		SignIns:     &signin.Starter{Store: s.store, Tenants: s, Clients: clients, Sessions: s.starter, Issuers: issuers, BaseURL: base, Now: s.clock.now},
		Reconnected: s.host.Restart}
	s.connect.Mount(mux)
	(&Callback{Site: common, Flows: finisher, Catalogue: cat,
		SignIns:     &signin.Finisher{Store: s.store, Tenants: s, Secrets: clients, Sessions: s.starter, Issuers: issuers, BaseURL: base, Now: s.clock.now, Logger: logger},
		Reconnected: s.host.Restart}).Mount(mux)
	(&Refresh{Site: common, Service: s.refresh, Connections: s.store, Flows: s.store, Disconnected: s.host.Disconnected, Grants: s.grants, Webhooks: s}).Mount(mux)
	s.mcprun = &MCPRun{Site: common, Host: s.host, Connections: s.store, Catalogue: cat, Progress: func(string) string { return "" }, SignIn: s.oauth, Grants: s.grants}
	s.mcprun.Mount(mux)
	s.handler = GuardHost(GuardCookies(common.NotFound(mux), foreign), HostOf(base), "localhost:8080")
	t.Cleanup(func() {
		if strings.Contains(s.log.String(), "canary") {
			t.Errorf("a secret is in the log:\n%s", s.log)
		}
	})
	return s
}

type nothingToInstall struct{}

func (nothingToInstall) Ensure(context.Context, presets.Server) (string, error) { return "", nil }

// keys are the API keys of two tenants.
type keys struct{}

func (keys) Tenant(_ context.Context, key token.Secret) (string, error) {
	switch key.Reveal() {
	case apiKey:
		return flow.DefaultTenant, nil
	case otherKey:
		return "other", nil
	}
	return "", ErrUnauthorized
}

// connected stores a connection of the user with tokens that live an hour.
func (s *site) connected(user, server string) connection.Connection {
	s.t.Helper()
	now := s.clock.now().UTC()
	c := connection.Connection{Key: connection.Key{Tenant: flow.DefaultTenant, ID: token.NewID("con")}, UserID: user, Server: server,
		AuthType: "oauth", Provider: "demo", Status: connection.Connected, CreatedAt: now, ConnectedAt: now,
		Granted: connection.Granted{Account: connection.Account{Subject: user, Label: user + "@demo.example"},
			ScopesAsked: []string{"notes.read"}, Scopes: []string{"notes.read"}, ClientID: "lanyard"}}
	set := token.Set{
		Grant:  token.Grant{Renewables: map[string]token.Renewable{"": {RefreshToken: "canary-refresh-" + token.Secret(c.ID)}}},
		Access: token.Access{Tokens: map[string]token.Token{"": {AccessToken: "canary-access-" + token.Secret(c.ID), ExpiresAt: now.Add(time.Hour)}}},
	}
	var err error
	if c.Set, err = s.vault.Seal(s.t.Context(), vault.Caller{Tenant: c.Tenant, Actor: "test"}, c, token.NewID("set"), "connect", set); err != nil {
		s.t.Fatal(err)
	}
	if err := s.store.Create(s.t.Context(), c); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// letIn makes a grant for a client of the user, at a connection or, without one,
// at all their servers.
func (s *site) letIn(tenant, user, con string, change ...func(*authserver.Grant)) authserver.Grant {
	s.t.Helper()
	g := authserver.Grant{ID: token.NewID("gnt"), Tenant: tenant, UserID: user, ClientID: "https://client.test/metadata.json", ClientName: "A <b>client</b>",
		Connection: con, Code: authserver.Code{Taken: true}, CreatedAt: s.clock.now(), ExpiresAt: s.clock.now().Add(time.Hour)}
	if con != "" {
		c, err := s.store.Get(s.t.Context(), connection.Key{Tenant: tenant, ID: con})
		if err != nil {
			s.t.Fatal(err)
		}
		g.Server, g.Scopes = c.Server, c.Scopes
	}
	g.Resource = s.base + authserver.EndpointPath(tenant, g.Server)
	for _, f := range change {
		f(&g)
	}
	g.Access = []authserver.Access{{Hash: token.Hash(accessOf(g)), ExpiresAt: g.ExpiresAt}}
	if err := s.grants.AddGrant(s.t.Context(), g); err != nil {
		s.t.Fatal(err)
	}
	return g
}

// accessOf is the access token of a grant that letIn made.
func accessOf(g authserver.Grant) token.Secret {
	return token.Secret("lat_" + g.ID + ".canary" + strings.Repeat("-", 37))
}

// browser keeps cookies, and sends what browsers send.
type browser struct {
	s       *site
	cookies map[string]string
}

func (s *site) browser() *browser { return &browser{s, map[string]string{}} }

// signedIn is a browser with a page session of the user.
func (s *site) signedIn(user string, servers ...string) *browser {
	s.t.Helper()
	secret := token.NewSecret()
	_, cookie, err := s.starter.OpenSession(s.t.Context(), flow.Session{Tenant: flow.DefaultTenant, UserID: user, Browser: token.Hash(secret), Servers: servers})
	if err != nil {
		s.t.Fatal(err)
	}
	b := s.browser()
	b.cookies[b.name("browser")], b.cookies[b.name("session")] = secret.Reveal(), cookie.Reveal()
	return b
}

func (b *browser) name(cookie string) string {
	return (&Site{BaseURL: b.s.base}).cookieName(cookie)
}

func (b *browser) csrf() string { return csrf(token.Secret(b.cookies[b.name("browser")])) }

// send sends the request with the browser's cookies and keeps those it gets.
func (b *browser) send(method, path, body string, header ...string) *httptest.ResponseRecorder {
	rec := b.s.send(method, path, body, append([]string{"Cookie", b.jar()}, header...)...)
	for _, c := range rec.Result().Cookies() {
		b.cookies[c.Name] = c.Value
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return rec
}

func (b *browser) jar() string {
	var all []string
	for name, value := range b.cookies {
		all = append(all, name+"="+value)
	}
	return strings.Join(all, "; ")
}

// request is one of this browser's.
func (b *browser) request() *http.Request {
	r := httptest.NewRequest(http.MethodGet, b.s.base+"/", nil)
	r.Header.Set("Cookie", b.jar())
	return r
}

func (b *browser) get(path string) *httptest.ResponseRecorder {
	return b.send(http.MethodGet, path, "", "Sec-Fetch-Site", "same-origin")
}

// post sends a form of one of our pages.
func (b *browser) post(path string, fields ...string) *httptest.ResponseRecorder {
	form := url.Values{"csrf": {b.csrf()}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.send(http.MethodPost, path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded",
		"Origin", b.s.base, "Sec-Fetch-Site", "same-origin")
}

// fetch is a call that a script of one of our pages makes.
func (b *browser) fetch(method, path, body string) *httptest.ResponseRecorder {
	return b.send(method, path, body, "Content-Type", "application/json", "Origin", b.s.base, "Sec-Fetch-Site", "same-origin")
}

// api is a call of the tenant's backend.
func (s *site) api(method, path, body string, header ...string) *httptest.ResponseRecorder {
	return s.send(method, path, body, append([]string{"Authorization", "Bearer " + apiKey, "Content-Type", "application/json"}, header...)...)
}

func (s *site) send(method, path, body string, header ...string) *httptest.ResponseRecorder {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, s.base+path, reader)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		} else if header[i+1] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, r)
	return rec
}

var pageCode = regexp.MustCompile(`Code: <code>([a-z_]+)</code>`)

// codeOf is the stable code in a JSON answer or on a page.
func codeOf(rec *httptest.ResponseRecorder) string {
	if m := pageCode.FindStringSubmatch(rec.Body.String()); m != nil {
		return m[1]
	}
	var e struct{ Error string }
	_ = json.Unmarshal(rec.Body.Bytes(), &e)
	return e.Error
}

func want(t testing.TB, what string, rec *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	if rec.Code != status || codeOf(rec) != code {
		t.Errorf("%s: %d %q, want %d %q\n%s", what, rec.Code, codeOf(rec), status, code, excerpt(rec))
	}
}

func excerpt(rec *httptest.ResponseRecorder) string {
	body := rec.Body.String()
	if i := strings.Index(body, "<main"); i > 0 {
		body = body[i:]
	}
	return rec.Header().Get("Location") + " " + body[:min(len(body), 600)]
}

// field reads one field of a JSON answer.
func field(t testing.TB, rec *httptest.ResponseRecorder, name string) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &all); err != nil {
		t.Fatalf("%d %s: %v", rec.Code, rec.Body, err)
	}
	text, _ := all[name].(string)
	return text
}

var follow = regexp.MustCompile(`href="([^"]+)" rel="noreferrer" data-follow`)

// toProvider consents on our page, and returns where the provider is asked.
func (b *browser) toProvider(flowID string) *url.URL {
	b.s.t.Helper()
	if rec := b.get("/c/" + flowID); rec.Code != http.StatusOK {
		b.s.t.Fatalf("consent page: %d %s", rec.Code, excerpt(rec))
	}
	rec := b.post("/c/"+flowID, "action", "authorize")
	m := follow.FindStringSubmatch(rec.Body.String())
	if m == nil {
		b.s.t.Fatalf("consent: %d %s", rec.Code, excerpt(rec))
	}
	u, err := url.Parse(html.UnescapeString(m[1]))
	if err != nil {
		b.s.t.Fatal(err)
	}
	return u
}

// answer is the query that the provider sends the browser back with.
func (s *site) answer(asked *url.URL, more ...string) string {
	q := url.Values{"state": {asked.Query().Get("state")}, "iss": {s.provider.url}, "code": {"good"}}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
		if more[i+1] == "" {
			q.Del(more[i])
		}
	}
	return "/mcp/oauth/callback?" + q.Encode()
}

// start starts connecting the server from the page; it returns the flow's id.
func (b *browser) start(server string) string {
	b.s.t.Helper()
	rec := b.post("/mcp/servers/" + server + "/connect")
	id, ok := strings.CutPrefix(rec.Header().Get("Location"), "/c/")
	if !ok || rec.Code != http.StatusSeeOther {
		b.s.t.Fatalf("connect: %d %s", rec.Code, excerpt(rec))
	}
	return id
}
