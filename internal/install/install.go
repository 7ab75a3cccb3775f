// Package install puts the program of an MCP server on this machine: exactly
// the files that the preset's lock names, and none of their install scripts.
//
// Each server, version and lock has a directory of its own below
// [Installer].Dir, so an update never changes a tree that a task is running.
// A directory is filled under another name and renamed when it is complete;
// what is there is therefore whole, and two processes may install at once.
package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanyardhq/lanyard/presets"
)

// Errors of [Installer.Ensure], with what to do next in their text.
var (
	// ErrNotInstallable: trying again will not help; somebody has to install
	// Node.js or Python, or look at the preset and its lock.
	ErrNotInstallable = errors.New("the server cannot be installed")
	// ErrFetch: the package registry did not deliver; trying again may help.
	ErrFetch = errors.New("the server's packages could not be fetched")
)

const (
	// stamp holds the lock's hash, in a directory that is complete.
	stamp = ".lanyard-lock"
	// lockPoll is how often a waiting process looks whether it is its turn.
	lockPoll = 100 * time.Millisecond
)

// Installer installs servers. Ensure may be called concurrently.
type Installer struct {
	// Dir holds the installed servers. It is made when needed.
	Dir string
	// Logger may be nil for silence.
	Logger *slog.Logger
	// Progress, when not nil, is told in a sentence what is being waited for,
	// by whichever goroutine waits.
	Progress func(server, line string)
	// Node and NPM are the programs to use; "node" and "npm" when empty.
	Node, NPM string
	// Python is the interpreter to use; when empty, the first on PATH that will
	// do.
	Python string
	// Environ is the environment, os.Environ() when nil. npm and pip get the few
	// variables of it that they need.
	Environ []string
}

// Ensure returns the directory of the installed server, and installs it first
// if it is not there. For a server that needs no installation it is empty.
func (in *Installer) Ensure(ctx context.Context, s presets.Server) (string, error) {
	if !s.Server.Packaged() {
		return "", nil
	}
	if len(s.Lock.Lockfile) == 0 {
		return "", fmt.Errorf("%w: the preset %s has no lock", ErrNotInstallable, s.Name)
	}
	hash := s.Lock.Hash()
	name := s.Name + "-" + s.Server.Version + "-" + hash[:12]
	if !filepath.IsLocal(name) || filepath.Base(name) != name {
		return "", fmt.Errorf("%w: name or version of the preset %q make no file name", ErrNotInstallable, s.Name)
	}
	dir, err := filepath.Abs(filepath.Join(in.Dir, name))
	if err != nil {
		return "", err
	}
	if complete(dir, hash) {
		return dir, nil
	}
	// The tree is code, not secrets: servers run it under another uid.
	if err := os.MkdirAll(in.Dir, 0o755); err != nil {
		return "", fmt.Errorf("make the package directory: %w", err)
	}
	unlock, err := in.lock(ctx, s.Name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if complete(dir, hash) { // whoever held the lock has done it
		return dir, nil
	}
	return dir, in.install(ctx, s, dir, hash)
}

// install fills dir; the caller holds the server's lock.
func (in *Installer) install(ctx context.Context, s presets.Server, dir, hash string) error {
	prefix := ".new-" + s.Name + "." // no name holds a dot, so this is no other server's
	if err := in.sweep(prefix); err != nil {
		return fmt.Errorf("remove an interrupted installation: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), prefix)
	if err != nil {
		return fmt.Errorf("make a directory to install in: %w", err)
	}
	defer os.RemoveAll(work) // nothing is left of it once it is renamed

	began := time.Now()
	in.tell(s.Name, fmt.Sprintf("installing %s %s, which takes a moment the first time", s.Server.Package, s.Server.Version))
	for name, data := range s.LockFiles() {
		if err := os.WriteFile(filepath.Join(work, name), data, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	if s.Server.Registry == presets.RegistryPyPI {
		err = in.pipInstall(ctx, s, work)
	} else {
		err = in.npmCI(ctx, s, work)
	}
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, stamp), []byte(hash), 0o644); err != nil {
		return fmt.Errorf("finish the installation: %w", err)
	}
	if err := os.Chmod(work, 0o755); err != nil {
		return fmt.Errorf("finish the installation: %w", err)
	}
	// What may be in the way is not whole: it did not come from here, or its Python
	// has gone.
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove what is not a complete installation: %w", err)
	}
	if err := os.Rename(work, dir); err != nil {
		return fmt.Errorf("finish the installation: %w", err)
	}
	took := time.Since(began).Round(100 * time.Millisecond)
	in.tell(s.Name, fmt.Sprintf("installed %s %s in %s", s.Server.Package, s.Server.Version, took))
	if in.Logger != nil {
		in.Logger.InfoContext(ctx, "installed a server", "server", s.Name, "package", s.Server.Package, "version", s.Server.Version, "took", took)
	}
	return nil
}

func (in *Installer) tell(server, line string) {
	if in.Progress != nil {
		in.Progress(server, line)
	}
}

// sweep removes what installations that were killed have left. Only the holder
// of the server's lock has such directories, so nobody is using them.
func (in *Installer) sweep(prefix string) error {
	entries, err := os.ReadDir(in.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			if err := os.RemoveAll(filepath.Join(in.Dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// complete reports whether dir holds the whole installation of a lock.
func complete(dir, hash string) bool {
	got, err := os.ReadFile(filepath.Join(dir, stamp))
	if err != nil || string(got) != hash {
		return false
	}
	// The Python that a virtual environment was made with may have gone since.
	python := filepath.Join(dir, venvPython)
	if _, err := os.Lstat(python); err != nil {
		return true // none was
	}
	_, err = os.Stat(python)
	return err == nil
}

// lock makes the caller the only one, in this process or another, to install a
// server. The kernel releases the lock of a process that dies.
func (in *Installer) lock(ctx context.Context, server string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(in.Dir, "."+server+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the installation: %w", err)
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for told := false; ; told = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock the installation: %w", &fs.PathError{Op: "flock", Path: f.Name(), Err: err})
		}
		if !told {
			in.tell(server, "waiting: it is already being installed")
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}
