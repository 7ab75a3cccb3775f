package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/lanyardhq/lanyard/presets"
)

// minPython is the oldest minor version of Python 3 that locks are made for;
// the MCP SDK asks for no less.
const minPython = 10

// pythonNames are what the interpreter is called, in the order of preference.
var pythonNames = []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"}

// pipNeeds are the settings of pip's by which it reaches an index. Others say
// where it installs and what, which is not theirs to say.
var pipNeeds = []string{
	"PIP_CONFIG_FILE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST",
	"PIP_CERT", "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES", "PIP_RESUME_RETRIES",
	"PIP_CACHE_DIR", "PIP_NO_CACHE_DIR", "PIP_KEYRING_PROVIDER", "PIP_USE_FEATURE", "PIP_USE_DEPRECATED",
	"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
}

// pipInstall makes dir a virtual environment that holds the lock. pip refuses an
// archive whose hash the lock does not name. It takes wheels alone, which are
// unpacked: nothing of a package runs while it is installed.
func (in *Installer) pipInstall(ctx context.Context, s presets.Server, dir string) error {
	environ := Environment(in.environ(), pipNeeds...)
	python, err := in.findPython(ctx, s.Name, environ)
	if err != nil {
		return err
	}
	output, err := run(ctx, dir, environ, python.path, "-m", "venv", dir)
	if err == nil {
		output, err = run(ctx, dir, environ, filepath.Join(dir, venvPython), "-m", "pip", "install",
			"--require-hashes", "--no-deps", "--only-binary=:all:", "--no-user", "--no-input", "--quiet",
			"--disable-pip-version-check", "--progress-bar=off", "--no-warn-script-location", "--requirement=requirements.txt")
	}
	if ctx.Err() != nil {
		return fmt.Errorf("install %s: %w", s.Name, ctx.Err())
	}
	if err != nil {
		return python.explain(s, err, output)
	}
	r, err := s.Recipe(dir, presets.Inputs{})
	if err == nil && len(r.Command) > 1 {
		_, err = os.Stat(r.Command[1])
	}
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s has no program %s: name one as server.bin", ErrNotInstallable, s.Server.Package, filepath.Base(r.Command[1]))
	}
	return nil
}

// venvPython is the interpreter of a virtual environment: a link to the one
// that made it.
var venvPython = filepath.Join("bin", "python3")

// python is an interpreter of this machine.
type python struct {
	// path leads to the program itself, not to a link that may come to mean
	// another version.
	path string
	// minor is that of 3.minor.
	minor int
}

// findPython finds the first interpreter on PATH that is new enough. Servers
// may run as other users, who must be able to reach it.
func (in *Installer) findPython(ctx context.Context, server string, environ []string) (python, error) {
	candidates := []string{in.Python}
	if in.Python == "" {
		candidates = nil
		for _, name := range pythonNames {
			for _, dir := range filepath.SplitList(variable(environ, "PATH")) {
				if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
					candidates = append(candidates, path)
				}
			}
		}
	}
	found := "there is none"
	shared := os.Geteuid() == 0 && reachable(in.Dir)
	for _, c := range candidates {
		p, err := askPython(ctx, c, environ)
		switch {
		case ctx.Err() != nil:
			return python{}, ctx.Err()
		case err != nil:
		case p.minor < minPython:
			found = fmt.Sprintf("this is 3.%d", p.minor)
		case shared && !reachable(p.path):
			found = fmt.Sprintf("the users that servers run as cannot reach %s", p.path)
		default:
			return p, nil
		}
	}
	return python{}, fmt.Errorf("%w: %s needs Python 3.%d or newer, and %s: install it (on Debian and Ubuntu python3-venv, too), then connect again",
		ErrNotInstallable, server, minPython, found)
}

// askPython asks an interpreter who it is. What a virtual environment or a
// version manager has put on PATH answers with what stands behind it.
func askPython(ctx context.Context, program string, environ []string) (python, error) {
	out, err := run(ctx, "", environ, program, "-I", "-c",
		"import os, sys; print(sys.version_info[0], sys.version_info[1], os.path.realpath(sys.executable))")
	if err != nil {
		return python{}, err
	}
	fields := strings.SplitN(strings.TrimSpace(out), " ", 3)
	if len(fields) != 3 || fields[0] != "3" || !filepath.IsAbs(fields[2]) {
		return python{}, errors.New("not a Python 3")
	}
	minor, err := strconv.Atoi(fields[1])
	return python{path: fields[2], minor: minor}, err
}

// reachable reports whether every user can reach a path: each directory above
// it lets all through.
func reachable(path string) bool {
	path, err := filepath.Abs(path)
	for err == nil && path != filepath.Dir(path) {
		path = filepath.Dir(path)
		var info os.FileInfo
		if info, err = os.Stat(path); err == nil && info.Mode().Perm()&0o001 == 0 {
			return false
		}
	}
	return err == nil
}

func variable(environ []string, name string) string {
	for _, kv := range environ {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// Signs in pip's output that something stood between it and its index.
var pipFetchSigns = []string{
	"Retrying (Retry(", "Max retries exceeded", "HTTP error", "Client Error", "Server Error", "ReadTimeout", "ConnectTimeout", "Connection aborted",
	"(from versions: none)", // what is left of any of these when pip is told not to retry
}

// explain turns the failure of venv or pip into what happened and what to do
// next.
func (p python) explain(s presets.Server, err error, output string) error {
	said := tail(output)
	has := func(sign string) bool { return strings.Contains(output, sign) }
	switch {
	case has("ensurepip"):
		return fmt.Errorf("%w: %s comes without pip. On Debian and Ubuntu install python3-venv, then connect again. It said:\n%s",
			ErrNotInstallable, p.path, said)
	case has("DO NOT MATCH THE HASHES"):
		return tampered(s, "pip", said)
	case slices.ContainsFunc(pipFetchSigns, has):
		return fmt.Errorf("%w: pip got nothing that it can use for %s. "+
			"Check the network, the proxy and pip's index setting, then connect again. If they are as they should be, "+
			"a package of it has no wheel for Python 3.%d on this machine. pip said:\n%s", ErrFetch, s.Name, p.minor, said)
	case has("No matching distribution found"):
		return fmt.Errorf("%w: a package of %s has no wheel for Python 3.%d on this machine: "+
			"install another version of Python, then connect again. pip said:\n%s", ErrNotInstallable, s.Name, p.minor, said)
	}
	return fmt.Errorf("%w: pip failed on %s (%w). It said:\n%s", ErrNotInstallable, s.Name, err, said)
}
