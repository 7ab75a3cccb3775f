package install

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/presets"
)

const (
	wheelName = "acme_server-1.2-py3-none-any.whl"
	sdistName = "acme_server-1.2.tar.gz"
)

// wheel is a package whose program prints a line and its arguments.
func wheel(t *testing.T) []byte {
	t.Helper()
	const info = "acme_server-1.2.dist-info/"
	files := map[string]string{
		"acme_server.py":          "import sys\ndef main():\n    print('served', *sys.argv[1:])\n",
		info + "METADATA":         "Metadata-Version: 2.1\nName: acme-server\nVersion: 1.2\nRequires-Dist: never-fetched\n",
		info + "WHEEL":            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		info + "entry_points.txt": "[console_scripts]\nacme-server = acme_server:main\n",
	}
	var record strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256([]byte(files[name]))
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", name, base64.RawURLEncoding.EncodeToString(sum[:]), len(files[name]))
	}
	files[info+"RECORD"] = record.String() + info + "RECORD,,\n"
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sdist is the same release as source, whose installation would make a file.
func sdist(t *testing.T, trace string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for name, text := range map[string]string{
		"acme_server-1.2/setup.py": fmt.Sprintf("open(%q, 'w').close()\nfrom setuptools import setup\nsetup(name='acme-server', version='1.2')\n", trace),
		"acme_server-1.2/PKG-INFO": "Metadata-Version: 2.1\nName: acme-server\nVersion: 1.2\n",
	} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// pypiAcme is a server whose lock names what is in files, by name.
func pypiAcme(files map[string][]byte) presets.Server {
	lock := "acme-server==1.2"
	for _, data := range files {
		lock += fmt.Sprintf(" \\\n    --hash=sha256:%x", sha256.Sum256(data))
	}
	return presets.Server{
		Name:   "acme",
		Server: presets.Program{Registry: presets.RegistryPyPI, Package: "acme-server", Version: "1.2"},
		Lock:   presets.Lock{Manifest: []byte("acme-server==1.2\n"), Lockfile: []byte(lock + "\n")},
	}
}

// whileBusy is for what really makes virtual environments, which takes seconds
// of a processor each.
func whileBusy(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// index is a package index on this machine that offers files, and an installer
// that knows no other.
func index(t *testing.T, files map[string][]byte) (*Installer, *httptest.Server) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("CI") == "" {
			t.Skip("Python is not installed")
		}
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if data, ok := files[filepath.Base(r.URL.Path)]; ok {
			_, _ = w.Write(data)
			return
		}
		if r.URL.Path != "/simple/acme-server/" {
			t.Errorf("the index was asked for %s", r.URL.Path)
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		for name := range files {
			fmt.Fprintf(w, "<a href=\"/files/%s\">%[1]s</a>\n", name)
		}
	}))
	t.Cleanup(s.Close)
	home := t.TempDir()
	return &Installer{Dir: filepath.Join(home, "packages"), Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home,
		"PIP_CONFIG_FILE=/dev/null", "PIP_INDEX_URL=" + s.URL + "/simple/", "PIP_RETRIES=0", "PIP_USER=1", "PIP_TARGET=" + filepath.Join(home, "elsewhere")}}, s
}

// TestPyPI: what the lock names is installed and runs from where it ends up,
// is there again without the index, and is made anew when its Python is gone.
func TestPyPI(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{wheelName: wheel(t), sdistName: sdist(t, filepath.Join(t.TempDir(), "trace"))}
	in, server := index(t, files)
	s := pypiAcme(files)
	s.Server.Args = []string{"--stdio"}
	dir, err := in.Ensure(whileBusy(t), s)
	if err != nil {
		t.Fatal(err)
	}
	works := func() {
		t.Helper()
		r, err := s.Recipe(dir, presets.Inputs{})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(r.Command[0], r.Command[1:]...)
		cmd.Env = []string{}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "served --stdio\n" {
			t.Errorf("%q: %v %s", r.Command, err, out)
		}
	}
	works()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("another uid cannot read the installation: %v %v", info.Mode(), err)
	}
	if left := unfinished(t, in.Dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	link := filepath.Join(dir, venvPython)
	if err := errors.Join(os.Remove(link), os.Symlink("/nowhere/python3", link)); err != nil {
		t.Fatal(err)
	}
	if again, err := in.Ensure(whileBusy(t), s); err != nil || again != dir {
		t.Fatalf("without its Python: %s %v", again, err)
	}
	works()

	server.Close()
	if again, err := in.Ensure(whileBusy(t), s); err != nil || again != dir {
		t.Errorf("without the index: %s %v", again, err)
	}
}

