// Command runner runs one task: see package runner. A parent starts it and
// writes a [runner.Order] to its standard input; "runner sandbox …" is how it
// starts the MCP server.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/lanyardhq/lanyard/internal/runner"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "runner:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) > 1 && os.Args[1] == "sandbox" {
		return runner.SandboxMain(os.Args[2:])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	return runner.Main(ctx, os.Stdin, os.Environ(), logger)
}
