// Package wire joins the handlers with their AWS adapters, as cmd/lanyard joins
// them with those of one machine. Each function has one constructor, which
// takes no more than that function may use.
package wire

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/discover"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/gateway"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/web"
	"github.com/lanyardhq/lanyard/presets"
)

// Build makes a function of what all of them share.
type Build func(ctx context.Context, b *Base) (*gateway.Function, error)

// Main runs a function. What is wrong with its settings ends it at once, in one
// line that says what.
func Main(name string, build Build) {
	f, err := start(context.Background(), build, os.Getenv)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
	lambda.Start(f.Handle)
}

func start(ctx context.Context, build Build, getenv func(string) string) (f *gateway.Function, err error) {
	defer func() {
		if p := recover(); p != nil {
			f, err = nil, fmt.Errorf("it panicked at its start: %v", p)
		}
	}()
	b, err := newBase(ctx, getenv)
	if err != nil {
		return nil, err
	}
	if f, err = build(ctx, b); err != nil {
		return nil, err
	}
	f.Logger = b.Logger
	return f, nil
}

// Base is what every function has: its settings, the table and the pages.
type Base struct {
	Settings  config.Function
	AWS       aws.Config
	Table     *cloud.Table
	Catalogue catalogue
	Site      *web.Site
	Starter   *flow.Starter
	OAuth     *authserver.Server
	Engine    *provider.Engine
	Logger    *slog.Logger
}

func newBase(ctx context.Context, getenv func(string) string) (*Base, error) {
	settings, err := config.LoadFunction(getenv)
	if err != nil {
		return nil, err
	}
	b := &Base{Settings: settings, Logger: slog.New(slog.NewJSONHandler(os.Stderr, nil))}
	if b.Catalogue, err = newCatalogue(settings); err != nil {
		return nil, err
	}
	if b.AWS, err = cloud.Load(ctx); err != nil {
		return nil, err
	}
	pages, err := page.New()
	if err != nil {
		return nil, err
	}
	b.Table = &cloud.Table{API: dynamodb.NewFromConfig(b.AWS), Name: settings.Table, Now: time.Now, AuditDays: settings.AuditDays}
	b.Engine = &provider.Engine{AllowLoopback: settings.Emulated, Now: time.Now, Logger: b.Logger}
	b.Starter = &flow.Starter{Store: b.Table, Connections: b.Table, Catalogue: b.Catalogue, Clients: b.Table.ClientIDs(), Tenants: b.Table.Tenants(),
		Finder: &discover.Finder{BaseURL: settings.BaseURL, Registrations: b.Table, AllowLoopback: settings.Emulated, Now: time.Now, Logger: b.Logger},
		Engine: b.Engine, BaseURL: settings.BaseURL, Now: time.Now}
	b.Site = &web.Site{BaseURL: settings.BaseURL, Pages: pages, Keys: b.Table.APIKeys(web.ErrUnauthorized), Sessions: b.Starter, Tenants: b.Table.Tenants(), Logger: b.Logger}
	b.OAuth = &authserver.Server{Store: b.Table.AuthServer(), Catalogue: b.Catalogue, BaseURL: settings.BaseURL, AllowLoopback: settings.Emulated,
		Redirects: slices.Concat(authserver.DefaultRedirects, settings.OAuthRedirects), Now: time.Now, Logger: b.Logger}
	return b, nil
}

// serve mounts the routes of a function. It answers when settled returns: what
// is not done by then stands still with the process, or is lost with it.
func (b *Base) serve(mount func(*http.ServeMux), settled func()) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mount(mux)
	h := b.Site.NotFound(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer settled()
		h.ServeHTTP(w, r)
	})
}

// Connect is the function connect.
func Connect(_ context.Context, b *Base) (*gateway.Function, error) {
	h := &web.Connect{Site: b.Site, SignIns: &signin.Starter{Store: b.Table, Tenants: b.Table.Tenants(), Clients: b.Table.ClientIDs(),
		Sessions: b.Starter, Issuers: b.issuers(), BaseURL: b.Settings.BaseURL, Now: time.Now}, Flows: b.Starter, Connections: b.Table, Catalogue: b.Catalogue, Audit: b.Table.Audit(),
		OAuth: b.OAuth, Viewer: viewer, Reconnected: unheard, ClientCommand: b.clientCommand}
	return &gateway.Function{HTTP: b.serve(h.Mount, func() {})}, nil
}

// viewer is the address that CloudFront saw: only what came through it gets to a
// function, and nobody else can set the header.
func viewer(r *http.Request) string { return r.Header.Get("X-Lanyard-Viewer") }

// issuers are where people sign in. Each function asks them for itself.
func (b *Base) issuers() *signin.Issuers {
	return &signin.Issuers{AllowLoopback: b.Settings.Emulated, Now: time.Now, Logger: b.Logger}
}

// clientCommand is how the operator sets a client for a provider.
func (b *Base) clientCommand(tenant, provider string) string {
	command := "lanyard client set " + provider + " --id CLIENT_ID"
	if b.Settings.Secrets != "lanyard" {
		command += " --deployment " + b.Settings.Secrets
	}
	if tenant != flow.DefaultTenant {
		command += " --tenant " + tenant
	}
	return command
}

// unheard: mcprun sees by the row that a connection changed.
func unheard(context.Context, connection.Key) {}

// catalogue are the presets that a deployment offers.
type catalogue struct {
	*presets.Catalogue
	offered func(presets.Server) bool
}

func newCatalogue(settings config.Function) (catalogue, error) {
	all, err := presets.Load(settings.Presets)
	if err != nil {
		return catalogue{}, fmt.Errorf("LANYARD_PRESETS: %w", err)
	}
	if len(settings.Servers) == 0 {
		return catalogue{all, portable}, nil
	}
	named := map[string]bool{}
	for _, name := range settings.Servers {
		if _, ok := all.Server(name); !ok {
			return catalogue{}, fmt.Errorf("%w: LANYARD_SERVERS names %q, for which there is no preset", config.ErrInvalid, name)
		}
		named[name] = true
	}
	return catalogue{all, func(s presets.Server) bool { return named[s.Name] }}, nil
}

// portable reports whether a server needs nothing that only a program on
// somebody's own machine can tell it, or is in one of ours.
func portable(s presets.Server) bool {
	for _, p := range s.Parameters {
		if p.Source == presets.SourceDeployment {
			return s.Own()
		}
	}
	return true
}

// Server implements [flow.Catalogue].
func (c catalogue) Server(name string) (presets.Server, bool) {
	s, ok := c.Catalogue.Server(name)
	if !ok || !c.offered(s) {
		return presets.Server{}, false
	}
	return s, true
}

// Servers implements [web.Catalogue].
func (c catalogue) Servers() (out []presets.Server) {
	for _, s := range c.Catalogue.Servers() {
		if c.offered(s) {
			out = append(out, s)
		}
	}
	return out
}
