// Command server is the MCP servers of our own, for the image of a task, where
// nothing is that could open more than a task has:
//
//	server reddit-server
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/lanyardhq/lanyard/internal/reddit"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) != 1 || args[0] != "reddit-server" {
		return errors.New("this is a part of Lanyard, which starts it: see lanyard --help")
	}
	err := reddit.ServeStdio(ctx, os.Stdin, os.Stdout, os.Getenv)
	if ctx.Err() != nil {
		return nil // ended by a signal, as it should be
	}
	return err
}
