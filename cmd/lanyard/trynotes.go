package main

import (
	"embed"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/lanyardhq/lanyard/presets"
)

// What notes a server's reads, loaded by its own interpreter: the least
// intrusive way that asks for no privilege.
//
//go:embed trynotes/notes.cjs trynotes/sitecustomize.py
var noters embed.FS

// notesFile is where they write, below the server's HOME.
const notesFile = ".lanyard-notes"

// notes is how the reads of one server are noted.
type notes struct {
	server presets.Server
	// dir holds the noter; empty: the server's program cannot be watched.
	dir string
}

func newNotes(s presets.Server) (notes, error) {
	n := notes{server: s}
	if !s.Server.Packaged() {
		return n, nil
	}
	dir, err := os.MkdirTemp("", "lanyard-notes-")
	if err != nil {
		return n, err
	}
	n.dir = dir
	for _, name := range []string{"notes.cjs", "sitecustomize.py"} {
		data, err := noters.ReadFile("trynotes/" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			n.remove()
			return n, err
		}
	}
	return n, nil
}

func (n notes) remove() {
	if n.dir != "" {
		_ = os.RemoveAll(n.dir)
	}
}

// environment adds what loads the noter to what the deployment gives servers.
func (n notes) environment(given map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, given)
	switch {
	case n.dir == "":
	case n.server.Server.Registry == presets.RegistryNPM:
		out["NODE_OPTIONS"] = strings.TrimSpace(out["NODE_OPTIONS"] + " --require=" + filepath.Join(n.dir, "notes.cjs"))
	default:
		out["PYTHONPATH"] = n.dir
	}
	return out
}

// maxNotes bounds the notes, in bytes.
const maxNotes = 1 << 20

// readNotes reads what the server has written, who may have put anything else in
// its place: a link, a pipe that nobody writes to.
func readNotes(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fs.ErrInvalid)
	}
	return io.ReadAll(io.LimitReader(f, maxNotes))
}

// fill says what was noted so far of what the preset gives the server.
func (n notes) fill(t *trial, tasks string) {
	t.Read, t.Unread = []string{}, []string{}
	found, _ := filepath.Glob(filepath.Join(tasks, "*", "home", notesFile))
	if n.dir == "" || len(found) != 1 {
		return
	}
	data, err := readNotes(found[0])
	if err != nil {
		return
	}
	t.Observed = true
	lines := strings.Split(string(data), "\n")
	given := map[string]string{}
	for _, name := range n.server.OAuthToEnvMapping {
		given[name] = "variable " + name
	}
	for name := range n.server.Env {
		given[name] = "variable " + name
	}
	for _, v := range n.server.EnvValues {
		given[v.Name] = "variable " + v.Name
	}
	for name, f := range n.server.CredentialFiles {
		path := f.Path
		if path == "" {
			path = ".lanyard/" + name
		}
		given["credential_files."+name] = "file " + path
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if slices.Contains(lines, given[name]) {
			t.Read = append(t.Read, name)
		} else {
			t.Unread = append(t.Unread, name)
		}
	}
}

// memoryBelow is the resident memory of all processes that this one started, in
// bytes; 0 where there is no /proc.
func memoryBelow() int64 {
	parents := map[string]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		data, _ := os.ReadFile(file)
		// pid (name) state parent …, and the name may hold anything.
		rest := string(data[strings.LastIndexByte(string(data), ')')+1:])
		if fields := strings.Fields(rest); len(fields) > 1 {
			parents[filepath.Base(filepath.Dir(file))] = fields[1]
		}
	}
	var total int64
	for pid := range parents {
		if below(parents, pid) {
			total += resident(pid)
		}
	}
	return total
}

func below(parents map[string]string, pid string) bool {
	self := strconv.Itoa(os.Getpid())
	for range 64 {
		parent, ok := parents[pid]
		if !ok || parent == self {
			return ok
		}
		pid = parent
	}
	return false
}

// resident is a process's VmRSS in bytes.
func resident(pid string) int64 {
	data, _ := os.ReadFile("/proc/" + pid + "/status")
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}
