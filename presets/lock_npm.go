package presets

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// npmLock is what matters of package-lock.json.
type npmLock struct {
	Version  int `json:"lockfileVersion"`
	Packages map[string]struct {
		Version   string `json:"version"`
		Integrity string `json:"integrity"`
		Link      bool   `json:"link"`
		// InBundle: part of another package's archive, under its hash.
		InBundle bool `json:"inBundle"`
		// Bin are the package's programs: paths below it, by name.
		Bin map[string]string `json:"bin"`
	} `json:"packages"`
}

func (l Lock) npm() (npmLock, error) {
	var lock npmLock
	if err := json.Unmarshal(l.Lockfile, &lock); err != nil {
		return npmLock{}, fmt.Errorf("package-lock.json: %w", err)
	}
	return lock, nil
}

// checkNPM says why a lock does not pin name@version.
func (l Lock) checkNPM(name, version string) error {
	var manifest struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	if err := json.Unmarshal(l.Manifest, &manifest); err != nil {
		return fmt.Errorf("package.json: %w", err)
	}
	if len(manifest.Dependencies) != 1 || manifest.Dependencies[name] != version {
		return fmt.Errorf("package.json must depend on %s %s and nothing else", name, version)
	}
	lock, err := l.npm()
	if err != nil {
		return err
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

// npmScript is the file that the package's program is in, below the directory
// that the lock is installed in. It is read from the lock, because whoever
// describes a task need not have the installed files.
func (s Server) npmScript() (string, error) {
	lock, err := s.Lock.npm()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoProgram, err)
	}
	at := "node_modules/" + s.Server.Package
	bins := lock.Packages[at].Bin
	names := slices.Sorted(maps.Keys(bins))
	name := cmp.Or(s.Server.Bin, path.Base(s.Server.Package))
	if s.Server.Bin == "" && len(names) == 1 {
		name = names[0]
	}
	script, ok := bins[name]
	if !ok {
		return "", fmt.Errorf("%w: the lock of %s knows no program %q, but these: %s. Name one as server.bin",
			ErrNoProgram, s.Server.Package, name, strings.Join(names, ", "))
	}
	if script == "" || !filepath.IsLocal(filepath.FromSlash(script)) {
		return "", fmt.Errorf("%w: bin of %s points outside the package", ErrNoProgram, s.Server.Package)
	}
	return filepath.Join(filepath.FromSlash(at), filepath.FromSlash(script)), nil
}
