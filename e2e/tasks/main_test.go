//go:build linux

package tasks

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/bridge"
	"github.com/lanyardhq/lanyard/internal/runner"
)

// patience is for a machine that is busy with other things.
const patience = 60 * time.Second

// TestMain lets this program be what a launcher starts, too: see [runner.Main].
func TestMain(m *testing.M) {
	var err error
	switch strings.Join(os.Args[1:min(2, len(os.Args))], "") {
	case "runner":
		err = runner.Main(context.Background(), os.Stdin, os.Environ(), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	case "sandbox":
		err = runner.SandboxMain(os.Args[2:])
	case "bridge":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = bridge.ServeCommand(ctx, "127.0.0.1:0", os.Args[2:], false, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	case "spy":
		err = serveTools(os.Stdin, os.Stdout, spyTools())
	case "peek":
		err = peekAt(os.Args[2])
	case "caller":
		err = serveTools(os.Stdin, os.Stdout, callerTools())
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// open is a directory that other users can get through to.
func open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lanyard-tasks-")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
