package presets

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/task"
)

// ErrNoProgram: there is nothing to start, because the server is remote or
// what was installed does not hold its program.
var ErrNoProgram = errors.New("no program to start")

// Recipe is how the server is started once it is installed in installedDir
// (see package install; unused for registry command). params are what the
// person was asked, the provider's parameters included; deployment are the
// values of the parameters whose source is deployment. A parameter that has no
// value, or one that does not fit, is [ErrParameter].
func (s Server) Recipe(installedDir string, params, deployment map[string]string) (task.Recipe, error) {
	values, err := s.values(params, deployment)
	if err != nil {
		return task.Recipe{}, err
	}
	command, err := s.command(installedDir, values)
	if err != nil {
		return task.Recipe{}, fmt.Errorf("server %s: %w", s.Name, err)
	}
	env := make(map[string]string, len(s.Env))
	for name, value := range s.Env {
		if env[name], err = Expand(value, values); err != nil {
			return task.Recipe{}, fmt.Errorf("server %s: env %s: %w", s.Name, name, err)
		}
	}
	files := make(map[string]task.File, len(s.CredentialFiles))
	for name, f := range s.CredentialFiles {
		files[name] = task.File{Path: f.Path, Template: f.Template}
	}
	return task.Recipe{
		Server:      s.Name,
		Command:     command,
		Env:         env,
		Mapping:     s.mapping(),
		Files:       files,
		Parameters:  maps.Clone(params),
		Rotation:    s.Rotation,
		Clients:     s.Server.Clients,
		AuthFailure: slices.Clone(s.AuthFailure),
	}, nil
}

// values are what the {parameters} of this preset stand for. Those that the
// server does not declare are its provider's, which were checked when the
// person connected; a declared one is never taken from another source.
func (s Server) values(params, deployment map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(params))
	maps.Copy(out, params)
	for name, p := range s.Parameters {
		delete(out, name)
		value := p.given(name, Inputs{User: params, Deployment: deployment})
		if value == "" {
			value = p.Default
		}
		if value == "" {
			continue // Expand misses it where it is used
		}
		// What Allows refuses besides the pattern is meant for what people
		// type: a path that Lanyard fills in may hold spaces.
		if p.Source != SourceDeployment {
			if err := p.Allows(value); err != nil {
				return nil, fmt.Errorf("server %s: %w: %s: %w", s.Name, ErrParameter, name, err)
			}
		}
		out[name] = value
	}
	return out, nil
}

// mapping adds the pasted values, which keep their names, to the preset's own.
func (s Server) mapping() map[string]string {
	out := make(map[string]string, len(s.OAuthToEnvMapping)+len(s.EnvValues))
	maps.Copy(out, s.OAuthToEnvMapping)
	for _, v := range s.EnvValues {
		out["value."+v.Name] = v.Name
	}
	return out
}

// command is the program and its arguments.
func (s Server) command(installedDir string, values map[string]string) ([]string, error) {
	switch s.Server.Registry {
	case RegistryCommand:
		return expandAll(s.Server.Command, values)
	case RegistryNPM:
		script, err := s.npmScript(filepath.Join(installedDir, "node_modules", filepath.FromSlash(s.Server.Package)))
		if err != nil {
			return nil, err
		}
		args, err := expandAll(s.Server.Args, values)
		// Starting the script itself, not npx or a shell script, leaves one
		// process to signal and saves half a second and 80 MB.
		return append([]string{"node", script}, args...), err
	}
	return nil, fmt.Errorf("%w: registry %s", ErrNoProgram, s.Server.Registry)
}

func expandAll(templates []string, values map[string]string) ([]string, error) {
	out := make([]string, len(templates))
	for i, t := range templates {
		var err error
		if out[i], err = Expand(t, values); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// npmScript finds the script behind the package's bin, which npm allows to be
// a path or a map of names to paths.
func (s Server) npmScript(packageDir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(packageDir, "package.json"))
	if err != nil {
		return "", fmt.Errorf("%w: %s is not installed: %w", ErrNoProgram, s.Server.Package, err)
	}
	var manifest struct {
		Bin json.RawMessage `json:"bin"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return "", fmt.Errorf("%w: package.json of %s: %w", ErrNoProgram, s.Server.Package, err)
	}
	own := path.Base(s.Server.Package)
	var bins map[string]string
	var single string
	if json.Unmarshal(manifest.Bin, &single) == nil {
		bins = map[string]string{own: single}
	} else if err := json.Unmarshal(manifest.Bin, &bins); err != nil {
		return "", fmt.Errorf("%w: package.json of %s has no bin", ErrNoProgram, s.Server.Package)
	}
	names := slices.Sorted(maps.Keys(bins))
	name := cmp.Or(s.Server.Bin, own)
	if s.Server.Bin == "" && len(names) == 1 {
		name = names[0]
	}
	script, ok := bins[name]
	if !ok {
		return "", fmt.Errorf("%w: %s has the programs %s: name one as server.bin",
			ErrNoProgram, s.Server.Package, strings.Join(names, ", "))
	}
	if script = filepath.FromSlash(script); !filepath.IsLocal(script) {
		return "", fmt.Errorf("%w: bin of %s points outside the package", ErrNoProgram, s.Server.Package)
	}
	return filepath.Join(packageDir, script), nil
}
