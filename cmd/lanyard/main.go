// Command lanyard gives MCP servers one-click OAuth: it serves Lanyard on one
// machine (dev), and calls the API of any Lanyard, on a laptop or deployed.
//
// root.go has the settings that all commands share, failure.go the exit codes,
// text.go how answers are shown; each command has a file of its own.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends what does not end itself
	c := &cli{getenv: os.Getenv}
	cmd, err := c.root().ExecuteContextC(ctx)
	return c.report(cmd, err)
}
