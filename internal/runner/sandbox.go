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
		for _, d := range append(packageDirs(r.claim.Recipe.Command, r.cfg.Path), r.cfg.Read...) {
			shim = append(shim, "-read", d)
		}
	}
	return append(shim, "--")
}

// packageDirs guesses from a command what belongs to its program: for each file
// that it names, the tree that was installed as one, with links followed.
func packageDirs(command []string, path string) []string {
	var dirs []string
	for i, arg := range command {
		if i == 0 && !strings.ContainsRune(arg, os.PathSeparator) {
			arg = lookPath(arg, path)
		}
		if !filepath.IsAbs(arg) {
			continue
		}
		dirs = append(dirs, installRoot(arg))
		if real, err := filepath.EvalSymlinks(arg); err == nil && real != arg {
			dirs = append(dirs, installRoot(real))
		}
	}
	return dirs
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

// installRoot is the directory that holds node_modules, the prefix above bin,
// or else the file's own directory.
func installRoot(file string) string {
	sep := string(os.PathSeparator)
	if i := strings.Index(file, sep+"node_modules"+sep); i > 0 {
		return file[:i]
	}
	dir := filepath.Dir(file)
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		dir = file
	}
	if prefix := filepath.Dir(dir); filepath.Base(dir) == "bin" && prefix != sep {
		return prefix
	}
	return dir
}
