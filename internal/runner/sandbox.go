package runner

import (
	"os"
	"path/filepath"
	"strings"
)

// sandbox is the command that stands before the server's own. A server that
// runs as another user only loses the way to new privileges; one that shares
// our user is kept to its own files besides.
func (r *run) sandbox() []string {
	if len(r.cfg.Sandbox) == 0 {
		return nil
	}
	shim := append([]string{}, r.cfg.Sandbox...)
	if r.cfg.UID == 0 {
		shim = append(shim, "-write", r.home.dir)
		for _, d := range append(packagePaths(r.claim.Recipe.Command, r.cfg.Path), r.cfg.Read...) {
			shim = append(shim, "-read", d)
		}
	}
	return append(shim, "--")
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
