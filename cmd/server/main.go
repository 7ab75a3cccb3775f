// Command server is the MCP servers of our own, for the image of a task, where
// nothing is that could open more than a task has:
//
//	server reddit-server
//	server spotify-server
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/lanyardhq/lanyard/internal/reddit"
	"github.com/lanyardhq/lanyard/internal/spotify"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// servers are those of the image, by the argument that a preset gives.
var servers = map[string]func(context.Context, io.Reader, io.Writer, func(string) string) error{
	"reddit-server":  reddit.ServeStdio,
	"spotify-server": spotify.ServeStdio,
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) != 1 || servers[args[0]] == nil {
		return errors.New("this is a part of Lanyard, which starts it: see lanyard --help")
	}
	err := servers[args[0]](ctx, os.Stdin, os.Stdout, os.Getenv)
	if ctx.Err() != nil {
		return nil // ended by a signal, as it should be
	}
	return err
}
