package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/demo"
)

func (c *cli) drillServeCommand() *cobra.Command {
	var addr string
	var with demo.Config
	cmd := &cobra.Command{
		Use:   "serve --redirect-uri URI",
		Short: "Serve a provider to rehearse with",
		Long: `Serve the demo provider by itself, so that a deployment can rehearse with it,
until Ctrl-C. ` + drillSecret + ` holds the secret of its client.

It has no passwords: whoever reaches it can be either of its people, Ada and
Grace, and has their notes; keep nothing else there. Off this machine it wants an
https --base-url, and something before it that ends TLS and passes connections
on as they are: a proxy that waits for whole answers hides what is rehearsed.`,
		Example: `  LANYARD_DRILL_SECRET=… lanyard drill serve --redirect-uri http://127.0.0.1:8080/mcp/oauth/callback
  LANYARD_DRILL_SECRET=… lanyard drill serve --addr 10.0.0.5:8090 --base-url https://drill.example.com \
      --redirect-uri https://connect.example.com/mcp/oauth/callback`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			with.ClientSecret = c.getenv(drillSecret)
			if with.ClientSecret == "" {
				return usagef("%s is not set: it holds the secret of the provider's client", drillSecret)
			}
			if len(with.RedirectURIs) == 0 {
				return usagef("--redirect-uri is missing: where people are sent back to, such as https://connect.example.com/mcp/oauth/callback")
			}
			return serveDrill(cmd, addr, with)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&addr, "addr", "127.0.0.1:8090", "where to listen; port 0 is any free one, which is printed")
	flags.StringVar(&with.BaseURL, "base-url", "", "the public `URL` of the provider (default: http:// and the address)")
	flags.StringVar(&with.ClientID, "client-id", "lanyard", "the `id` of its one client")
	flags.StringArrayVar(&with.RedirectURIs, "redirect-uri", nil, "a `URI` that people may be sent back to; may be repeated (required)")
	flags.DurationVar(&with.AccessTTL, "access-ttl", 5*time.Minute, "how long an access token lives")
	flags.StringVar(&with.DataFile, "data", "", "the `file` that keeps its state (default: memory)")
	return cmd
}

func serveDrill(cmd *cobra.Command, addr string, with demo.Config) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return usagef("--addr must be HOST:PORT, such as 127.0.0.1:8090")
	}
	ctx := cmd.Context()
	with.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	if !config.Loopback(host) {
		with.Logger.WarnContext(ctx, "others can reach this address, and be any of the provider's people", "addr", addr)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	defer ln.Close()
	if with.BaseURL == "" {
		with.BaseURL = "http://" + ln.Addr().String()
	}
	p, err := demo.New(with)
	if err != nil {
		return usageError{err}
	}
	server := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(with.Logger.Handler(), slog.LevelWarn)}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	fmt.Fprintf(cmd.OutOrStdout(), "The provider is at %s, its client is %q. Ctrl-C ends it.\n", with.BaseURL, with.ClientID)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// At once: an answer that is held back on purpose would take its time.
	if err := server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
