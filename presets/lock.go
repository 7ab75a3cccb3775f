package presets

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Lock is the pair of npm files that pins a server's dependency tree: every
// package with the hash of its archive. Both are empty where a server needs no
// lock.
type Lock struct {
	// Manifest is package.json: the server's package as the one dependency.
	Manifest []byte
	// Lockfile is package-lock.json.
	Lockfile []byte
}

// Hash is the hex SHA-256 over both files.
func (l Lock) Hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n", len(l.Manifest))
	h.Write(l.Manifest)
	h.Write(l.Lockfile)
	return hex.EncodeToString(h.Sum(nil))
}

// readLock reads the lock of a server. A missing one is [fs.ErrNotExist].
func readLock(root fs.FS, server string) (Lock, error) {
	dir := path.Join("locks", server)
	manifest, err := fs.ReadFile(root, path.Join(dir, "package.json"))
	if err != nil {
		return Lock{}, err
	}
	lockfile, err := fs.ReadFile(root, path.Join(dir, "package-lock.json"))
	if err != nil {
		return Lock{}, err
	}
	return Lock{Manifest: manifest, Lockfile: lockfile}, nil
}

// check says why a lock does not pin name@version.
func (l Lock) check(name, version string) error {
	var manifest struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	if err := json.Unmarshal(l.Manifest, &manifest); err != nil {
		return fmt.Errorf("package.json: %w", err)
	}
	if len(manifest.Dependencies) != 1 || manifest.Dependencies[name] != version {
		return fmt.Errorf("package.json must depend on %s %s and nothing else", name, version)
	}
	var lock struct {
		Version  int `json:"lockfileVersion"`
		Packages map[string]struct {
			Version   string `json:"version"`
			Integrity string `json:"integrity"`
			Link      bool   `json:"link"`
			// InBundle: part of another package's archive, under its hash.
			InBundle bool `json:"inBundle"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(l.Lockfile, &lock); err != nil {
		return fmt.Errorf("package-lock.json: %w", err)
	}
	if lock.Version < 2 {
		return errors.New("package-lock.json needs lockfileVersion 2 or 3: make it with npm 7 or newer")
	}
	if got := lock.Packages["node_modules/"+name].Version; got != version {
		return fmt.Errorf("package-lock.json locks %s %q, the preset wants %s", name, got, version)
	}
	for at, p := range lock.Packages {
		if at == "" || p.InBundle {
			continue
		}
		if p.Link || !strings.HasPrefix(p.Integrity, "sha512-") {
			return fmt.Errorf("package-lock.json has no sha512 integrity for %s", at)
		}
	}
	return nil
}
