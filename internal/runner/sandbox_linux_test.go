package runner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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
	// What any user may read or write is not the server's either.
	outside, open := filepath.Join(dir, "outside"), filepath.Join(dir, "open")
	if err := errors.Join(os.WriteFile(outside, []byte("x"), 0o644), os.WriteFile(open, nil, 0o666), os.Chmod(open, 0o666)); err != nil {
		t.Fatal(err)
	}
	u := start(t, c, func(cfg *Config) { cfg.UID, cfg.GID, cfg.Sandbox, cfg.Dir = 65534, 65534, self, dir })
	u.connect()
	if got := u.tool("read", "$FILE"); got != "tok" {
		t.Errorf("the credential file: %s", got)
	}
	if got := u.tool("whoami", ""); !strings.HasPrefix(got, "uid 65534 gid 65534 groups [] nnp 1") {
		t.Errorf("it runs as %s", got)
	}
	if mine, err := os.ReadFile("/proc/self/status"); err != nil || canBound(string(mine)) {
		if got := u.tool("read", "/proc/self/status"); !strings.Contains(got, "CapBnd:\t0000000000000000") {
			t.Errorf("it could gain capabilities: %s", got)
		}
	}
	if mine, err := os.ReadFile("/proc/thread-self/status"); err != nil || strings.Contains(string(mine), "CapBnd:\t0000000000000000") {
		t.Errorf("we have lost them, too: %s", mine)
	}
	for _, tc := range []struct{ tool, arg, want string }{
		{"read", outside, "permission denied"},
		{"write", open, "permission denied"},
		{"mode", "$HOME/.config/a", "drwx------"},
		{"write", "$HOME/.config/a/b.json", "written"},
		{"read", "$FILE", "x"},
		{"mode", "$FILE", "-rw-------"},
		{"read", "/etc/passwd", "root:"},
		{"write", "$HOME/x", "written"},
		{"read", fmt.Sprintf("/proc/%d/environ", os.Getpid()), "permission denied"},
		{"signal", "", "operation not permitted"},
	} {
		if got := u.tool(tc.tool, tc.arg); got != tc.want && !strings.Contains(got, tc.want) {
			t.Errorf("%s %s: %.200s", tc.tool, tc.arg, got)
		}
	}
}

// canBound reports whether a process with this /proc/PID/status has CAP_SETPCAP.
func canBound(status string) bool {
	_, rest, _ := strings.Cut(status, "CapEff:\t")
	var has uint64
	_, err := fmt.Sscanf(rest, "%x", &has)
	return err == nil && has&(1<<unix.CAP_SETPCAP) != 0
}

func TestReadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "read"), 0o700), os.Symlink("/opt", link)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ path, read, by string }{
		{"/opt/lanyard/data", "", "/opt"},
		{"/usr", "", "/usr"},
		{"/etc/../srv/x", "", ""},
		{"/optional/data", "", ""},
		{link + "/data", "", "/opt"},
		{dir + "/data", "", ""},
		{dir + "/data", dir, dir},
		{dir + "/data", dir + "/read", ""},
		{dir + "/read", dir + "/read", dir + "/read"},
		{dir + "/read/deep/er", dir + "/read/", dir + "/read/"},
		{"/srv/data", "/", "/"},
	} {
		var read []string
		if tc.read != "" {
			read = []string{tc.read}
		}
		if by, ok := Readable(tc.path, read); by != tc.by || ok != (tc.by != "") {
			t.Errorf("%s beside %q: by %q", tc.path, tc.read, by)
		}
	}
}

// What was there before stays whose it is, and what is made is the server's,
// with nothing taken for it that a link leads to.
func TestHomeOwners(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	h, err := newHome(t.TempDir(), 65534, 65534)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.remove)
	outside := t.TempDir()
	if err := errors.Join(os.Mkdir(h.path("roots"), 0o700), os.Symlink(outside, h.path("leads-out"))); err != nil {
		t.Fatal(err)
	}
	if err := h.write("roots/new/file", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := h.write("leads-out/file", []byte("x")); err == nil {
		t.Error("written through a link that leads out")
	}
	for path, want := range map[string]uint32{h.dir: 65534, h.path(".config"): 65534, h.path("roots"): 0,
		h.path("roots/new"): 65534, h.path("roots/new/file"): 65534, outside: 0} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; got != want {
			t.Errorf("%s belongs to %d, want %d", path, got, want)
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
