package bridge

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const (
	// tailBytes is what a person gets to see of a server's output.
	tailBytes = 8 << 10
	// keptBytes is what is kept of it, raw: a secret that the cut went through
	// must not show its second half.
	keptBytes = 3 * tailBytes
	// shortestSecret keeps pasted values like "me" from blanking every word.
	shortestSecret = 4
)

// Tail keeps the end of what a server prints, and shows it without secrets.
type Tail struct {
	// Secrets lists what must not be shown. It is asked whenever the tail is
	// read, because secrets are renewed. It may be nil.
	Secrets func() []string

	mu    sync.Mutex
	buf   []byte
	cut   bool
	noise int
}

// Write implements [io.Writer]; it never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[max(0, len(p)-keptBytes):]...)
	if over := len(t.buf) - keptBytes; over > 0 || len(p) > keptBytes {
		t.cut = true
		t.buf = append(t.buf[:0], t.buf[max(0, over):]...)
	}
	return len(p), nil
}

// Noise takes a line of standard output that is no message.
func (t *Tail) Noise(line []byte) {
	t.mu.Lock()
	t.noise++
	t.mu.Unlock()
	_, _ = t.Write(append(bytes.Clone(line[:min(len(line), keptBytes)]), '\n'))
}

// String is the redacted tail.
func (t *Tail) String() string {
	t.mu.Lock()
	raw, cut, noise := string(t.buf), t.cut, t.noise
	t.mu.Unlock()
	var secrets []string
	if t.Secrets != nil {
		secrets = t.Secrets()
	}
	if cut {
		// What stands first may be the second half of a secret.
		if i := strings.IndexByte(raw, '\n'); i >= 0 && i < keptBytes-tailBytes {
			raw = raw[i+1:]
		} else {
			raw = raw[keptBytes-tailBytes:]
		}
	}
	s := strings.TrimSpace(Redact(raw, secrets))
	if len(s) > tailBytes {
		s = "…" + strings.ToValidUTF8(s[len(s)-tailBytes:], "")
	}
	if noise > 0 {
		s += fmt.Sprintf("\n(%d lines of its standard output were no messages)", noise)
	}
	return s
}

// lookalikes are what a secret looks like when nobody told us of it.
var lookalikes = regexp.MustCompile(`(?i)\b(?:bearer|basic)\s+[a-z0-9._~+/=-]{8,}` + // RFC 6750, RFC 7617
	`|\bey[a-zA-Z0-9_-]{8,}\.[a-zA-Z0-9_-]{8,}(?:\.[a-zA-Z0-9_-]*)?` + // a JWT
	`|\bya29\.[a-zA-Z0-9._-]+` + // Google
	`|\bxox[a-z](?:\.xox[a-z])?-[a-zA-Z0-9-]+` + // Slack
	`|\b(?:gh[a-z]_|github_pat_|glpat-)[a-zA-Z0-9_-]{10,}` +
	`|(?:access_token|refresh_token|client_secret)["']?\s*[:=]\s*["']?[^\s"'&,}]+`)

// Redact removes the secrets, in the forms that they commonly take, and
// whatever looks like one.
func Redact(s string, secrets []string) string {
	var forms []string
	for _, v := range secrets {
		if len(v) >= shortestSecret {
			forms = append(forms, v, url.QueryEscape(v), url.PathEscape(v), strings.Trim(fmt.Sprintf("%q", v), `"`))
		}
	}
	// The longest first: one secret may begin with another.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	for _, v := range forms {
		s = strings.ReplaceAll(s, v, "[redacted]")
	}
	return lookalikes.ReplaceAllString(s, "[redacted]")
}
