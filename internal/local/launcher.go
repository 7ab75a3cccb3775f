package local

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/runner"
)

// Launcher starts a task as a process of this machine: the same runner, the
// same ticket exchange. The process is told everything over its standard
// input, which is also its lifeline: when this process dies, however, the
// task's input closes and the task ends.
type Launcher struct {
	// Command is the program that runs [runner.Main].
	Command []string
	// Dir is where tasks keep their private directories.
	Dir string
	// FirstUID, if not 0, gives each task a user of its own, from that one on.
	// It needs root.
	FirstUID uint32
	// Read and ExtraEnv are those of [runner.Config].
	Read     []string
	ExtraEnv map[string]string
	Logger   *slog.Logger

	mu      sync.Mutex
	running map[string]*process
	users   map[uint32]bool
}

type process struct {
	stdin io.Closer
	cmd   *exec.Cmd
	uid   uint32
	done  chan struct{}
}

// stopGrace is how long a runner may take to end its server.
const stopGrace = 15 * time.Second

// Launch implements [host.Launcher].
func (l *Launcher) Launch(ctx context.Context, s host.Start) error {
	if err := os.MkdirAll(l.Dir, 0o711); err != nil {
		return fmt.Errorf("make the tasks' directory: %w", err)
	}
	uid := l.user()
	order, err := json.Marshal(runner.Order{
		TaskID: s.TaskID, Ticket: s.Ticket, ControlURL: s.ControlURL, Secret: s.Identity,
		Dir: l.Dir, UID: uid, GID: uid, Read: l.Read, ExtraEnv: l.ExtraEnv,
	})
	if err != nil {
		return err
	}
	cmd := exec.Command(l.Command[0], l.Command[1:]...)
	cmd.Stderr = os.Stderr
	cmd.Env = []string{} // not nil: our own environment may hold client secrets
	for _, name := range []string{"PATH", "LANG", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		l.free(uid)
		return fmt.Errorf("start the task's process: %w", err)
	}
	p := &process{stdin: stdin, cmd: cmd, uid: uid, done: make(chan struct{})}
	l.mu.Lock()
	if l.running == nil {
		l.running = map[string]*process{}
	}
	l.running[s.TaskID] = p
	l.mu.Unlock()
	go l.reap(s.TaskID, p)
	if _, err := stdin.Write(append(order, '\n')); err != nil {
		return fmt.Errorf("tell the task's process what to do: %w", err)
	}
	l.Logger.InfoContext(ctx, "task started", "task", s.TaskID, "server", s.Server.Name, "pid", cmd.Process.Pid)
	return nil
}

func (l *Launcher) reap(id string, p *process) {
	err := p.cmd.Wait()
	l.mu.Lock()
	delete(l.running, id)
	l.mu.Unlock()
	l.free(p.uid)
	close(p.done)
	if err != nil {
		l.Logger.Warn("task's process ended", "task", id, "err", err)
	}
}

// user takes a user that no running task of this process has.
func (l *Launcher) user() uint32 {
	if l.FirstUID == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == nil {
		l.users = map[uint32]bool{}
	}
	uid := l.FirstUID
	for l.users[uid] {
		uid++
	}
	l.users[uid] = true
	return uid
}

func (l *Launcher) free(uid uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.users, uid)
}

// Stop implements [host.Launcher].
func (l *Launcher) Stop(ctx context.Context, id string) error {
	l.mu.Lock()
	p := l.running[id]
	l.mu.Unlock()
	if p == nil {
		return nil
	}
	_ = p.stdin.Close() // the lifeline: the runner ends its server and itself
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	case <-time.After(stopGrace):
	}
	return p.cmd.Process.Kill()
}

// Close ends every task of this process.
func (l *Launcher) Close(ctx context.Context) {
	l.mu.Lock()
	var ids []string
	for id := range l.running {
		ids = append(ids, id)
	}
	l.mu.Unlock()
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() { _ = l.Stop(ctx, id) })
	}
	wg.Wait()
}

// OpenTo reports whether other users of this machine can reach the path: each
// directory above it lets them through.
func OpenTo(path string) bool {
	path, err := filepath.Abs(path)
	for err == nil {
		info, statErr := os.Stat(path)
		if statErr == nil && info.IsDir() && info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if path == filepath.Dir(path) {
			return true
		}
		path = filepath.Dir(path)
	}
	return false
}

var _ host.Launcher = (*Launcher)(nil)
