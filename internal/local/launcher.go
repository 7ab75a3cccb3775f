package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/lanyardhq/lanyard/internal/build"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/runner"
)

// Launcher starts a task as a process of this machine: the same runner, the
// same ticket exchange. The process is told everything over its standard
// input, which is also its lifeline: when this process dies, however, the
// task's input closes and the task ends.
//
// A task has a directory of its own below Dir and a lock beside it, which are
// gone when it has ended, in whatever way. What a launcher that was killed left
// there is removed by the next one's [Launcher.Sweep]. Several processes may
// share Dir.
type Launcher struct {
	// Command is the program that runs [runner.Main].
	Command []string
	// Dir is where tasks keep their private directories.
	Dir string
	// FirstUID, if not 0, gives each task a user of its own, among the 2^20
	// from that one on. It needs root.
	FirstUID uint32
	// Read and ExtraEnv are those of [runner.Config].
	Read     []string
	ExtraEnv map[string]string
	Logger   *slog.Logger

	mu      sync.Mutex
	running map[string]*process
}

// process is a task under way.
type process struct {
	place *place
	stdin io.WriteCloser
	cmd   *exec.Cmd
	// done is closed when nothing of the task is left.
	done chan struct{}
}

const (
	// stopGrace is how long a runner may take to end its server.
	stopGrace = 15 * time.Second
	// killGrace is how long the rest may take once the runner was killed.
	killGrace = 5 * time.Second
	// taskUsers is how many users the tasks share.
	taskUsers = 1 << 20
)

// Launch implements [host.Launcher].
func (l *Launcher) Launch(ctx context.Context, s host.Start) error {
	place, err := makePlace(l.Dir, s.TaskID, l.FirstUID != 0)
	if err != nil {
		return fmt.Errorf("make the task's directory: %w", err)
	}
	uid := l.user(s.TaskID)
	order, err := json.Marshal(runner.Order{
		Version: build.Own().Source(), TaskID: s.TaskID, Ticket: s.Ticket, ControlURL: s.ControlURL, Secret: s.Identity,
		Dir: place.dir, UID: uid, GID: uid, Read: l.Read, ExtraEnv: l.ExtraEnv,
	})
	var p *process
	if err == nil {
		p, err = l.start(place)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("start the task's process: %w", err), place.remove())
	}
	l.mu.Lock()
	if l.running == nil {
		l.running = map[string]*process{}
	}
	l.running[s.TaskID] = p
	l.mu.Unlock()
	go l.reap(s.TaskID, p)
	if _, err := p.stdin.Write(append(order, '\n')); err != nil {
		return fmt.Errorf("tell the task's process what to do: %w", err)
	}
	l.Logger.InfoContext(ctx, "task started", "task", s.TaskID, "server", s.Server.Name, "pid", p.cmd.Process.Pid)
	return nil
}

// start starts the runner. Its session is how what it leaves behind is found,
// and keeps Ctrl-C at our terminal from it, which would end it before its
// server.
func (l *Launcher) start(place *place) (*process, error) {
	cmd := exec.Command(l.Command[0], l.Command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = place.dir // by which a sweep finds it
	cmd.Stderr = os.Stderr
	cmd.Env = []string{} // not nil: our own environment may hold client secrets
	for _, name := range []string{"PATH", "LANG", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	return &process{place: place, stdin: stdin, cmd: cmd, done: make(chan struct{})}, err
}

// reap waits for the runner's end and clears up what it could not itself,
// because it was killed.
func (l *Launcher) reap(id string, p *process) {
	pid := p.cmd.Process.Pid
	awaitExit(pid)
	endFamily(pid, p.place.dir) // until Wait, no other process can have the id
	if err := p.cmd.Wait(); err != nil {
		l.Logger.Warn("task's process ended", "task", id, "err", err)
	}
	if err := p.place.remove(); err != nil {
		l.Logger.Error("a task's directory was not removed, and may hold its access token: remove it", "dir", p.place.dir, "err", err)
	}
	l.mu.Lock()
	delete(l.running, id)
	l.mu.Unlock()
	close(p.done)
}

// user is who a task's server runs as. It follows from the task's id, so that
// processes that share a machine need not agree about it.
func (l *Launcher) user(id string) uint32 {
	if l.FirstUID == 0 {
		return 0
	}
	h := fnv.New32a()
	_, _ = io.WriteString(h, id)
	return l.FirstUID + h.Sum32()%taskUsers
}

// Serves reports whether a user of this machine is one that tasks' servers run
// as.
func (l *Launcher) Serves(uid uint32) bool {
	return l.FirstUID != 0 && uid >= l.FirstUID && uid-l.FirstUID < taskUsers
}

// Stop implements [host.Launcher]. It returns when nothing of the task is left.
// The end of ctx does not hurry it: whoever asked may hang up, and the server
// should end in its own way.
func (l *Launcher) Stop(_ context.Context, id string) error {
	l.mu.Lock()
	p := l.running[id]
	l.mu.Unlock()
	if p == nil {
		return nil
	}
	_ = p.stdin.Close() // the lifeline: the runner ends its server and itself
	if p.ends(stopGrace) {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the task's process: %w", err)
	}
	if !p.ends(killGrace) {
		return errors.New("the task's process was killed and is still there")
	}
	return nil
}

// ends waits until nothing of the task is left, but no longer than that.
func (p *process) ends(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

// Close ends every task of this process. It returns when they have ended or ctx
// has; those that take longer end by themselves, because their lifeline has.
func (l *Launcher) Close(ctx context.Context) {
	l.mu.Lock()
	var stops sync.WaitGroup
	for id := range l.running {
		stops.Go(func() {
			if err := l.Stop(ctx, id); err != nil {
				l.Logger.Warn("a task did not stop", "task", id, "err", err)
			}
		})
	}
	l.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		stops.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
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
