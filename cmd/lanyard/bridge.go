package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/bridge"
	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/task"
)

func bridgeCommand() *cobra.Command {
	var addr, clients string
	cmd := &cobra.Command{
		Use:   "bridge [--addr HOST:PORT] [--clients each] -- COMMAND...",
		Short: "Serve a stdio MCP server over Streamable HTTP",
		Long: `Serve a stdio MCP server over Streamable HTTP, at /mcp of the address, until
Ctrl-C. The command gets this environment. All clients share one process, which
cannot ask them back; with --clients each every client has a process of its own,
which may (sampling, elicitation, roots). Clients of MCP 2026-07-28 do not say who
they are: those with the same capabilities count as one.

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
			if clients != task.ClientsShared && clients != task.ClientsEach {
				return usagef("--clients must be %s or %s", task.ClientsShared, task.ClientsEach)
			}
			logger := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			if host != "" && !config.Loopback(host) {
				logger.WarnContext(cmd.Context(), "others can reach this address, and use the server without signing in", "addr", addr)
			}
			program, err := beside(cmd.Context())
			if err != nil {
				return err
			}
			if program != "" {
				args := append([]string{besideName, "bridge", "-addr", addr, "-clients", clients, "--"}, command...)
				return fmt.Errorf("become %s: %w", program, syscall.Exec(program, args, os.Environ()))
			}
			return bridge.ServeCommand(cmd.Context(), addr, command, clients == task.ClientsEach, logger)
		},
	}
	cmd.Flags().StringVar(&addr, "addr", "127.0.0.1:0", "where to listen; port 0 is any free one, which is printed")
	cmd.Flags().StringVar(&clients, "clients", task.ClientsShared, "shared: one process for all; each: one for every client")
	// What follows the command belongs to it, with or without a "--".
	cmd.Flags().SetInterspersed(false)
	return cmd
}
