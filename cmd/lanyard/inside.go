package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/demo"
	"github.com/lanyardhq/lanyard/internal/reddit"
	"github.com/lanyardhq/lanyard/internal/runner"
	"github.com/lanyardhq/lanyard/internal/spotify"
)

// The commands of this file are hidden: Lanyard starts them itself.

// taskCommand runs one task, where the small program does not: see package runner.
func taskCommand() *cobra.Command {
	return &cobra.Command{
		Use: "task", Short: "Run one task, as ordered on standard input", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			return runner.Main(cmd.Context(), cmd.InOrStdin(), os.Environ(), logger)
		},
	}
}

// sandboxCommand becomes an MCP server, confined: see [runner.SandboxMain],
// which reads its arguments itself.
func sandboxCommand() *cobra.Command {
	return &cobra.Command{
		Use: "sandbox", Short: "Confine this process and become another program", Hidden: true, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error { return runner.SandboxMain(args) },
	}
}

// demoServerCommand is the MCP server of the demo provider's notes.
func demoServerCommand() *cobra.Command {
	return serverCommand("demo-server", "Serve the demo provider's notes over stdio", demo.ServeStdio)
}

// redditServerCommand is the MCP server of Reddit.
func redditServerCommand() *cobra.Command {
	return serverCommand("reddit-server", "Serve Reddit over stdio", reddit.ServeStdio)
}

// spotifyServerCommand is the MCP server of Spotify.
func spotifyServerCommand() *cobra.Command {
	return serverCommand("spotify-server", "Serve Spotify over stdio", spotify.ServeStdio)
}

// serverCommand is an MCP server of our own.
func serverCommand(use, short string, serve func(context.Context, io.Reader, io.Writer, func(string) string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := serve(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), os.Getenv)
			if cmd.Context().Err() != nil {
				return nil // ended by a signal, as it should be
			}
			return err
		},
	}
}
