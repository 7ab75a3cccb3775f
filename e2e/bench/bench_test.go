package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	lanyard "github.com/lanyardhq/lanyard/internal/bridge"
)

// TestMain makes this program the servers, too, and a bridge.
func TestMain(m *testing.M) {
	if len(os.Args) > 4 && os.Args[1] == "bridge" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := lanyard.ServeCommand(ctx, os.Args[3], os.Args[5:], false, slog.New(slog.DiscardHandler)); err != nil {
			panic(err)
		}
		return
	}
	if len(os.Args) > 1 && (os.Args[1] == "echo" || os.Args[1] == "http") {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestRound measures what needs nothing to be installed, and none of it well: it
// is that the callers get their answers, and that there is a figure everywhere.
func TestRound(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the figures are read from /proc")
	}
	s := settings{lanyard: "/proc/self/exe", rounds: 1, callers: 4, length: 100 * time.Millisecond}
	log, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	subjects, err := start(s, log, ours)
	for _, sub := range subjects {
		t.Cleanup(sub.stop)
	}
	if err != nil {
		t.Fatal(err)
	}
	results, err := rounds(s, subjects)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		for _, s := range []sample{r.one[0], r.many[0]} {
			if s.rate < 1 || s.p50 <= 0 || s.p99 < s.p50 {
				t.Errorf("%s: %+v", r.name, s)
			}
		}
		if r.name != results[0].name && (r.own[0] < 1<<20 || r.tree[0] < r.own[0] || r.peak[0] < r.own[0]) {
			t.Errorf("%s: memory %+v", r.name, r)
		}
	}
	var out bytes.Buffer
	report(&out, s, append(results, results[2]))
	if said := out.String(); !strings.Contains(said, "lanyard bridge") || !strings.Contains(said, "4 callers  1.0 times") || !strings.Contains(said, "memory  1/1.0") {
		t.Errorf("%s", said)
	}
}
