package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lanyardhq/lanyard/presets"
)

const (
	// stopGrace is how long a package manager may take to end once its context
	// is done.
	stopGrace = 5 * time.Second
	// maxTail bounds what an error repeats of its output, in bytes.
	maxTail = 1500
	// maxOutput bounds what is kept of its output, in bytes. It is more than an
	// error of npm's, which names its code at its beginning.
	maxOutput = 64 << 10
)

// run runs a program in dir to its end and returns what it said. It ends with
// ctx, and so does what it has started.
func run(ctx context.Context, dir string, environ []string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = dir, environ
	cmd.WaitDelay = stopGrace
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { return endGroup(cmd.Process.Pid) }
	output := &ending{}
	cmd.Stdout, cmd.Stderr = output, output
	// Linux ends it with the thread that started it, not with this process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return output.String(), err
}

// endGroup ends a program and what it has started. Nothing of what they were
// writing is used, so they need no time.
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

func (in *Installer) environ() []string {
	if in.Environ != nil {
		return in.Environ
	}
	return os.Environ()
}

// commonNeeds are the variables that a package manager works with: where
// programs, its configuration and its cache are, and how this machine reaches a
// registry. The provider clients' secrets, in our environment too, are not its
// business.
var commonNeeds = []string{
	"PATH", "HOME", "USER", "TMPDIR", "LANG",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_", "LC_",
}

// Environment is what of environ a package manager gets: the common needs and its
// own. What ends in an underscore is what names begin with.
func Environment(environ []string, own ...string) []string {
	var out []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		name = strings.ToUpper(name)
		needed := func(need string) bool {
			return name == need || strings.HasSuffix(need, "_") && strings.HasPrefix(name, need)
		}
		if slices.ContainsFunc(commonNeeds, needed) || slices.ContainsFunc(own, needed) {
			out = append(out, kv)
		}
	}
	return out
}

// Credentials that the output may hold: in URLs, and in settings and headers.
var (
	urlCredentials = regexp.MustCompile(`(?i)(https?://)[^/\s@]+@`)
	namedSecrets   = regexp.MustCompile(`(?i)((?:_auth|_authtoken|_password|token|authorization|bearer)["']?\s*[:= ]\s*)\S.*`)
	npmTokens      = regexp.MustCompile(`npm_[A-Za-z0-9]{20,}`)
	queries        = regexp.MustCompile(`(https?://[^\s?]+)\?\S+`)
)

// tail is the end of a package manager's output for a person: printable, bounded, and
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

// tampered: what was fetched is not what the lock names.
func tampered(s presets.Server, program, said string) error {
	return fmt.Errorf("%w: a package of %s is not the one that its lock names, so nothing was installed. "+
		"If it happens again, the registry or something before it changes packages: tell whoever runs it. %s said:\n%s",
		ErrNotInstallable, s.Name, program, said)
}
