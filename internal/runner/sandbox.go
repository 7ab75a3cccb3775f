package runner

import (
	"os"
	"path/filepath"
	"strings"
)

// sandbox is the command that stands before the server's own. It keeps the
// server to its own files. One that runs as another user needs that less, but
// what is open to all users is not all meant for it.
func (r *run) sandbox() []string {
	if len(r.cfg.Sandbox) == 0 {
		return nil
	}
	shim := append(append([]string{}, r.cfg.Sandbox...), "-write", r.home.dir)
	for _, d := range append(packagePaths(r.claim.Recipe.Command, r.cfg.Path), r.cfg.Read...) {
		shim = append(shim, "-read", d)
	}
	return append(shim, "--")
}

// Readable reports whether a sandboxed server that shares our user can read the
// path, and by what it can: one of the system's directories, or one of read,
// which is that of [Config]. Symbolic links count as what they lead to.
func Readable(path string, read []string) (by string, ok bool) {
	path = resolved(path)
	for _, dir := range append(append([]string{}, systemDirs...), read...) {
		rel, err := filepath.Rel(resolved(dir), path)
		if err == nil && filepath.IsLocal(rel) {
			return dir, true
		}
	}
	return "", false
}

// resolved follows the links of a path, or of the part of it that exists.
func resolved(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if path == filepath.Dir(path) {
		return path
	}
	return filepath.Join(resolved(filepath.Dir(path)), filepath.Base(path))
}

// packagePaths guesses from a command what belongs to its program: for each file
// that it names, what was installed with it, with links followed.
func packagePaths(command []string, path string) []string {
	var paths []string
	for i, arg := range command {
		if i == 0 && !strings.ContainsRune(arg, os.PathSeparator) {
			arg = lookPath(arg, path)
		}
		if !filepath.IsAbs(arg) {
			continue
		}
		paths = append(paths, installed(arg)...)
		if real, err := filepath.EvalSymlinks(arg); err == nil && real != arg {
			paths = append(paths, installed(real)...)
		}
	}
	return paths
}

func lookPath(program, path string) string {
	for _, dir := range filepath.SplitList(path) {
		full := filepath.Join(dir, program)
		if info, err := os.Stat(full); err == nil && info.Mode().IsRegular() {
			return full
		}
	}
	return ""
}

// installed is what was installed together with a file: the node_modules that
// it is in; the library beside its bin; or nothing but itself. It is never a
// directory that could be somebody's home.
func installed(file string) []string {
	const modules = "/node_modules/"
	if i := strings.Index(file, modules); i >= 0 {
		return []string{file[:i+len(modules)-1]}
	}
	dir, prefix := filepath.Dir(file), filepath.Dir(filepath.Dir(file))
	if filepath.Base(dir) != "bin" {
		return []string{file}
	}
	return []string{dir, prefix + "/lib", prefix + "/lib64", prefix + "/pyvenv.cfg"}
}
