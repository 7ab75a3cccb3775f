package presets

import (
	"fmt"
	"regexp"
	"strings"
)

// A line of requirements.txt, joined and without its comment: a package at one
// version, when it is wanted, and what its archives' hashes may be. Anything
// else, such as an index, an address or another option, would change what is
// fetched or from where.
var pypiPin = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][0-9A-Za-z.!+_-]*)( ?; ?[^ -]\S*(?: [^ -]\S*)*)?((?: --hash=sha256:[0-9a-f]{64})+)$`)

// pypiSeparators are all the same in the name of a package
// (https://packaging.python.org/en/latest/specifications/name-normalization).
var pypiSeparators = regexp.MustCompile(`[-_.]+`)

func pypiName(name string) string {
	return strings.ToLower(pypiSeparators.ReplaceAllString(name, "-"))
}

// checkPyPI says why a lock does not pin name==version.
func (l Lock) checkPyPI(name, version string) error {
	pin := name + "==" + version
	asked := false
	for _, line := range requirements(l.Manifest) {
		asked = asked || line == pin
	}
	if !asked {
		return fmt.Errorf("requirements.in must ask for %s", pin)
	}
	locked := false
	for _, line := range requirements(l.Lockfile) {
		m := pypiPin.FindStringSubmatch(line)
		if m == nil {
			return fmt.Errorf("requirements.txt pins no package with sha256 hashes by %q", short(line))
		}
		if pypiName(m[1]) != pypiName(name) {
			continue
		}
		if m[2] != version || m[3] != "" {
			return fmt.Errorf("requirements.txt locks %s==%s%s, the preset wants %s", m[1], m[2], m[3], version)
		}
		locked = true
	}
	if !locked {
		return fmt.Errorf("requirements.txt does not lock %s", name)
	}
	return nil
}

// requirements are the lines of a requirements file: joined where a backslash
// ends them, without comments, and with single spaces.
func requirements(file []byte) []string {
	var out []string
	text := strings.ReplaceAll(string(file), "\\\n", " ")
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(" "+line, " #")
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// short is enough of a line to find it by.
func short(line string) string {
	if len(line) > 60 {
		return line[:60] + "…"
	}
	return line
}
