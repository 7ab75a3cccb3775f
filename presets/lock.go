package presets

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Lock is the pair of files that pins a server's dependency tree: every package
// with the hash of its archive. Both are empty where a server needs no lock.
type Lock struct {
	// Manifest is what the lock was made from: package.json, with the server's
	// package as the one dependency, or requirements.in, which may hold bounds
	// for others beside it.
	Manifest []byte
	// Lockfile is package-lock.json or requirements.txt.
	Lockfile []byte
}

// lockFiles are the names of a lock's manifest and lockfile, by registry. What
// comes from another registry is not installed.
var lockFiles = map[string][2]string{
	RegistryNPM:  {"package.json", "package-lock.json"},
	RegistryPyPI: {"requirements.in", "requirements.txt"},
}

// Packaged reports whether the program is installed from a lock.
func (p Program) Packaged() bool {
	_, ok := lockFiles[p.Registry]
	return ok
}

// LockFiles are the files of the server's lock, by name, as its package manager
// gets them. pip gets the lines that were checked and nothing else: by its rules a
// comment may end, and an option begin, where others see one comment.
func (s Server) LockFiles() map[string][]byte {
	names, ok := lockFiles[s.Server.Registry]
	if !ok {
		return nil
	}
	lockfile := s.Lock.Lockfile
	if s.Server.Registry == RegistryPyPI {
		lockfile = []byte(strings.Join(requirements(lockfile), "\n") + "\n")
	}
	return map[string][]byte{names[0]: s.Lock.Manifest, names[1]: lockfile}
}

// Hash is the hex SHA-256 over both files.
func (l Lock) Hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n", len(l.Manifest))
	h.Write(l.Manifest)
	h.Write(l.Lockfile)
	return hex.EncodeToString(h.Sum(nil))
}

// findLock looks beside the preset first, then where an earlier preset of that
// name has its lock: whoever overlays a preset to change its scopes need not
// copy the lock, and a lock of another version does not pass its check.
func findLock(roots []root, server, registry string) (Lock, error) {
	names := lockFiles[registry]
	for _, here := range slices.Backward(roots) {
		lock, err := readLock(here.fs, server, names)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return Lock{}, fmt.Errorf("the lock cannot be read: %w", err)
		}
	}
	article := "a"
	if registry == RegistryNPM {
		article = "an"
	}
	return Lock{}, fmt.Errorf("%s %s server needs locks/%s/%s and %s: lanyard presets lock %s makes them", article, registry, server, names[0], names[1], server)
}

// readLock reads the lock of a server. A missing one is [fs.ErrNotExist].
func readLock(root fs.FS, server string, names [2]string) (Lock, error) {
	dir := path.Join("locks", server)
	manifest, err := fs.ReadFile(root, path.Join(dir, names[0]))
	if err != nil {
		return Lock{}, err
	}
	lockfile, err := fs.ReadFile(root, path.Join(dir, names[1]))
	if err != nil {
		return Lock{}, err
	}
	return Lock{Manifest: manifest, Lockfile: lockfile}, nil
}

// checkLock says why the server's lock does not pin its package.
func (s Server) checkLock() error {
	if s.Server.Registry == RegistryPyPI {
		return s.Lock.checkPyPI(s.Server.Package, s.Server.Version)
	}
	return s.Lock.checkNPM(s.Server.Package, s.Server.Version)
}
