package install

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lanyardhq/lanyard/presets"
)

// minNode is the oldest major version that the shipped servers are run on.
const minNode = 20

// npmCI installs the lock in dir. npm refuses an archive whose hash is another
// than the lock's, and a lock that does not fit its package.json.
func (in *Installer) npmCI(ctx context.Context, s presets.Server, dir string) error {
	if err := in.checkNode(ctx, s.Name); err != nil {
		return err
	}
	// Install scripts are how a package runs code where the secrets are; none
	// of the shipped servers needs one. npm's cache is as good as its registry,
	// since the lock says what the bytes must be.
	output, err := run(ctx, dir, Environment(in.environ(), "NPM_", "NODE_EXTRA_CA_CERTS"), in.npm(),
		"ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund",
		"--no-bin-links", "--no-update-notifier", "--prefer-offline", "--loglevel=error")
	if ctx.Err() != nil {
		return fmt.Errorf("install %s: %w", s.Name, ctx.Err())
	}
	if err != nil {
		return explain(s, err, output)
	}
	return nil
}

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
		return tampered(s, "npm", said)
	case slices.Contains(fetchCodes, code):
		return fmt.Errorf("%w: npm got no answer that it can use for %s (%s). "+
			"Check the network, the proxy and npm's registry setting, then connect again. npm said:\n%s",
			ErrFetch, s.Name, code, said)
	}
	return fmt.Errorf("%w: npm failed on %s (%w). npm said:\n%s", ErrNotInstallable, s.Name, err, said)
}
