// Command runner runs one task: see package runner. As an ECS task it is told
// what to do by its environment; elsewhere a parent starts it and writes a
// [runner.Order] to its standard input. "runner sandbox …" is how it starts the
// MCP server.
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
	if !onECS(os.Getenv) {
		return runner.Main(ctx, os.Stdin, os.Environ(), logger)
	}
	if err := runner.Harden(); err != nil {
		return fmt.Errorf("keep other processes out of this one: %w", err)
	}
	cfg, err := ecsTask(ctx, os.Getenv, logger)
	if err != nil {
		return err
	}
	return runner.RunConfined(ctx, cfg, os.Environ())
}
