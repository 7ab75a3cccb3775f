package runner

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// home is the private directory of a task, the only place where its server may
// write. The server may own it, so everything that the runner does there later
// goes through an [os.Root], which no symbolic link leads out of.
type home struct {
	// base holds everything else and is removed at the end.
	base string
	// dir is the server's HOME, tmp its TMPDIR, work where it starts.
	dir, tmp, work string
	root           *os.Root
	uid, gid       int
}

// The XDG base directories, below HOME.
var xdg = map[string]string{
	"XDG_CONFIG_HOME": ".config",
	"XDG_CACHE_HOME":  ".cache",
	"XDG_DATA_HOME":   ".local/share",
	"XDG_STATE_HOME":  ".local/state",
}

func newHome(parent string, uid, gid uint32) (_ *home, err error) {
	base, err := os.MkdirTemp(parent, "lanyard-task-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(base)
		}
	}()
	h := &home{base: base, dir: filepath.Join(base, "home"), uid: -1, gid: -1}
	h.tmp, h.work = filepath.Join(h.dir, "tmp"), filepath.Join(h.dir, "work")
	if uid != 0 {
		h.uid, h.gid = int(uid), int(gid)
		// Another user must get through to its HOME, and no further.
		if err := os.Chmod(base, 0o711); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		return nil, err
	}
	if h.root, err = os.OpenRoot(h.dir); err != nil {
		return nil, err
	}
	if err := h.giveDir("."); err != nil {
		return nil, err
	}
	dirs := []string{"tmp", "work"}
	for _, d := range xdg {
		dirs = append(dirs, d)
	}
	for _, d := range dirs {
		if err := h.mkdir(d); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// mkdir makes a directory below HOME and those above it, the server's own. What
// is there already stays whose it is.
func (h *home) mkdir(rel string) error {
	if parent := filepath.Dir(rel); parent != rel && parent != "." {
		if err := h.mkdir(parent); err != nil {
			return err
		}
	}
	err := h.root.Mkdir(rel, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return h.giveDir(rel)
}

// giveDir makes the server the owner of a directory. By the time that it is
// opened the name may mean something else: another directory of the server, at
// worst.
func (h *home) giveDir(rel string) error {
	d, err := h.root.OpenFile(rel, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(h.give(d), d.Close())
}

// give makes the server the owner, where it runs as another user. It takes an
// open file, because in a directory of the server's a name proves nothing.
func (h *home) give(f *os.File) error {
	if h.uid < 0 {
		return nil
	}
	return f.Chown(h.uid, h.gid)
}

// write replaces a file below HOME so that the server sees the old content or
// the new one and never a part.
func (h *home) write(rel string, data []byte) (err error) {
	if !filepath.IsLocal(rel) {
		return fmt.Errorf("the credential file's path %q leaves HOME", rel)
	}
	if err := h.mkdir(filepath.Dir(rel)); err != nil {
		return err
	}
	temp := filepath.Join(filepath.Dir(rel), ".lanyard-"+rand.Text())
	f, err := h.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = h.root.Remove(temp)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = h.give(f)
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = h.root.Rename(temp, rel)
	}
	return err
}

func (h *home) path(rel string) string { return filepath.Join(h.dir, rel) }

func (h *home) remove() {
	_ = h.root.Close()
	_ = os.RemoveAll(h.base) // what cannot be removed is on a tmpfs that ends with us
}
