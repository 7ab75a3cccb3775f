package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/discover"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/install"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/notify"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/runner"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/internal/web"
	"github.com/lanyardhq/lanyard/presets"
)

// Times of the work in the background.
const (
	sweepEvery = 5 * time.Second
	purgeEvery = 10 * time.Minute
	keyTTL     = 5 * time.Minute
	keyUses    = 1 << 20
	// quietly is how long the end may take before it is explained.
	quietly = time.Second
)

// firstTaskUID is where the users of the tasks begin, far from real ones.
const firstTaskUID = 300000

// owner is who uses a machine of one's own.
const owner = "me"

// machine is everything of one machine, wired together.
type machine struct {
	cfg          config.Config
	logger       *slog.Logger
	db           *local.DB
	handler      http.Handler
	starter      *flow.Starter
	finisher     *flow.Finisher
	signIns      *signin.Starter
	signInEnds   *signin.Finisher
	oauth        *authserver.Server
	refresh      *refresh.Service
	webhooks     *notify.Service
	host         *host.Service
	launcher     *local.Launcher
	demo         *http.Server
	demoListener net.Listener
	demoURLFile  string
	apiKeyFile   string
	progress     progress
	now          func() time.Time
}

func newMachine(ctx context.Context, cfg config.Config, logger *slog.Logger) (m *machine, err error) {
	m = &machine{cfg: cfg, logger: logger, now: time.Now, apiKeyFile: filepath.Join(cfg.DataDir, "api-key")}
	if err := keyIsThere(cfg.DataDir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	// The key first: interrupted here, a first start leaves no data without one.
	keys, err := local.OpenKeys(filepath.Join(cfg.DataDir, "vault-key"))
	if err != nil {
		return nil, err
	}
	if m.db, err = local.Open(ctx, cfg.DataDir, m.now); err != nil {
		return nil, err
	}
	catalogue, err := presets.Load(cfg.Presets)
	if err != nil {
		return nil, err
	}
	apiKey, err := local.OpenAPIKey(cfg.APIKey, m.apiKeyFile)
	if err != nil {
		return nil, err
	}
	pages, err := page.New()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	deployment := map[string]string{"self": self}
	clients, err := m.startDemo(keys, catalogue, deployment)
	if err != nil {
		return nil, err
	}
	engine := &provider.Engine{AllowLoopback: true, Now: m.now, Logger: logger}
	sealed := &vault.Vault{
		Sealer: &vault.Sealer{Keys: &vault.CachedKeys{Keys: keys, TTL: keyTTL, MaxUses: keyUses, Now: m.now}, Rand: rand.Reader},
		Grants: m.db.Grants(), Audit: m.db.Audit(), Now: m.now,
	}
	m.starter = &flow.Starter{Store: m.db, Connections: m.db, Catalogue: catalogue, Clients: clients, Tenants: tenant{cfg},
		Finder: &discover.Finder{BaseURL: cfg.BaseURL, Registrations: m.db, AllowLoopback: true, Now: m.now, Logger: logger},
		Engine: engine, BaseURL: cfg.BaseURL, Deployment: deployment, Now: m.now}
	m.finisher = &flow.Finisher{Store: m.db, Connections: m.db, Catalogue: catalogue, Secrets: clients, Engine: engine,
		Vault: sealed, BaseURL: cfg.BaseURL, Deployment: deployment, Now: m.now, Logger: logger}
	issuers := &signin.Issuers{AllowLoopback: true, Now: m.now, Logger: logger}
	m.signIns = &signin.Starter{Store: m.db, Tenants: tenant{cfg}, Clients: clients, Sessions: m.starter, Issuers: issuers, BaseURL: cfg.BaseURL, Now: m.now}
	m.signInEnds = &signin.Finisher{Store: m.db, Tenants: tenant{cfg}, Secrets: clients, Sessions: m.starter, Issuers: issuers,
		BaseURL: cfg.BaseURL, Now: m.now, Logger: logger}
	m.oauth = &authserver.Server{Store: m.db.AuthServer(), Catalogue: catalogue, BaseURL: cfg.BaseURL,
		// Anybody names a document to be fetched, who reaches the address.
		AllowLoopback: cfg.Personal(),
		Redirects:     slices.Concat(authserver.DefaultRedirects, cfg.OAuthRedirects), Now: m.now, Logger: logger}
	m.refresh = &refresh.Service{Connections: m.db, Vault: sealed, Catalogue: catalogue, Secrets: clients, Engine: engine,
		Pace:    &refresh.Paced{Gates: m.db, Now: m.now, Logger: logger},
		BaseURL: cfg.BaseURL, Deployment: deployment, Window: cfg.KeepFresh, Now: m.now, Logger: logger}
	if m.webhooks, err = m.newWebhooks(ctx, keys); err != nil {
		return nil, err
	}
	m.refresh.Notify = m.webhooks
	if m.launcher, err = m.newLauncher(ctx, self); err != nil {
		return nil, err
	}
	m.host = &host.Service{Store: m.db, Connections: m.db, Catalogues: m.db, Tokens: m.refresh, Catalogue: catalogue,
		SignIns: m.oauth, Asker: m.starter, StepUp: true,
		Installer: &install.Installer{Dir: filepath.Join(cfg.DataDir, "packages"), Logger: logger, Progress: m.progress.say},
		Launcher:  m.launcher, BearerKey: keys.Derive("task bearers"), BaseURL: cfg.BaseURL, ControlURL: "http://" + cfg.Addr,
		Deployment: deployment, OnlyForCalls: cfg.StartOn == config.StartOnCall, AllowLoopback: true,
		IdleStop: cfg.IdleStop, MaxLife: cfg.MaxLife, Now: m.now, Logger: logger}
	m.mount(pages, apiKey, catalogue)
	return m, m.host.Reap(ctx, m.launcher.Alive)
}

// newWebhooks tells whoever LANYARD_WEBHOOK_URL names of connections' health.
func (m *machine) newWebhooks(ctx context.Context, keys *local.KeyFile) (*notify.Service, error) {
	to := notify.Endpoint{URL: m.cfg.WebhookURL, ReturnURL: m.cfg.WebhookReturnURL, LinkKey: keys.Derive("reconnect links")}
	if to.URL != "" {
		secret, err := local.OpenWebhookSecret(m.cfg.WebhookSecret, webhookSecretFile(m.cfg.DataDir))
		if err != nil {
			return nil, err
		}
		to.Secrets = []token.Secret{secret}
		if err := m.starter.CheckReturnURL(ctx, flow.DefaultTenant, to.ReturnURL); err != nil {
			return nil, fmt.Errorf("%w: LANYARD_WEBHOOK_RETURN_URL is none of LANYARD_RETURN_URLS", config.ErrInvalid)
		}
		if m.cfg.Confirm && to.ReturnURL == "" {
			m.logger.WarnContext(ctx, "who reconnects by the link in a webhook cannot be confirmed: set LANYARD_WEBHOOK_RETURN_URL")
		}
	}
	endpoint, err := local.NewWebhook(to)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	return &notify.Service{Endpoints: endpoint, Links: m.starter, Gates: m.db, BaseURL: m.cfg.BaseURL, AllowLoopback: true, Now: m.now, Logger: m.logger}, nil
}

// keyIsThere refuses to make a new key beside old data, which it could not open.
func keyIsThere(dir string) error {
	_, data := os.Stat(filepath.Join(dir, "lanyard.db"))
	_, key := os.Stat(filepath.Join(dir, "vault-key"))
	if data == nil && errors.Is(key, os.ErrNotExist) {
		return fmt.Errorf("%s holds connections but no vault-key, without which they cannot be opened: restore that file from a backup, or move the directory away to start afresh", dir)
	}
	return nil
}

// newLauncher gives each task a user of its own where that is possible: with
// root, and a data directory that other users can get through to. It removes
// what the tasks of a machine that was killed left behind.
func (m *machine) newLauncher(ctx context.Context, self string) (*local.Launcher, error) {
	program, err := beside(ctx)
	if err != nil {
		return nil, err
	}
	l := &local.Launcher{Command: []string{cmp.Or(program, self), "task"}, Dir: filepath.Join(m.cfg.DataDir, "tasks"),
		Read: append([]string{filepath.Join(m.cfg.DataDir, "packages")}, m.cfg.ServerRead...), ExtraEnv: m.cfg.ServerEnv, Logger: m.logger}
	if os.Geteuid() == 0 {
		// Others may pass through; each file in it is 0600.
		if err := os.Chmod(m.cfg.DataDir, 0o711); err == nil && local.OpenTo(m.cfg.DataDir) && local.OpenTo(self) {
			l.FirstUID = firstTaskUID
		} else {
			m.logger.Warn("servers run as this very user, because others cannot reach the data directory", "data", m.cfg.DataDir)
		}
	}
	if err := keptFrom(l, m.cfg.DataDir, "set LANYARD_DATA to a directory elsewhere, such as one in your home"); err != nil {
		return nil, err
	}
	if err := keptFrom(l, ".env", "start lanyard in another directory and keep the file there"); err != nil {
		return nil, err
	}
	l.Sweep()
	return l, nil
}

// keptFrom refuses a place of secrets that servers could read: the sandbox
// leaves them the system's directories and what they were given. What is closed
// to other users is safe from a server that is one.
func keptFrom(l *local.Launcher, path, remedy string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	by, ok := runner.Readable(path, l.Read)
	if !ok || l.FirstUID != 0 && info.Mode().Perm()&0o004 == 0 {
		return nil
	}
	if full, err := filepath.Abs(path); err == nil {
		path = full
	}
	return fmt.Errorf("%w: MCP servers could read the secrets in %s, because they may read %s: %s, or, if LANYARD_SERVER_READ names that, take it out",
		config.ErrInvalid, path, by, remedy)
}

func (m *machine) mount(pages *page.Pages, apiKey token.Secret, catalogue *presets.Catalogue) {
	site := &web.Site{BaseURL: m.cfg.BaseURL, Pages: pages, Keys: local.NewAPIKeys(apiKey, web.ErrUnauthorized),
		Sessions: m.starter, Tenants: tenant{m.cfg}, Local: m.cfg.Personal(), Logger: m.logger}
	connect := &web.Connect{Site: site, SignIns: m.signIns, OAuth: m.oauth, Flows: m.starter, Connections: m.db, Catalogue: catalogue, Audit: m.db.Audit(), ToolsCount: m.host.ToolsCount, Reconnected: m.host.Restart}
	mux := http.NewServeMux()
	handler := site.NotFound(mux)
	if m.cfg.SignIn.Way() == flow.Local {
		connect.Owner, connect.Foreign = owner, m.foreign
		handler = web.GuardCookies(handler, m.foreign)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	connect.Mount(mux)
	(&web.Callback{Site: site, SignIns: m.signInEnds, Flows: m.finisher, Catalogue: catalogue,
		Reconnected: m.host.Restart}).Mount(mux)
	(&web.Refresh{Site: site, Service: m.refresh, Connections: m.db, Flows: m.db, Grants: m.oauth.Store, Disconnected: m.host.Disconnected, Webhooks: m.webhooks}).Mount(mux)
	(&web.MCPRun{Site: site, Host: m.host, Connections: m.db, Catalogue: catalogue, SignIn: m.oauth, Grants: m.oauth.Store, Progress: m.progress.of}).Mount(mux)
	hosts := []string{m.cfg.Addr, web.HostOf(m.cfg.BaseURL)}
	if _, port, err := net.SplitHostPort(m.cfg.Addr); err == nil && m.cfg.Personal() {
		hosts = append(hosts, "localhost:"+port)
	}
	m.handler = web.GuardHost(handler, hosts...)
}

// foreign reports whether a request may come from a server that we run. Where
// servers have users of their own, a peer whose user cannot be told, because it
// hung up half, say, is taken for one.
func (m *machine) foreign(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || m.launcher.FirstUID == 0 || runtime.GOOS != "linux" {
		return false
	}
	uid, known := local.PeerUID(r.RemoteAddr, addr.String())
	return !known || m.launcher.Serves(uid)
}

// run starts the work in the background.
func (m *machine) run(ctx context.Context) {
	go m.refresh.Run(ctx, sweepEvery)
	go m.host.Run(ctx, sweepEvery)
	go func() {
		tick := time.NewTicker(purgeEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := m.db.Purge(ctx, m.now()); err != nil {
					m.logger.Warn("expired records not removed", "err", err)
				}
			}
		}
	}()
}

// greet says where to go. Where people sign in by link, the page is opened by one
// that only who reads this has.
func (m *machine) greet(ctx context.Context, w io.Writer) error {
	at := m.cfg.BaseURL + "/mcp/servers"
	if m.cfg.SignIn.Way() == flow.ByLink {
		_, path, err := m.starter.CreateLink(ctx, flow.LinkRequest{Tenant: flow.DefaultTenant, UserID: owner, TTL: flow.MaxLinkTTL, Owner: true})
		if err != nil {
			return err
		}
		at = m.cfg.BaseURL + path
	}
	_, err := fmt.Fprintf(w, "\n  Lanyard is running.\n\n  Open        %s\n  API key in  %s\n  Data in     %s\n\n  Ctrl-C ends it.\n\n", at, m.apiKeyFile, m.cfg.DataDir)
	return err
}

// finish waits for what would be lost with the process: an exchange with a
// provider whose result is not stored yet. Each has a deadline of its own.
func (m *machine) finish() {
	done := make(chan struct{})
	go func() {
		m.finisher.Wait()
		m.refresh.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(quietly):
		fmt.Fprintln(os.Stderr, "waiting for an answer of a provider; press Ctrl-C again to lose it")
		<-done
	}
}

func (m *machine) close() {
	if m.demo != nil {
		_ = m.demo.Close()
		_ = os.Remove(m.demoURLFile)
	}
	if err := m.db.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		m.logger.Warn("state not closed", "err", err)
	}
}

// tenant is the only one of a machine.
type tenant struct{ cfg config.Config }

func (t tenant) Tenant(_ context.Context, id string) (flow.Tenant, error) {
	if id != flow.DefaultTenant {
		return flow.Tenant{}, flow.ErrTenant
	}
	return flow.Tenant{ReturnURLs: t.cfg.ReturnURLs, Confirm: t.cfg.Confirm, SignIn: t.cfg.SignIn}, nil
}

// progress keeps the last line that installing each server said, and shows
// every line at the terminal.
type progress struct {
	mu   sync.Mutex
	last map[string]string
}

func (p *progress) say(server, line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = map[string]string{}
	}
	p.last[server] = line
	fmt.Fprintf(os.Stdout, "  %s: %s\n", server, line)
}

func (p *progress) of(server string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[server]
}
