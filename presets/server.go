// Package presets holds what Lanyard knows about providers and MCP servers: a
// YAML file each, embedded, checked, and overlaid by a deployment's own.
//
// [Load] reads the embedded files, then each overlay directory; the last file
// of a name replaces the others whole. Decoding is strict, and every finding
// names its file and line. A [Server] becomes what a runner starts by
// [Server.Recipe], and what is installed before by its [Lock]; a [Provider] is
// the data that the provider engine runs on.
package presets

import (
	"encoding/json"

	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/task"
)

// AuthType is how a server is authorised.
type AuthType string

// The kinds of authorisation that a server's preset may name.
const (
	// TypeOAuth: the person grants access at the provider oauth_service.
	TypeOAuth AuthType = "oauth"
	// TypeAPIKey: the person pastes the values that env_values names.
	TypeAPIKey AuthType = "api_key"
	// TypeNone: the server needs no credential.
	TypeNone AuthType = "none"
)

// Registries, where a server's program comes from. The names npm and pypi are
// those of the MCP Registry.
const (
	RegistryNPM     = "npm"
	RegistryPyPI    = "pypi"
	RegistryCommand = "command"
	RegistryRemote  = "remote"
)

// Server is the preset of one MCP server.
type Server struct {
	// Name is the file's name without .yaml, and a part of the server's URL.
	Name        string `yaml:"name"`
	DisplayName string `yaml:"display_name"`
	Description string `yaml:"description"`

	AuthType AuthType `yaml:"auth_type"`
	// OAuthService is the id of the provider that grants access, or
	// [OAuthDiscover].
	OAuthService string `yaml:"oauth_service"`
	// OAuthScopes are the fewest that the server's tools are useful with. With
	// [OAuthDiscover] they replace those that the server asks for itself.
	OAuthScopes []OAuthScope `yaml:"oauth_scopes"`
	// OAuthEnable is what has to be turned on at the provider, beside the client, for
	// the server's tools to work.
	OAuthEnable []Feature `yaml:"oauth_enable"`
	// OAuthToEnvMapping maps a token field to an environment variable. A field
	// is access_token, expires_at, NAME.access_token or NAME.expires_at (a
	// second token of one grant), a path of the provider's metadata (team.id),
	// value.NAME (of env_values) or credential_files.NAME (that file's path).
	OAuthToEnvMapping map[string]string `yaml:"oauth_to_env_mapping"`
	// CredentialFiles are written before the server starts, by name.
	CredentialFiles map[string]CredentialFile `yaml:"credential_files"`
	// Env are fixed variables; values may hold {parameter}.
	Env map[string]string `yaml:"env"`
	// EnvValues are what a person pastes for auth_type api_key.
	EnvValues []EnvValue `yaml:"env_values"`
	// Parameters are what args, command, env and url may hold in braces, next
	// to what the provider asks the person for. Their source is user (asked
	// before connecting), deployment (Lanyard itself fills them in) or client: the
	// provider's parameter of that name, which was said with our client. A server
	// that declares none of those is for the provider's default alone.
	Parameters map[string]Parameter `yaml:"parameters"`

	Server Program `yaml:"server"`
	// Rotation is how a renewed access token reaches the running server.
	Rotation task.Rotation `yaml:"rotation"`
	// AuthFailure are texts in a tool result that hint at a dead credential.
	// Many servers report one as a success, so only its text can tell.
	AuthFailure []string `yaml:"auth_failure"`
	// ShareRefreshToken marks a server that can work only with the refresh
	// token itself. It is refused: with a provider that rotates, two refreshers
	// would make each other's token invalid, and with any other no way to hand
	// it over exists yet.
	ShareRefreshToken bool `yaml:"share_refresh_token"`
	// Tools are the names of the server's tools, for a preset that has no
	// catalogue to take them from.
	Tools []string `yaml:"tools"`

	// Lock pins the whole dependency tree of a server from npm or PyPI.
	Lock Lock `yaml:"-"`
	// Catalogue reads what the server is known to say of itself, once; nil: there is
	// nothing to read. See [Server.Known].
	Catalogue func() (*mcp.Catalogue, error) `yaml:"-"`
	// count is ToolsCount, without reading the whole catalogue.
	count func() (int, bool)
}

// Known is what the server is known to say of itself; nil: nothing is. A catalogue
// that cannot be read is none: the server is asked.
func (s Server) Known() *mcp.Catalogue {
	if s.Catalogue == nil {
		return nil
	}
	known, err := s.Catalogue()
	if err != nil {
		return nil
	}
	return known
}

// ToolsCount is how many tools the server is known to have.
func (s Server) ToolsCount() (int, bool) {
	if s.count != nil {
		return s.count()
	}
	return s.countTools()
}

