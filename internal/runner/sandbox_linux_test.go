package runner

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
)

var self = []string{"/proc/self/exe", "sandbox"}

// A server that shares our user sees the system and its HOME, and nothing else.
func TestSandbox(t *testing.T) {
	t.Parallel()
	if !landlocked() {
		t.Skip("this kernel has no Landlock")
	}
	c := newControl(task.Claim{Access: access("x", time.Hour), Recipe: task.Recipe{Rotation: task.RotateNone}})
	outside := filepath.Join(t.TempDir(), "vault")
	allowed := filepath.Join(t.TempDir(), "package")
	for _, f := range []string{outside, allowed} {
		if err := os.WriteFile(f, []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u := start(t, c, func(cfg *Config) {
		cfg.Sandbox, cfg.Read = self, []string{filepath.Dir(allowed)}
	})
	u.connect()
	if os.Getuid() != 0 {
		// Root may read it in any case (CAP_PERFMON), and is given a UID.
		if got := u.tool("read", fmt.Sprintf("/proc/%d/environ", os.Getpid())); !strings.Contains(got, "permission denied") {
			t.Errorf("the runner's environment: %.200s", got)
		}
		if got := u.tool("signal", ""); got != "operation not permitted" {
			t.Errorf("signal to the runner: %s", got)
		}
	}
	for _, tc := range []struct{ tool, arg, want string }{
		{"read", outside, "permission denied"},
		{"write", outside, "permission denied"},
		{"read", allowed, "content"},
		{"write", allowed, "permission denied"},
		{"write", "$HOME/x", "written"},
		{"write", "$TMPDIR/x", "written"},
		{"read", "/etc/passwd", "root:"},
		{"read", "/dev/null", ""},
		{"write", "/etc/lanyard-test", "permission denied"},
		{"whoami", "", "nnp 1"},
	} {
		if got := u.tool(tc.tool, tc.arg); !strings.Contains(got, tc.want) {
			t.Errorf("%s %s: %.200s", tc.tool, tc.arg, got)
		}
	}
}

func TestOtherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	c := newControl(task.Claim{Access: access("tok", time.Hour), Recipe: task.Recipe{
		Rotation: task.RotateFile, Mapping: map[string]string{"credential_files.f": "FILE"},
		Files: map[string]task.File{"f": {Path: ".config/a/b.json", Template: "{{.access_token}}"}},
		// Its own directory is closed to others.
		Command: []string{"/proc/self/exe"},
	}})
	dir, err := os.MkdirTemp("", "lanyard-runner-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	u := start(t, c, func(cfg *Config) { cfg.UID, cfg.GID, cfg.Sandbox, cfg.Dir = 65534, 65534, self, dir })
	u.connect()
	if got := u.tool("whoami", ""); !strings.HasPrefix(got, "uid 65534 gid 65534 groups [] nnp 1") {
		t.Errorf("it runs as %s", got)
	}
	for _, tc := range []struct{ tool, arg, want string }{
		{"read", "$FILE", "tok"},
		{"mode", "$FILE", "-rw-------"},
		{"write", "$HOME/x", "written"},
		{"read", fmt.Sprintf("/proc/%d/environ", os.Getpid()), "permission denied"},
		{"signal", "", "operation not permitted"},
	} {
		if got := u.tool(tc.tool, tc.arg); got != tc.want && !strings.Contains(got, tc.want) {
			t.Errorf("%s %s: %.200s", tc.tool, tc.arg, got)
		}
	}
}

func TestInstalled(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/home/me/node_modules/.bin/slack": "/home/me/node_modules",
		"/data/venv/bin/mcp":               "/data/venv/bin /data/venv/lib /data/venv/lib64 /data/venv/pyvenv.cfg",
		"/home/me/server.js":               "/home/me/server.js",
	} {
		if got := strings.Join(installed(in), " "); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
