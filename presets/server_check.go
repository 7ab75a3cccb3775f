package presets

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/task"
)

var (
	serverName    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	fileName      = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
	parameterName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	pypiPackage   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	programName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	npmPackage    = regexp.MustCompile(`^(@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*$`)
	exactVersion  = regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$`)
	// https://packaging.python.org/en/latest/specifications/version-specifiers,
	// without epochs and local versions.
	pypiVersion = regexp.MustCompile(`^\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?$`)
)

// reservedServers are no server's, because they mean something else in paths.
var reservedServers = []string{"servers", "connections", "all", "oauth", "t"}

// minAuthFailure keeps a hint from matching in almost any text.
const minAuthFailure = 8

// serverCheck collects what is wrong with one server.
type serverCheck struct {
	*Server
	// provider is resolved; nil when there is none, or none that is usable.
	provider *Provider
	problems []Problem
}

// Check reports everything that is wrong with the preset itself and with what
// it wants of its provider. The provider is a resolved one; nil skips what
// depends on it.
func (s *Server) Check(provider *Provider) []Problem {
	c := &serverCheck{Server: s, provider: provider}
	c.checkNames()
	c.checkProgram()
	c.checkParameters()
	c.checkEnvironment()
	c.checkFiles()
	switch s.AuthType {
	case TypeOAuth:
		c.checkOAuth()
	case TypeAPIKey:
		c.checkAPIKey()
	case TypeNone:
		c.refuse("auth_type none", "$.oauth_to_env_mapping", len(s.OAuthToEnvMapping) > 0)
		c.refuseOAuth("auth_type none")
		c.refuse("auth_type none", "$.env_values", len(s.EnvValues) > 0)
	default:
		c.add("$.auth_type", "must be oauth, api_key or none")
	}
	return c.problems
}

func (c *serverCheck) add(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{path, fmt.Sprintf(format, args...)})
}

// refuse reports a key that says nothing in its place.
func (c *serverCheck) refuse(where, path string, set bool) {
	if set {
		c.add(path, "means nothing with %s: take %s out", where, strings.TrimPrefix(path, "$."))
	}
}

// under is the path of a key that may hold dots.
func under(path, key string) string { return path + ".'" + key + "'" }

func (c *serverCheck) checkNames() {
	if !serverName.MatchString(c.Name) {
		c.add("$.name", "must be 1 to 63 lower-case letters, digits and hyphens, not starting with a hyphen")
	}
	if slices.Contains(reservedServers, c.Name) {
		c.add("$.name", "%q is reserved", c.Name)
	}
	if c.DisplayName == "" {
		c.add("$.display_name", "display_name is missing: it is what people see")
	}
	if c.Description == "" {
		c.add("$.description", "description is missing: one sentence on what the server does")
	}
	for i, text := range c.AuthFailure {
		if len(text) < minAuthFailure {
			c.add(fmt.Sprintf("$.auth_failure[%d]", i), "must have at least %d characters: a shorter text is found in any result", minAuthFailure)
		}
	}
	for i, tool := range c.Tools {
		if tool == "" || slices.Contains(c.Tools[:i], tool) {
			c.add(fmt.Sprintf("$.tools[%d]", i), "a tool is named once, and not empty")
		}
	}
}

func (c *serverCheck) checkProgram() {
	p := c.Server.Server
	command, remote := p.Registry == RegistryCommand, p.Registry == RegistryRemote
	switch {
	case p.Registry == RegistryNPM:
		c.checkPackage("an npm", npmPackage, exactVersion)
	case p.Registry == RegistryPyPI:
		c.checkPackage("a PyPI", pypiPackage, pypiVersion)
		if p.Bin != "" && !programName.MatchString(p.Bin) {
			c.add("$.server.bin", "must be the name of one of the package's programs")
		}
	case command:
		if len(p.Command) == 0 || p.Command[0] == "" {
			c.add("$.server.command", "command is missing: [program, argument…]")
		}
	case remote:
		c.checkRemote()
	default:
		c.add("$.server.registry", "must be npm, pypi, command or remote")
	}
	with := "registry " + p.Registry
	c.refuse(with, "$.server.package", p.Package != "" && (command || remote))
	c.refuse(with, "$.server.version", p.Version != "" && (command || remote))
	c.refuse(with, "$.server.bin", p.Bin != "" && (command || remote))
	c.refuse(with, "$.server.args", len(p.Args) > 0 && (command || remote))
	c.refuse(with, "$.server.command", len(p.Command) > 0 && (p.Packaged() || remote))
	c.refuse(with, "$.server.url", p.URL != "" && (p.Packaged() || command))
	if p.Clients != task.ClientsShared && p.Clients != task.ClientsEach {
		c.add("$.server.clients", "must be %s or %s", task.ClientsShared, task.ClientsEach)
	}
	if !p.Resources.sane() {
		c.add("$.server.resources", "must be a pair that Fargate runs: cpu 0.25 with memory 512, 1024 or 2048; "+
			"0.5 with 1024 to 4096, 1 with 2048 to 8192, 2 with 4096 to 16384, 4 with 8192 to 30720, in steps of 1024")
	}
}

// checkPackage judges what names one release in a registry.
func (c *serverCheck) checkPackage(kind string, name, version *regexp.Regexp) {
	if !name.MatchString(c.Server.Server.Package) {
		c.add("$.server.package", "must be the name of %s package", kind)
	}
	if !version.MatchString(c.Server.Server.Version) {
		c.add("$.server.version", "must be one exact version such as 1.2.3: a range or a tag would install what nobody has looked at")
	}
}

// sane reports whether Fargate runs the pair
// (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html).
func (r Resources) sane() bool {
	within := func(least, most int) bool { return r.Memory >= least && r.Memory <= most && r.Memory%1024 == 0 }
	switch r.CPU {
	case 0.25:
		return r.Memory == 512 || within(1024, 2048)
	case 0.5:
		return within(1024, 4096)
	case 1:
		return within(2048, 8192)
	case 2:
		return within(4096, 16384)
	case 4:
		return within(8192, 30720)
	}
	return false
}

func (c *serverCheck) checkParameters() {
	for _, name := range slices.Sorted(maps.Keys(c.Parameters)) {
		p, path := c.Parameters[name], under("$.parameters", name)
		if !parameterName.MatchString(name) {
			c.add(path, "must be lower-case letters, digits and underscores")
		}
		switch p.Source {
		case "", SourceUser:
			if p.Label == "" {
				c.add(path+".label", "label is missing: it is what the person is asked")
			}
			if p.Pattern == "" && len(p.Enum) == 0 {
				c.add(path+".pattern", "pattern is missing: what a person types needs one, or an enum")
			}
		case SourceDeployment:
		case SourceClient:
			c.checkOfClient(path, name, p)
		default:
			c.add(path+".source", "must be user, deployment or client")
		}
		if len(p.Cases) > 0 {
			c.add(path+".cases", "cases are for a provider's parameters")
		}
		if p.Pattern == "" {
			continue
		}
		if _, err := regexp.Compile(p.Pattern); err != nil {
			c.add(path+".pattern", "does not compile: %v", err)
		} else if !strings.HasPrefix(p.Pattern, "^") || !strings.HasSuffix(p.Pattern, "$") {
			c.add(path+".pattern", "must be anchored: ^…$")
		}
	}
	for i, text := range c.Server.Server.Args {
		c.checkPlaceholders(fmt.Sprintf("$.server.args[%d]", i), text)
	}
	for i, text := range c.Server.Server.Command {
		c.checkPlaceholders(fmt.Sprintf("$.server.command[%d]", i), text)
	}
	c.checkPlaceholders("$.server.url", c.Server.Server.URL)
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		c.checkPlaceholders(under("$.env", name), c.Env[name])
	}
}

// checkOfClient wants a parameter of the client to be one of the provider's.
func (c *serverCheck) checkOfClient(path, name string, p Parameter) {
	if p.Default != "" {
		c.add(path+".default", "the provider's file has it")
	}
	if c.provider == nil && c.OAuthService != "" && !c.Discovers() {
		return
	}
	var source string
	if c.provider != nil {
		source = c.provider.Parameters[name].Source
	}
	if source != SourceClient && source != SourceDerived {
		c.add(path, "source client: the provider has no parameter %s that is said with the client, or derived from one that is", name)
	}
}

// checkPlaceholders wants each {parameter} declared here or asked for by the
// provider. Where the provider is not known, it may be the one that asks.
func (c *serverCheck) checkPlaceholders(path, text string) {
	for _, name := range placeholders(text) {
		if _, ok := c.Parameters[name]; ok {
			continue
		}
		if c.provider != nil {
			if p, ok := c.provider.Parameters[name]; ok && (p.Source == "" || p.Source == SourceUser) {
				continue
			}
		} else if c.OAuthService != "" && !c.Discovers() {
			continue
		}
		c.add(path, "{%s} is not declared: add it to parameters", name)
	}
}

func (c *serverCheck) checkFiles() {
	at := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.CredentialFiles)) {
		f, path := c.CredentialFiles[name], under("$.credential_files", name)
		if !fileName.MatchString(name) {
			c.add(path, "must be lower-case letters, digits, hyphens and underscores")
		}
		if f.Path != "" && (!filepath.IsLocal(f.Path) || filepath.Clean(f.Path) != f.Path) {
			c.add(path+".path", "must be a plain path below the server's home: not absolute, no ..")
		}
		if other, taken := at[f.Path]; taken && f.Path != "" {
			c.add(path+".path", "is the path of %s, too", other)
		}
		at[f.Path] = name
		if _, mapped := c.OAuthToEnvMapping["credential_files."+name]; !mapped && f.Path == "" {
			c.add(path, "nothing tells the server where the file is: map credential_files.%s to a variable, or give it a path", name)
		}
		if f.Template == "" {
			c.add(path, "template is missing")
			continue
		}
		c.checkTemplate(path, f.Template)
	}
}
