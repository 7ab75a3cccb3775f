package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lockSuffix makes the name of a task's lock from that of its directory.
const lockSuffix = ".lock"

// place is a task's directory, and the lock that is held as long as the
// directory is in use. The kernel releases the lock of a process that dies. So
// that no directory is without one, the lock is made first and removed last.
type place struct {
	dir  string
	lock *os.File
}

// makePlace makes the directory of a task, which other users may pass through
// if open is set.
func makePlace(parent, id string, open bool) (*place, error) {
	if err := os.MkdirAll(parent, 0o711); err != nil {
		return nil, err
	}
	p, err := take(parent, id, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	err = os.Mkdir(p.dir, 0o700)
	if err == nil && open {
		// By name, because the umask may have taken the way through.
		err = errors.Join(os.Chmod(parent, 0o711), os.Chmod(p.dir, 0o711))
	}
	if err != nil {
		return nil, errors.Join(err, p.remove())
	}
	return p, nil
}

// take makes the lock file of a task, if there is none, and locks it.
func take(parent, id string, how int) (*place, error) {
	dir := filepath.Join(parent, id)
	for {
		f, err := os.OpenFile(dir+lockSuffix, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := flock(f, how); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		ours, err := f.Stat()
		named, nameErr := os.Stat(dir + lockSuffix)
		if err == nil && nameErr == nil && os.SameFile(ours, named) {
			return &place{dir, f}, nil
		}
		// Whoever had it before has removed the file: this one locks nothing.
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// remove removes the directory and then the lock.
func (p *place) remove() error {
	err := os.RemoveAll(p.dir)
	if err != nil {
		// A server may have closed directories of its own, as caches do.
		unseal(p.dir)
		err = os.RemoveAll(p.dir)
	}
	if err == nil {
		err = os.Remove(p.dir + lockSuffix)
	}
	return errors.Join(err, p.lock.Close())
}

// unseal opens every directory of a tree to its owner, as far as it can.
func unseal(dir string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return
	}
	defer root.Close()
	_ = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = root.Chmod(path, 0o700)
		}
		return nil
	})
}

// Alive reports whether a process of this machine, this one or another, runs
// the task. A task is not alive before [Launcher.Launch].
func (l *Launcher) Alive(id string) bool {
	f, err := os.Open(filepath.Join(l.Dir, id) + lockSuffix)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(flock(f, unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// Sweep removes what tasks left behind whose launcher was killed: processes,
// and directories with access tokens in them. It leaves alone what is in use.
func (l *Launcher) Sweep() {
	entries, err := os.ReadDir(l.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.Logger.Warn("directories of ended tasks not looked for", "err", err)
	}
	seen := map[string]bool{}
	for _, e := range entries {
		id := strings.TrimSuffix(e.Name(), lockSuffix)
		if seen[id] {
			continue
		}
		seen[id] = true
		if err := l.sweep(id); err != nil {
			l.Logger.Warn("a directory of an ended task was not removed, and may hold its access token: remove it", "err", err)
		}
	}
}

func (l *Launcher) sweep(id string) error {
	p, err := take(l.Dir, id, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", id, err)
	}
	endFamily(0, p.dir)
	return p.remove()
}
