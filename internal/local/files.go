package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lanyardhq/lanyard/internal/token"
)

// createWhole makes a file (0600) of that content unless there is one, and
// makes the directories above it (0700).
//
// The file is written under another name, and linked, which never replaces
// one. So nobody sees half of it, of two processes that begin at once both go
// on with the file of the one that won, and the final name is never opened and
// closed here: that would end the locks that SQLite holds on it elsewhere in
// this process (https://www.sqlite.org/howtocorrupt.html, section 2.2).
func createWhole(path string, content []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	draft := path + "." + token.NewID("new")
	f, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Link(draft, path)
	}
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, os.Remove(draft), syncDir(dir))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
