package presets

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/lanyardhq/lanyard/internal/task"
)

// Draft is a server's preset as it is written, and what a record of the MCP
// Registry says of its credentials: the keys mean what they do in [Server].
type Draft struct {
	Name        string `yaml:"name" json:"-"`
	DisplayName string `yaml:"display_name" json:"-"`
	Description string `yaml:"description" json:"-"`

	AuthType          AuthType                  `yaml:"auth_type" json:"auth_type"`
	OAuthService      string                    `yaml:"oauth_service,omitempty" json:"oauth_service,omitempty"`
	OAuthScopes       []DraftScope              `yaml:"oauth_scopes,omitempty" json:"oauth_scopes,omitempty"`
	OAuthEnable       []DraftFeature            `yaml:"oauth_enable,omitempty" json:"oauth_enable,omitempty"`
	OAuthToEnvMapping map[string]string         `yaml:"oauth_to_env_mapping,omitempty" json:"oauth_to_env_mapping,omitempty"`
	CredentialFiles   map[string]DraftFile      `yaml:"credential_files,omitempty" json:"credential_files,omitempty"`
	Env               map[string]string         `yaml:"env,omitempty" json:"env,omitempty"`
	EnvValues         []DraftValue              `yaml:"env_values,omitempty" json:"env_values,omitempty"`
	Parameters        map[string]DraftParameter `yaml:"parameters,omitempty" json:"parameters,omitempty"`

	Server      DraftProgram  `yaml:"server" json:"-"`
	Rotation    task.Rotation `yaml:"rotation,omitempty" json:"rotation,omitempty"`
	AuthFailure []string      `yaml:"auth_failure,omitempty" json:"auth_failure,omitempty"`
}

// DraftScope is an [OAuthScope] as it is written.
type DraftScope struct {
	Scope string   `yaml:"scope" json:"scope"`
	Why   string   `yaml:"why,omitempty" json:"why,omitempty"`
	Param string   `yaml:"param,omitempty" json:"param,omitempty"`
	For   []string `yaml:"for,omitempty" json:"for,omitempty"`
}

// DraftFeature is a [Feature] as it is written.
type DraftFeature struct {
	Name string `yaml:"name" json:"name"`
	URL  string `yaml:"url" json:"url"`
}

// DraftFile is a [CredentialFile] as it is written.
type DraftFile struct {
	Path     string `yaml:"path,omitempty" json:"path,omitempty"`
	Template string `yaml:"template" json:"template"`
}

// DraftValue is an [EnvValue] as it is written.
type DraftValue struct {
	Name    string `yaml:"name" json:"name"`
	Label   string `yaml:"label" json:"label"`
	Secret  bool   `yaml:"secret,omitempty" json:"secret,omitempty"`
	HelpURL string `yaml:"help_url,omitempty" json:"help_url,omitempty"`
}

// DraftParameter is a [Parameter] as it is written.
type DraftParameter struct {
	Label   string   `yaml:"label,omitempty" json:"label,omitempty"`
	Help    string   `yaml:"help,omitempty" json:"help,omitempty"`
	Source  string   `yaml:"source,omitempty" json:"source,omitempty"`
	Default string   `yaml:"default,omitempty" json:"default,omitempty"`
	Pattern string   `yaml:"pattern,omitempty" json:"pattern,omitempty"`
	Enum    []string `yaml:"enum,omitempty" json:"enum,omitempty"`
}

// DraftProgram is the part of [Program] that a draft has.
type DraftProgram struct {
	Registry string   `yaml:"registry"`
	Package  string   `yaml:"package,omitempty"`
	Version  string   `yaml:"version,omitempty"`
	Args     []string `yaml:"args,omitempty"`
	Command  []string `yaml:"command,omitempty"`
	URL      string   `yaml:"url,omitempty"`
}

