package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/runner"
	"github.com/lanyardhq/lanyard/presets"
)

// shutdownGrace is how long requests may take to end after a signal.
const shutdownGrace = 5 * time.Second

func devCommand() *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run Lanyard on this machine",
		Long: `Run Lanyard on this machine: the same handlers as in the cloud, on SQLite and a
key file, with a demo provider so that the first connection needs no account.

Settings are environment variables, which a file .env in the working directory
may set: LANYARD_ADDR, LANYARD_DATA, LANYARD_BASE_URL, LANYARD_API_KEY,
LANYARD_PRESETS, LANYARD_RETURN_URLS, LANYARD_CONFIRM, LANYARD_SIGN_IN (with
LANYARD_OIDC_ISSUER, _DOMAINS, _SUBJECTS, _ANYBODY and _USER, the client as
SIGN_IN_CLIENT_ID and SIGN_IN_CLIENT_SECRET, or LANYARD_LOGIN_URL), LANYARD_START_ON,
LANYARD_IDLE_STOP, LANYARD_MAX_LIFE, LANYARD_KEEP_FRESH, LANYARD_SERVER_ENV,
LANYARD_SERVER_READ, LANYARD_DEMO_ADDR, LANYARD_WEBHOOK_URL, LANYARD_WEBHOOK_SECRET,
LANYARD_WEBHOOK_RETURN_URL, and a provider's client as GOOGLE_CLIENT_ID and
GOOGLE_CLIENT_SECRET; at a host of your own, with GITLAB_CLIENT_HOST.`,
		Example: `  lanyard dev
  LANYARD_ADDR=127.0.0.1:9000 LANYARD_DATA=/tmp/try lanyard dev`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			// A second signal ends the program at once.
			context.AfterFunc(ctx, stop)
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelInfo
			}
			return dev(ctx, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log what happens, not only what goes wrong")
	return cmd
}

// clientRules are the presets' [config.ClientRules]. They are read when they are
// asked first: most starts do not.
type clientRules func() (*presets.Catalogue, error)

func newClientRules(overlays []string) clientRules {
	return sync.OnceValues(func() (*presets.Catalogue, error) { return presets.Load(overlays) })
}

// provider is the one of that name in the environment; none if nobody knows it, or
// not in that kind, which is told to whoever connects.
func (r clientRules) provider(name, variant string) (presets.Provider, error) {
	catalogue, err := r()
	if err != nil {
		return presets.Provider{}, err
	}
	for _, p := range catalogue.Providers() {
		if flow.EnvPrefix(p.ID) != name {
			continue
		}
		if p, err := p.Resolve(variant, catalogue.Provider); err == nil {
			return p, nil
		}
	}
	return presets.Provider{}, nil
}

func (r clientRules) NeedsSecret(name, variant string) (bool, error) {
	p, err := r.provider(name, variant)
	return p.ClientAuth.NeedsSecret(), err
}

func (r clientRules) Unfit(name, variant, parameter, value string) (string, error) {
	p, err := r.provider(name, variant)
	known := p.ClientParameters()
	switch {
	case err != nil || len(known) == 0:
		return "", err
	case !slices.Contains(known, parameter):
		// Misspelt, it would leave the secret to the provider's default.
		return fmt.Sprintf("a client of %s has no such setting; there is %s", p.DisplayName, flow.ClientVariable(p.ID, known[0])), nil
	}
	return unfit(p.Parameters[parameter], value), nil
}

func dev(ctx context.Context, logger *slog.Logger) error {
	file, err := dotEnv()
	if err != nil {
		return err
	}
	for name, value := range file {
		if _, ok := os.LookupEnv(name); ok {
			continue
		}
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("the file .env sets %q: %w", name, err)
		}
	}
	if err := runner.Harden(); err != nil {
		logger.Warn("other programs of this user can read this process", "err", err)
	}
	cfg, err := config.Load(os.Getenv)
	if err != nil {
		return err
	}
	lacks, err := cfg.LeaveOutUnfinished(os.Environ(), newClientRules(cfg.Presets))
	if err != nil {
		return err
	}
	for _, lack := range lacks {
		logger.WarnContext(ctx, "an OAuth client is left out until it is complete", "why", lack)
	}
	ln, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w: end what listens there, or set LANYARD_ADDR", cfg.Addr, err)
	}
	defer ln.Close()
	m, err := newMachine(ctx, cfg, logger)
	if err != nil {
		return err
	}
	defer m.close()
	server := &http.Server{
		Handler: m.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(ln) }()
	if m.demo != nil {
		go func() { failed <- m.demo.Serve(m.demoListener) }()
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	m.run(work)
	if err := m.greet(ctx, os.Stdout); err != nil {
		return err
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
		err = nil
	}
	stop()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	m.launcher.Close(end) // first: open streams end with their servers
	_ = server.Shutdown(end)
	m.finish()
	return err
}
