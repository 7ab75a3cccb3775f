//go:build unix

package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/lanyardhq/lanyard/internal/nowait"
)

// straggle is how long output may still be read after the server ended: what
// it wrote is in the pipe already, but a process that it left behind in
// another group may keep the pipe open.
const straggle = time.Second

// Command starts a server as a process in a group of its own.
type Command struct {
	// Args are the program and its arguments. The program is looked up in the
	// caller's PATH.
	Args []string
	// Shim, if set, stands before Args: a program that prepares the process and
	// becomes it.
	Shim []string
	// Env is the whole environment.
	Env []string
	Dir string
	// UID and GID, if UID is not 0, are who the server runs as, without
	// supplementary groups.
	UID, GID uint32
	// Bounded keeps the server from having or gaining any capability (Linux, if we
	// have CAP_SETPCAP).
	Bounded bool
	// Grace is between SIGTERM and SIGKILL; 5 s if 0.
	Grace time.Duration
	// Secrets lists what [Child.Tail] must not show.
	Secrets func() []string
	// Stderr, if set, gets the server's standard error, as it is.
	Stderr io.Writer
}

// running is a started [Command].
type running struct {
	tail    *Tail
	cmd     *exec.Cmd
	in, out *os.File
	// toServer and fromServer are the same files.
	toServer, fromServer syscall.RawConn
	grace                time.Duration
	bounded              bool
	stop                 sync.Once
	// printed is closed when standard error is read to its end; exited when the
	// server and its group are gone too. Then err is set.
	printed, exited chan struct{}
	err             error
}

// Start implements [Start].
func (c Command) Start(context.Context) (Child, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("there is no command to start")
	}
	program, err := exec.LookPath(c.Args[0])
	if err == nil {
		program, err = filepath.Abs(program) // Dir is another directory than ours
	}
	if err != nil {
		return nil, fmt.Errorf("find the program (is it installed?): %w", err)
	}
	args := append(append(append([]string{}, c.Shim...), program), c.Args[1:]...)
	cmd := &exec.Cmd{Path: args[0], Args: args, Env: c.Env, Dir: c.Dir, SysProcAttr: attributes(c.UID, c.GID)}
	if cmd.Env == nil {
		cmd.Env = []string{} // exec would pass our own
	}
	r := &running{tail: &Tail{Secrets: c.Secrets}, cmd: cmd, grace: c.Grace, bounded: c.Bounded, printed: make(chan struct{}), exited: make(chan struct{})}
	if r.grace == 0 {
		r.grace = 5 * time.Second
	}
	return r, r.start(c.Stderr)
}

func (r *running) start(stderr io.Writer) error {
	stdin, in, err1 := os.Pipe()
	out, stdout, err2 := os.Pipe()
	errOut, errIn, err3 := os.Pipe()
	theirs := []*os.File{stdin, stdout, errIn}
	ours := []*os.File{in, out, errOut}
	err := errors.Join(err1, err2, err3)
	if err == nil {
		r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = stdin, stdout, errIn
		r.in, r.out = in, out
		r.toServer, err1 = in.SyscallConn()
		r.fromServer, err2 = out.SyscallConn()
		if err = errors.Join(err1, err2); err == nil {
			err = r.launch(errOut)
		}
	}
	for _, f := range theirs {
		_ = f.Close() // nil files say so, which is fine
	}
	if err != nil {
		for _, f := range ours {
			_ = f.Close()
		}
		return fmt.Errorf("start %s: %w", r.cmd.Path, err)
	}
	go func() {
		defer close(r.printed)
		defer errOut.Close()
		if stderr != nil {
			_, _ = io.Copy(io.MultiWriter(r.tail, stderr), errOut)
			return
		}
		_, _ = io.Copy(r.tail, errOut)
	}()
	return nil
}

// launch starts the process from a thread that stays until the process is
// gone: Linux sends the parent-death signal when the starting thread ends.
func (r *running) launch(errOut *os.File) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: it ends with the goroutine, and is used for nothing else
		var err error
		if r.bounded {
			err = bound()
		}
		if err == nil {
			err = r.cmd.Start()
		}
		started <- err
		if err != nil {
			return
		}
		err = r.cmd.Wait()
		r.signal(syscall.SIGKILL) // whatever it left behind in its group
		deadline := time.Now().Add(straggle)
		_ = r.out.SetReadDeadline(deadline)
		_ = errOut.SetReadDeadline(deadline)
		r.awaitGroup(deadline)
		<-r.printed // its last words, which say why it ended
		r.err = err
		close(r.exited)
	}()
	return <-started
}

func (r *running) signal(s syscall.Signal) bool {
	return syscall.Kill(-r.cmd.Process.Pid, s) == nil
}

// awaitGroup waits until no process of the group is left, or not for long
// where nobody collects the dead.
func (r *running) awaitGroup(deadline time.Time) {
	for r.signal(0) && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
}

func (r *running) Write(p []byte) (int, error) { return r.in.Write(p) }

// TryWrite implements [Child].
func (r *running) TryWrite(p []byte) (n int, err error) {
	failed := r.toServer.Control(func(fd uintptr) { n, err = nowait.Write(fd, p) })
	if errors.Is(err, syscall.EAGAIN) {
		err = nil
	}
	return n, errors.Join(failed, err)
}

// Await implements [Child].
func (r *running) Await(try func() bool) error {
	return r.fromServer.Read(func(uintptr) bool { return try() })
}

// TryRead implements [Child].
func (r *running) TryRead(p []byte) (n int, err error) {
	failed := r.fromServer.Control(func(fd uintptr) { n, err = nowait.Read(fd, p) })
	switch {
	case failed != nil:
		return 0, failed
	case errors.Is(err, syscall.EAGAIN):
		return 0, nil
	case n == 0 && err == nil:
		return 0, io.EOF
	}
	return n, err
}

// CloseOutput implements [Child].
func (r *running) CloseOutput() { _ = r.out.Close() }

func (r *running) Noise(line []byte) { r.tail.Noise(line) }
func (r *running) Tail() string      { return r.tail.String() }

// Stop implements [Child]: the end of input and SIGTERM, then SIGKILL.
func (r *running) Stop() error {
	r.stop.Do(func() {
		_ = r.in.Close()
		select {
		case <-r.exited:
			return
		default:
		}
		r.signal(syscall.SIGTERM)
		timer := time.NewTimer(r.grace)
		defer timer.Stop()
		select {
		case <-r.exited:
		case <-timer.C:
			r.signal(syscall.SIGKILL)
		}
	})
	<-r.exited
	return r.err
}