// TestPyPIRefuses: what does not come as the lock says is not installed, and
// nothing of it has run.
func TestPyPIRefuses(t *testing.T) {
	t.Parallel()
	trace := filepath.Join(t.TempDir(), "trace")
	good, source := wheel(t), sdist(t, trace)
	tests := map[string]struct {
		offered, locked map[string][]byte
		is              error
		says            string
	}{
		"another archive": {map[string][]byte{wheelName: append(slices.Clone(good), 0)}, map[string][]byte{wheelName: good}, ErrNotInstallable, "not the one that its lock names"},
		"only source":     {map[string][]byte{sdistName: source}, map[string][]byte{sdistName: source}, ErrFetch, "no wheel for Python 3."},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, _ := index(t, test.offered)
			dir, err := in.Ensure(whileBusy(t), pypiAcme(test.locked))
			if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v", err)
			}
			if complete(dir, pypiAcme(test.locked).Lock.Hash()) || len(unfinished(t, in.Dir)) > 0 {
				t.Error("something is left of it")
			}
			if _, err := os.Stat(trace); err == nil {
				t.Error("the package ran")
			}
		})
	}
}

// TestNoIndex: pip's own words for an index that is not there are understood.
func TestNoIndex(t *testing.T) {
	t.Parallel()
	in, server := index(t, nil)
	server.Close()
	if _, err := in.Ensure(whileBusy(t), pypiAcme(map[string][]byte{wheelName: wheel(t)})); !errors.Is(err, ErrFetch) {
		t.Errorf("got %v", err)
	}
}

// fakePython returns an installer whose interpreter is a shell script: it tells
// who it is, makes an environment as venv says, and its pip does as pip says.
func fakePython(t *testing.T, who, venv, pip string) *Installer {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "python")
	text := fmt.Sprintf("#!/bin/sh\nLOG='%s/log'\ncase \"$*\" in\n-I*) %s;;\n*venv*) mkdir -p \"$3/bin\"; cp \"$0\" \"$3/bin/python3\"; %s;;\n*) %s;;\nesac\n", dir, who, venv, pip)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return &Installer{Dir: filepath.Join(dir, "packages"), Python: path, Environ: append(os.Environ(), "ACME_CLIENT_SECRET=hush", "PIP_PROXY=x", "PIP_TARGET=elsewhere", "PIP_PYTHON=another")}
}