func (s Server) countTools() (int, bool) {
	if known := s.Known(); known != nil {
		return CountTools(*known)
	}
	return len(s.Tools), len(s.Tools) > 0
}

// toolNames are those of the catalogue, or else the preset's own; nil: nobody
// knows them yet.
func (s Server) toolNames() []string {
	known := s.Known()
	if known == nil {
		return s.Tools
	}
	var tools []struct{ Name string }
	if json.Unmarshal(known.Tools, &tools) != nil {
		return s.Tools
	}
	names := []string{}
	for _, t := range tools {
		names = append(names, t.Name)
	}
	return names
}

// Own reports whether the server is in a program of ours, {self}, and needs
// nothing else that only a program on somebody's own machine can tell it. A task's
// image can hold such a one.
func (s Server) Own() bool {
	if s.Server.Registry != RegistryCommand || len(s.Server.Command) == 0 || s.Server.Command[0] != "{self}" {
		return false
	}
	for name, p := range s.Parameters {
		if p.Source == SourceDeployment && name != "self" {
			return false
		}
	}
	return true
}

// CountTools is how many tools a catalogue lists; false if it does not say.
func CountTools(c mcp.Catalogue) (int, bool) {
	var tools []json.RawMessage
	if c.Tools == nil || json.Unmarshal(c.Tools, &tools) != nil {
		return 0, false
	}
	return len(tools), true
}

// OAuthScope is one scope to ask for, and the reason that the person is shown.
type OAuthScope struct {
	Scope string `yaml:"scope"`
	// Why is what the person reads: what it lets the server do, as "Read your
	// files".
	Why string `yaml:"why"`
	// Param is the authorization request's parameter, where the provider has a
	// second one (Slack: user_scope). Empty: its main one.
	Param string `yaml:"param"`
	// For names the tools that stop working when the person declines the scope.
	For []string `yaml:"for"`
}

// UnmarshalYAML accepts a bare string for the scope alone.
func (s *OAuthScope) UnmarshalYAML(decode func(any) error) error {
	if decode(&s.Scope) == nil {
		return nil
	}
	type plain OAuthScope
	return decode((*plain)(s))
}

// CredentialFile is a file that the server reads its credential from: a Go
// text/template over the token's fields, in which json quotes a value.
type CredentialFile struct {
	// Path is relative to the server's private home. Empty: the runner chooses.
	Path     string `yaml:"path"`
	Template string `yaml:"template"`
}

// UnmarshalYAML accepts a bare string for the template alone.
func (f *CredentialFile) UnmarshalYAML(decode func(any) error) error {
	if decode(&f.Template) == nil {
		return nil
	}
	type plain CredentialFile
	return decode((*plain)(f))
}

// EnvValue is one value that a person pastes.
type EnvValue struct {
	// Name is the environment variable that the server reads.
	Name  string `yaml:"name"`
	Label string `yaml:"label"`
	// Secret hides the value while it is typed. It is sealed either way.
	Secret bool `yaml:"secret"`
	// HelpURL is where the person finds the value.
	HelpURL string `yaml:"help_url"`
}

// Program is where a server's program comes from and how it is run.
type Program struct {
	Registry string `yaml:"registry"`
	// Package and Version name one exact release in the registry.
	Package string `yaml:"package"`
	Version string `yaml:"version"`
	// Bin picks one of a package's programs. Empty: its only one, or the one
	// with the package's own name.
	Bin string `yaml:"bin"`
	// Args follow an installed program.
	Args []string `yaml:"args"`
	// Command is the program and its arguments, for registry command.
	Command []string `yaml:"command"`
	// URL is the endpoint, for registry remote.
	URL       string    `yaml:"url"`
	Resources Resources `yaml:"resources"`
	// Clients is [task.ClientsShared] (the default) or [task.ClientsEach].
	Clients string `yaml:"clients"`
}

// Resources are what a task gets: a pair that Fargate runs.
type Resources struct {
	// CPU is in vCPU.
	CPU float64 `yaml:"cpu"`
	// Memory is in MiB.
	Memory int `yaml:"memory"`
}

// defaultResources suit a small server: the least that Fargate runs.
var defaultResources = Resources{CPU: 0.25, Memory: 512}

// withDefaults fills in what a preset may leave out.
func (s Server) withDefaults() Server {
	if s.Server.Resources == (Resources{}) {
		s.Server.Resources = defaultResources
	}
	if s.Server.Clients == "" {
		s.Server.Clients = task.ClientsShared
	}
	if s.Rotation == "" && s.AuthType != TypeOAuth {
		s.Rotation = task.RotateNone
	}
	return s
}
