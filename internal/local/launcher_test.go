package local_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/runner"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// patience is for a machine that is busy with other things.
const patience = 60 * time.Second

// TestMain lets this program be what a launcher starts, too: see [runner.Main].
func TestMain(m *testing.M) {
	var err error
	switch strings.Join(os.Args[1:min(2, len(os.Args))], "") {
	case "task":
		err = runner.Main(context.Background(), os.Stdin, os.Environ(), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	case "sandbox":
		err = runner.SandboxMain(os.Args[2:])
	case "server":
		err = serveFamily()
	case "sleep":
		time.Sleep(10 * time.Minute)
	case "dial":
		if _, err = net.Dial("tcp", os.Args[2]); err == nil {
			time.Sleep(10 * time.Minute)
		}
	case "launcher":
		err = launchForever(os.Args[2])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveFamily is a server that has a grandchild, closes a directory of its own,
// tells about itself in HOME and then says nothing.
func serveFamily() error {
	child := exec.Command("/proc/self/exe", "sleep")
	child.Dir = "/" // nothing but its session tells whose it is
	if err := child.Start(); err != nil {
		return err
	}
	home := os.Getenv("HOME")
	said := fmt.Sprintf("%d %d %d\n", os.Getpid(), child.Process.Pid, os.Getuid())
	err := errors.Join(os.MkdirAll(home+"/cache/full", 0o700), os.Chmod(home+"/cache", 0),
		os.WriteFile(home+"/draft", []byte(said), 0o600), os.Rename(home+"/draft", home+"/family"))
	_, _ = io.Copy(io.Discard, os.Stdin)
	return err
}

// launchForever runs a task that does not end with its parent.
func launchForever(dir string) error {
	l := launcher(dir, "sh", "-c", "echo $$ >pid; exec sleep 600")
	if err := l.Launch(context.Background(), host.Start{TaskID: "tsk_theirs"}); err != nil {
		return err
	}
	fmt.Println("> launched")
	select {}
}

func launcher(dir string, command ...string) *local.Launcher {
	return &local.Launcher{Command: command, Dir: dir, Logger: slog.New(slog.DiscardHandler)}
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// dead reports whether no process with this id runs; a zombie is dead.
func dead(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(stat, []byte(") Z "))
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := filepath.Glob(dir + "/*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// controlRoutes hand out one recipe.
func controlRoutes(t *testing.T, recipe task.Recipe) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != task.ClaimPath {
			_, _ = io.WriteString(w, "{}")
			return
		}
		_ = json.NewEncoder(w).Encode(task.Claim{Bearer: "bearer", Recipe: recipe,
			Access: token.Access{Tokens: map[string]token.Token{"": {AccessToken: "the-access-token"}}}})
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// reachable is a copy of this program, and a directory, that other users can
// get through to.
func reachable(t *testing.T) (program, dir string) {
	t.Helper()
	base, err := os.MkdirTemp("", "lanyard-local-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	data, err := os.ReadFile("/proc/self/exe")
	program = filepath.Join(base, "lanyard")
	// A test that forks now would keep the file open for writing, and a program
	// that is cannot be started.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := errors.Join(err, os.Chmod(base, 0o711), os.WriteFile(program, data, 0o755)); err != nil {
		t.Fatal(err)
	}
	return program, filepath.Join(base, "tasks")
}

// A runner that is killed leaves nothing: no server, nothing that the server
// started, no directory with its tokens. One that is stopped does not either.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells which processes belong together")
	}
	for name, end := range map[string]func(*local.Launcher, int) error{
		"killed": func(_ *local.Launcher, runner int) error { return syscall.Kill(runner, syscall.SIGKILL) },
		"stopped": func(l *local.Launcher, _ int) error {
			gone, cancel := context.WithCancel(context.Background())
			cancel()
			return l.Stop(gone, "tsk_1")
		},
	} {
		for _, first := range []uint32{0, 400000} {
			t.Run(fmt.Sprint(name, " ", first), func(t *testing.T) {
				t.Parallel()
				if first != 0 && os.Getuid() != 0 {
					t.Skip("only root can be another user")
				}
				program, dir := reachable(t)
				l := launcher(dir, program, "task")
				l.FirstUID = first
				url := controlRoutes(t, task.Recipe{Command: []string{program, "server"}, Rotation: task.RotateFile,
					Files: map[string]task.File{"f": {Template: "{{.access_token}}"}}})
				if err := l.Launch(t.Context(), host.Start{TaskID: "tsk_1", Ticket: "t", Identity: "i", ControlURL: url}); err != nil {
					t.Fatal(err)
				}
				server, grandchild, uid := family(t, dir)
				if first != 0 && (uid < int(first) || uid >= int(first)+1<<20) {
					t.Errorf("the server runs as %d", uid)
				}
				if !l.Alive("tsk_1") || l.Alive("tsk_2") {
					t.Error("it is not the task that runs which is alive")
				}
				if err := end(l, parent(t, server)); err != nil {
					t.Error(err)
				}
				await(t, "server and grandchild are gone", func() bool { return dead(server) && dead(grandchild) })
				await(t, "the task is over", func() bool { return !l.Alive("tsk_1") })
				empty(t, dir)
			})
		}
	}
}

func family(t *testing.T, dir string) (server, grandchild, uid int) {
	t.Helper()
	await(t, "the server says who it is", func() bool {
		found, _ := filepath.Glob(dir + "/tsk_1/lanyard-task-*/home/family")
		if len(found) == 0 {
			return false
		}
		data, _ := os.ReadFile(found[0])
		n, _ := fmt.Sscan(string(data), &server, &grandchild, &uid)
		return n == 3
	})
	return server, grandchild, uid
}

func parent(t *testing.T, pid int) (ppid int) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(data), "PPid:")
	if _, scanErr := fmt.Sscan(rest, &ppid); err != nil || scanErr != nil {
		t.Fatal(err, scanErr)
	}
	return ppid
}

// The end of the caller's context does not cut short what a runner does to end.
func TestStopIsPatient(t *testing.T) {
	t.Parallel()
	dir, note := t.TempDir(), filepath.Join(t.TempDir(), "note")
	l := launcher(dir, "sh", "-c", "cat >/dev/null; sleep 0.3; echo ended well >'"+note+"'")
	if err := l.Launch(t.Context(), host.Start{TaskID: "tsk_1"}); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Stop(gone, "tsk_1"); err != nil {
		t.Error(err)
	}
	if said, _ := os.ReadFile(note); string(said) != "ended well\n" {
		t.Error("the runner was not let to end")
	}
	empty(t, dir)
}

// Close ends all tasks, but leaves those that take too long to themselves.
func TestClose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := launcher(dir, "sh", "-c", "cat >/dev/null")
	for _, id := range []string{"tsk_1", "tsk_2"} {
		if err := l.Launch(t.Context(), host.Start{TaskID: id}); err != nil {
			t.Fatal(err)
		}
	}
	l.Close(t.Context())
	empty(t, dir)

	release := filepath.Join(t.TempDir(), "release")
	l.Command = []string{"sh", "-c", "until [ -e '" + release + "' ]; do sleep 0.02; done"}
	if err := l.Launch(t.Context(), host.Start{TaskID: "tsk_3"}); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	l.Close(gone)
	if !l.Alive("tsk_3") {
		t.Error("it was killed")
	}
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "it ends by itself", func() bool { return !l.Alive("tsk_3") })
}

func TestLaunchFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := launcher(dir, filepath.Join(dir, "nothing"))
	if err := l.Launch(t.Context(), host.Start{TaskID: "tsk_1"}); err == nil || !strings.Contains(err.Error(), "start the task's process") {
		t.Error(err)
	}
	empty(t, dir)
}

// What a killed launcher left is removed, with the processes in it; what
// another launcher uses is not, until that one is killed, too.
func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, old := range []string{"tsk_old/lanyard-task-1/home", "lanyard-task-2/home"} {
		if err := os.MkdirAll(filepath.Join(dir, old), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "tsk_old.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	straggler := exec.Command(os.Args[0], "sleep")
	straggler.Dir = filepath.Join(dir, "tsk_old/lanyard-task-1/home")
	straggler.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // like a task's, it has no terminal
	if err := straggler.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = straggler.Process.Kill()
		_ = straggler.Wait()
	})
	theirs := exec.Command(os.Args[0], "launcher", dir)
	out, err := theirs.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Process.Kill() })
	if _, err := io.ReadFull(out, make([]byte, len("> launched\n"))); err != nil {
		t.Fatal(err)
	}

	l := launcher(dir, "sh")
	l.Sweep()
	if left, _ := filepath.Glob(dir + "/*"); len(left) != 2 || !l.Alive("tsk_theirs") || l.Alive("tsk_old") {
		t.Errorf("left: %v", left)
	}
	if runtime.GOOS == "linux" {
		await(t, "the straggler is gone", func() bool { return dead(straggler.Process.Pid) })
	}
	if err := theirs.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Wait()
	if l.Alive("tsk_theirs") {
		t.Error("a task is alive without its launcher")
	}
	var stuck int
	await(t, "the runner has begun", func() bool {
		data, _ := os.ReadFile(filepath.Join(dir, "tsk_theirs/pid"))
		n, _ := fmt.Sscan(string(data), &stuck)
		return n == 1
	})
	l.Sweep()
	empty(t, dir)
	if runtime.GOOS == "linux" {
		await(t, "the stuck runner is gone", func() bool { return dead(stuck) })
	}
	launcher(filepath.Join(dir, "never made"), "sh").Sweep()
}

// However the sweeps of several processes fall, no task loses its directory.
func TestSweepRaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := launcher(dir, "sh", "-c", "cat >/dev/null")
	over := make(chan struct{})
	var sweeps, tasks sync.WaitGroup
	for range 2 {
		sweeps.Go(func() {
			other := launcher(dir, "sh")
			for {
				select {
				case <-over:
					return
				default:
					other.Sweep()
				}
			}
		})
	}
	for i := range 4 {
		tasks.Go(func() {
			for j := range 5 {
				id := fmt.Sprint("tsk_", i, "_", j)
				if err := l.Launch(t.Context(), host.Start{TaskID: id}); err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(filepath.Join(dir, id)); err != nil || !l.Alive(id) {
					t.Errorf("%s has lost its place: %v", id, err)
				}
				if err := l.Stop(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
		})
	}
	tasks.Wait()
	close(over)
	sweeps.Wait()
	empty(t, dir)
}