// YAML is the file of the preset. A version that looks like a number is quoted.
func (d Draft) YAML() ([]byte, error) {
	if d.AuthType == TypeOAuth && d.Rotation == "" && d.Server.Registry != RegistryRemote {
		d.Rotation = task.RotateRestart // what works with every server
	}
	options := []yaml.EncodeOption{yaml.Indent(2), yaml.IndentSequence(true)}
	text, err := yaml.MarshalWithOptions(d, options...)
	if err != nil {
		return nil, err
	}
	// A stranger's text may end the document, or mean something else in it.
	var back Draft
	if err := yaml.Unmarshal(text, &back); err != nil {
		return nil, fmt.Errorf("%w: %w", errText, err)
	}
	if again, err := yaml.MarshalWithOptions(back, options...); err != nil || !bytes.Equal(again, text) {
		return nil, errText
	}
	return text, nil
}

var errText = errors.New("one of its texts cannot stand in a YAML file")

// draft is a server's preset as a draft.
func (s Server) draft() Draft {
	d := Draft{
		Name: s.Name, DisplayName: s.DisplayName, Description: s.Description, AuthType: s.AuthType, OAuthService: s.OAuthService,
		OAuthToEnvMapping: s.OAuthToEnvMapping, Env: s.Env, Rotation: s.Rotation, AuthFailure: s.AuthFailure,
		Server: DraftProgram{s.Server.Registry, s.Server.Package, s.Server.Version, s.Server.Args, s.Server.Command, s.Server.URL},
	}
	for _, scope := range s.OAuthScopes {
		d.OAuthScopes = append(d.OAuthScopes, DraftScope(scope))
	}
	for _, f := range s.OAuthEnable {
		d.OAuthEnable = append(d.OAuthEnable, DraftFeature(f))
	}
	for _, v := range s.EnvValues {
		d.EnvValues = append(d.EnvValues, DraftValue(v))
	}
	for name, p := range s.Parameters {
		if d.Parameters == nil {
			d.Parameters = map[string]DraftParameter{}
		}
		d.Parameters[name] = DraftParameter{p.Label, p.Help, p.Source, p.Default, p.Pattern, p.Enum}
	}
	for name, f := range s.CredentialFiles {
		if d.CredentialFiles == nil {
			d.CredentialFiles = map[string]DraftFile{}
		}
		d.CredentialFiles[name] = DraftFile(f)
	}
	return d
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// NameFor is a name that a preset may have, out of a package's or a record's.
func NameFor(from string) string {
	from = strings.ToLower(from[strings.LastIndexByte(from, '/')+1:])
	parts := strings.Split(strings.Trim(notInNames.ReplaceAllString(from, "-"), "-"), "-")
	told := slices.DeleteFunc(slices.Clone(parts), func(p string) bool { return p == "mcp" || p == "server" })
	if len(told) == 0 {
		told = parts
	}
	return strings.Join(told, "-")
}

// Titled is what people may be shown for a name: GitHub's own is theirs to write.
func Titled(name string) string {
	words := strings.Split(name, "-")
	for i, w := range words {
		words[i] = strings.ToUpper(w[:min(1, len(w))]) + w[min(1, len(w)):]
	}
	return strings.Join(words, " ")
}

// CheckPackage returns an error unless the program is one exact release of a
// package by its name alone: what is no name may tell a package manager where else
// to fetch from, and whom to believe.
func (p Program) CheckPackage() error {
	c := &serverCheck{Server: &Server{Server: p}}
	switch p.Registry {
	case RegistryNPM:
		c.checkPackage("an npm", npmPackage, exactVersion)
	case RegistryPyPI:
		c.checkPackage("a PyPI", pypiPackage, pypiVersion)
	}
	for _, problem := range c.problems {
		return fmt.Errorf("%w: %s %s", ErrInvalid, strings.TrimPrefix(problem.Path, "$."), problem.Message)
	}
	return nil
}

// ReadProgram is what the last of the embedded presets and the overlays says of a
// server's program. Nothing else of the file is judged: its lock may not be there.
func ReadProgram(overlays []string, server string) (Program, error) {
	for _, here := range slices.Backward(roots(overlays)) {
		data, err := fs.ReadFile(here.fs, path.Join("servers", server+".yaml"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Program{}, err
		}
		var s struct {
			Server Program `yaml:"server"`
		}
		err = yaml.Unmarshal(data, &s)
		return s.Server, err
	}
	return Program{}, fmt.Errorf("%w: there is no preset %q", ErrInvalid, server)
}