// TestPyPIFails: what a person reads, by what went wrong.
func TestPyPIFails(t *testing.T) {
	t.Parallel()
	const (
		who = `echo 3 12 "$0"`
		pip = `env > "$LOG"; echo "$@" >> "$LOG"; touch bin/acme-server`
	)
	says := func(text string) string {
		return "echo '" + text + "'; echo 'Looking in https://u:hush@index.example/simple?token=hush'; exit 1"
	}
	tests := map[string]struct {
		who, venv, pip string
		is             error
		says           string
	}{
		"works":        {who, ":", pip, nil, ""},
		"no Python":    {"exit 127", ":", pip, ErrNotInstallable, "acme needs Python 3.10 or newer, and there is none: install it"},
		"Python 2":     {"echo 2 7 /usr/bin/python", ":", pip, ErrNotInstallable, "and there is none"},
		"too old":      {"echo 3 9 /usr/bin/python3.9", ":", pip, ErrNotInstallable, "and this is 3.9"},
		"odd":          {"echo hello", ":", pip, ErrNotInstallable, "and there is none"},
		"no venv":      {who, says("ensurepip is not available"), pip, ErrNotInstallable, "install python3-venv"},
		"venv fails":   {who, says("no space left"), pip, ErrNotInstallable, "pip failed on acme (exit status 1)"},
		"retries":      {who, ":", says("WARNING: Retrying (Retry(total=0, connect=None)) after connection broken"), ErrFetch, "pip's index setting"},
		"refused":      {who, ":", says("ERROR: HTTP error 403 while getting x"), ErrFetch, "pip's index setting"},
		"tampered":     {who, ":", says("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."), ErrNotInstallable, "not the one that its lock names"},
		"no wheel":     {who, ":", says("(from versions: 1.0) ERROR: No matching distribution found for x"), ErrNotInstallable, "no wheel for Python 3.12"},
		"no program":   {who, ":", ":", ErrNotInstallable, "acme-server has no program acme-server: name one as server.bin"},
		"says nothing": {who, ":", "exit 3", ErrNotInstallable, "exit status 3"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := fakePython(t, test.who, test.venv, test.pip)
			_, err := in.Ensure(context60(t), pypiAcme(nil))
			if left := unfinished(t, in.Dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if test.is != nil {
				if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "hush") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			said, _ := os.ReadFile(filepath.Join(filepath.Dir(in.Python), "log"))
			for _, want := range []string{"--require-hashes --no-deps --only-binary=:all:", "PIP_PROXY=x"} {
				if !strings.Contains(string(said), want) {
					t.Errorf("pip did not get %q:\n%s", want, said)
				}
			}
			for _, not := range []string{"elsewhere", "another"} {
				if strings.Contains(string(said), not) {
					t.Errorf("pip is told to install %s", not)
				}
			}
			if strings.Contains(string(said), "hush") {
				t.Error("pip gets the secrets of our environment")
			}
		})
	}
}

// TestFindPython: the first on PATH that is new enough, under any of its names,
// and as root one that servers can reach, who run as other users.
func TestFindPython(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{root, filepath.Dir(root)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	place := func(dir, name, who string) {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, dir, name), []byte("#!/bin/sh\necho "+who+" \"$0\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	place("old", "python3", "3 9")
	place("old", "python3.11", "3 11")
	place("private/bin", "python3", "3 13")
	place("new", "python3", "3 12")
	if err := os.Chmod(filepath.Join(root, "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	private := "private/bin/python3"
	tests := map[string]struct{ path, want string }{
		"the first":       {"new:old", "new/python3"},
		"too old":         {"old:new", "new/python3"},
		"by another name": {"old", "old/python3.11"},
		"private":         {"private/bin:new", "new/python3"},
		"only private":    {"private/bin", ""},
		"none":            {"nowhere", ""},
	}
	in := &Installer{Dir: filepath.Join(root, "packages")}
	asRoot := os.Geteuid() == 0
	for name, test := range tests {
		var dirs []string
		for _, dir := range strings.Split(test.path, ":") {
			dirs = append(dirs, filepath.Join(root, dir))
		}
		want := test.want
		if !asRoot && strings.HasPrefix(test.path, "private") {
			want = private // it is ours, and so are the servers
		}
		p, err := in.findPython(context60(t), "acme", []string{"PATH=" + strings.Join(dirs, ":")})
		if want == "" {
			if !errors.Is(err, ErrNotInstallable) || name == "only private" && !strings.Contains(err.Error(), "cannot reach") {
				t.Errorf("%s: %+v %v", name, p, err)
			}
		} else if err != nil || p.path != filepath.Join(root, want) {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
	in.Dir = filepath.Join(root, "private", "packages") // servers run as we do there
	if p, err := in.findPython(context60(t), "acme", []string{"PATH=" + filepath.Join(root, "private/bin")}); err != nil || p.minor != 13 {
		t.Errorf("private, too: %+v %v", p, err)
	}
}
