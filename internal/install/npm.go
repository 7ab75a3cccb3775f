package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lanyardhq/lanyard/presets"
)

const (
	// minNode is the oldest major version that the shipped servers are run on.
	minNode = 20
	// stopGrace is how long npm may take to end once its context is done.
	stopGrace = 5 * time.Second
	// maxTail bounds what an error repeats of npm's output, in bytes.
	maxTail = 1500
	// maxOutput bounds what is kept of npm's output, in bytes. It is more than
	// an error of npm's, which names its code at its beginning.
	maxOutput = 64 << 10
)

// npmCI installs the lock in dir. npm refuses an archive whose hash is another
// than the lock's, and a lock that does not fit its package.json.
func (in *Installer) npmCI(ctx context.Context, s presets.Server, dir string) error {
	if err := in.checkNode(ctx, s.Name); err != nil {
		return err
	}
	for name, data := range map[string][]byte{"package.json": s.Lock.Manifest, "package-lock.json": s.Lock.Lockfile} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	// Install scripts are how a package runs code where the secrets are; none
	// of the shipped servers needs one. npm's cache is as good as its registry,
	// since the lock says what the bytes must be.
	cmd := exec.CommandContext(ctx, in.npm(), "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund",
		"--no-bin-links", "--no-update-notifier", "--prefer-offline", "--loglevel=error")
	cmd.Dir = dir
	cmd.Env = npmEnvironment(in.environ())
	cmd.WaitDelay = stopGrace
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { return endGroup(cmd.Process.Pid) }
	output := &ending{}
	cmd.Stdout, cmd.Stderr = output, output
	// Linux ends npm with the thread that started it, not with this process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("install %s: %w", s.Name, ctx.Err())
	}
	if err != nil {
		return explain(s, err, output.String())
	}
	return nil
}

// endGroup ends npm and what it has started. Nothing of what they were writing
// is used, so they need no time.
func endGroup(pid int) error {
	err := syscall.Kill(-pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// ending keeps the last maxOutput bytes that are written to it.
type ending struct{ data []byte }

func (e *ending) Write(p []byte) (int, error) {
	e.data = append(e.data, p[max(0, len(p)-maxOutput):]...)
	if over := len(e.data) - maxOutput; over > 0 {
		e.data = append(e.data[:0], e.data[over:]...)
	}
	return len(p), nil
}

func (e *ending) String() string { return string(e.data) }

// checkNode tells a person to install Node.js before npm says it in its words.
func (in *Installer) checkNode(ctx context.Context, server string) error {
	missing := func(found string) error {
		return fmt.Errorf("%w: %s needs Node.js %d or newer with npm, and %s: install it from https://nodejs.org, then connect again",
			ErrNotInstallable, server, minNode, found)
	}
	node := in.Node
	if node == "" {
		node = "node"
	}
	out, err := exec.CommandContext(ctx, node, "--version").Output()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return missing("there is no node that runs")
	}
	version := strings.TrimSpace(string(out))
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < minNode {
		return missing("this is " + strconv.QuoteToASCII(version[:min(len(version), 20)]))
	}
	if _, err := exec.LookPath(in.npm()); err != nil {
		return missing("there is no npm")
	}
	return nil
}

func (in *Installer) npm() string {
	if in.NPM != "" {
		return in.NPM
	}
	return "npm"
}

func (in *Installer) environ() []string {
	if in.Environ != nil {
		return in.Environ
	}
	return os.Environ()
}

// npmNeeds are the variables that npm works with: where programs, its
// configuration and its cache are, and how this machine reaches a registry.
// The provider clients' secrets, in our environment too, are not its business.
var npmNeeds = []string{
	"PATH", "HOME", "USER", "TMPDIR", "LANG",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR",
}

func npmEnvironment(environ []string) []string {
	var out []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		name = strings.ToUpper(name)
		if slices.Contains(npmNeeds, name) || strings.HasPrefix(name, "NPM_") || strings.HasPrefix(name, "XDG_") || strings.HasPrefix(name, "LC_") {
			out = append(out, kv)
		}
	}
	return out
}

// Codes with which npm names a failure to fetch.
var fetchCodes = []string{
	"ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH",
	"ERR_SOCKET_TIMEOUT", "FETCH_ERROR", "ENOTCACHED", "E401", "E403", "E404", "E429", "E500", "E502", "E503", "E504",
}

// npmCode finds the code in npm's output: "npm error code EINTEGRITY", or
// "npm ERR!" of versions before 10.
var npmCode = regexp.MustCompile(`(?m)^npm (?:error|ERR!) code ([A-Z][A-Z0-9_]*)`)

// explain turns npm's failure into what happened and what to do next.
func explain(s presets.Server, err error, output string) error {
	code := ""
	if m := npmCode.FindStringSubmatch(output); m != nil {
		code = m[1]
	}
	said := tail(output)
	switch {
	case code == "EINTEGRITY":
		return fmt.Errorf("%w: a package of %s is not the one that its lock names, so nothing was installed. "+
			"If it happens again, the registry or something before it changes packages: tell whoever runs it. npm said:\n%s",
			ErrNotInstallable, s.Name, said)
	case slices.Contains(fetchCodes, code):
		return fmt.Errorf("%w: npm got no answer that it can use for %s (%s). "+
			"Check the network, the proxy and npm's registry setting, then connect again. npm said:\n%s",
			ErrFetch, s.Name, code, said)
	}
	return fmt.Errorf("%w: npm failed on %s (%w). npm said:\n%s", ErrNotInstallable, s.Name, err, said)
}

// Credentials that npm's output may hold: in URLs, and in settings and headers.
var (
	urlCredentials = regexp.MustCompile(`(?i)(https?://)[^/\s@]+@`)
	namedSecrets   = regexp.MustCompile(`(?i)((?:_auth|_authtoken|_password|token|authorization|bearer)["']?\s*[:= ]\s*)\S.*`)
	npmTokens      = regexp.MustCompile(`npm_[A-Za-z0-9]{20,}`)
	queries        = regexp.MustCompile(`(https?://[^\s?]+)\?\S+`)
)

// tail is the end of npm's output for a person: printable, bounded, and
// without credentials.
func tail(output string) string {
	output = strings.Map(func(r rune) rune {
		if r != '\n' && (r < ' ' || r == 0x7f || r == '\uFFFD') {
			return -1
		}
		return r
	}, output)
	output = urlCredentials.ReplaceAllString(output, "${1}[redacted]@")
	output = queries.ReplaceAllString(output, "${1}?[redacted]")
	output = namedSecrets.ReplaceAllString(output, "${1}[redacted]")
	output = npmTokens.ReplaceAllString(output, "[redacted]")
	output = strings.TrimSpace(output)
	if len(output) > maxTail {
		output = output[len(output)-maxTail:]
		if _, rest, ok := strings.Cut(output, "\n"); ok {
			output = rest
		}
	}
	return strings.ToValidUTF8(output, "")
}
