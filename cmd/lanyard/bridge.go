package main

import (
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/bridge"
	"github.com/lanyardhq/lanyard/internal/config"
)

func bridgeCommand() *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use:   "bridge [--addr HOST:PORT] -- COMMAND...",
		Short: "Serve a stdio MCP server over Streamable HTTP",
		Long: `Serve a stdio MCP server over Streamable HTTP, at /mcp of the address, until
Ctrl-C. The command gets this environment, and all clients share one process.

There is no sign-in: whoever reaches the address uses the server. Needs no
running Lanyard.`,
		Example: `  lanyard bridge --addr 127.0.0.1:8808 -- npx -y @modelcontextprotocol/server-everything
  lanyard bridge -- ./my-server --verbose`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, command []string) error {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return usagef("--addr must be HOST:PORT, such as 127.0.0.1:8808")
			}
			logger := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			if host != "" && !config.Loopback(host) {
				logger.WarnContext(cmd.Context(), "others can reach this address, and use the server without signing in", "addr", addr)
			}
			return bridge.ServeCommand(cmd.Context(), addr, command, logger)
		},
	}
	cmd.Flags().StringVar(&addr, "addr", "127.0.0.1:0", "where to listen; port 0 is any free one, which is printed")
	// What follows the command belongs to it, with or without a "--".
	cmd.Flags().SetInterspersed(false)
	return cmd
}
