// Command runner is the small program for what runs beside an MCP server. It is
// in the image of each server as runner, and beside lanyard as lanyard-runner,
// where lanyard can do the same by itself:
//
//	runner            a task of ECS, as its environment says
//	runner task       a task of this machine: its [runner.Order] comes on
//	                  standard input
//	runner bridge [-addr HOST:PORT] [-clients shared|each] -- COMMAND…
//	                  what lanyard bridge becomes
//	runner sandbox …  how the first two start the server: [runner.SandboxMain]
//	runner version
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/lanyardhq/lanyard/internal/bridge"
	"github.com/lanyardhq/lanyard/internal/build"
	"github.com/lanyardhq/lanyard/internal/runner"
	"github.com/lanyardhq/lanyard/internal/task"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lanyard-runner:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == "sandbox" {
		return runner.SandboxMain(args[1:])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends what does not end itself
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	switch {
	case len(args) == 0 && onECS(os.Getenv):
		return runECS(ctx, logger)
	case len(args) == 1 && args[0] == "task":
		return runner.Main(ctx, os.Stdin, os.Environ(), logger)
	case len(args) > 1 && args[0] == "bridge":
		return serve(ctx, args[1:], logger)
	case len(args) == 1 && args[0] == "version":
		_, err := fmt.Println("lanyard-runner", build.Own())
		return err
	}
	return errors.New("this is a part of Lanyard, which starts it: see lanyard --help")
}

// runECS runs the task that the environment describes.
func runECS(ctx context.Context, logger *slog.Logger) error {
	if err := runner.Harden(); err != nil {
		return fmt.Errorf("keep other processes out of this one: %w", err)
	}
	cfg, err := ecsTask(ctx, os.Getenv, logger)
	if err != nil {
		return err
	}
	return runner.RunConfined(ctx, cfg, os.Environ())
}

// serve is lanyard bridge, which has checked the arguments.
func serve(ctx context.Context, args []string, logger *slog.Logger) error {
	flags := flag.NewFlagSet("bridge", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:0", "")
	clients := flags.String("clients", task.ClientsShared, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return bridge.ServeCommand(ctx, *addr, flags.Args(), *clients == task.ClientsEach, logger)
}
