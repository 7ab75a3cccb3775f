//go:build unix

package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"

	"github.com/lanyardhq/lanyard/internal/http1"
)

// ServeCommand serves a command's MCP at http://addr/mcp until ctx ends. All
// clients share one process, which gets our environment; with perClient each has
// its own, and may be asked back. An addr without a host
// means loopback. The process's standard error goes to ours.
func ServeCommand(ctx context.Context, addr string, command []string, perClient bool, logger *slog.Logger) error {
	if len(command) > 0 { // said now, and not to the first client
		if _, err := exec.LookPath(command[0]); err != nil {
			return fmt.Errorf("find the program (is it installed?): %w", err)
		}
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("the address must be host:port: %w", err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	logger.InfoContext(ctx, "serving mcp", "url", "http://"+ln.Addr().String()+"/mcp")
	return serve(ctx, ln, Command{Args: command, Env: os.Environ(), Stderr: os.Stderr}, perClient, logger)
}

// serve serves until ctx ends, and returns when the server is gone.
func serve(ctx context.Context, ln net.Listener, command Command, perClient bool, logger *slog.Logger) error {
	b := New(Config{Start: command.Start, PerClient: perClient, Logger: logger})
	defer b.Close()
	srv := &http1.Server{Handler: guard(ln.Addr(), b), Logger: logger}
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// guard serves /mcp, and keeps web pages out: one whose name was rebound to our address shows
// itself by Host, any other by Origin (MCP 2025-11-25, transports, security
// warning).
func guard(addr net.Addr, next http.Handler) http.Handler {
	listen, _, _ := net.SplitHostPort(addr.String())
	private := loopback(listen)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if private && !loopback(hostOf(r.Host)) {
			http.Error(w, "the Host header must name this machine", http.StatusForbidden)
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" {
			u, err := url.Parse(origin)
			if err != nil || u.Host != r.Host && !loopback(u.Hostname()) {
				http.Error(w, "requests from web pages are refused", http.StatusForbidden)
				return
			}
		}
		if r.URL.Path != "/mcp" {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func hostOf(hostport string) string {
	u := url.URL{Host: hostport}
	return u.Hostname()
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
