package presets

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/lanyardhq/lanyard/internal/task"
)

// ErrNoProgram: there is nothing to start, because the server is remote or its
// lock does not say what.
var ErrNoProgram = errors.New("no program to start")

// Recipe is how the server is started where it is installed in installedDir
// (see package install; unused for registry command). It reads no file there. What
// in.User holds includes what the provider asks the person, and in.Client what is
// derived from what was set with the client. A parameter that has no value, or one
// that does not fit, is [ErrParameter].
func (s Server) Recipe(installedDir string, in Inputs) (task.Recipe, error) {
	values, err := s.values(in)
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
		Parameters:  s.shown(in.User, values),
		Rotation:    s.Rotation,
		Clients:     s.Server.Clients,
		AuthFailure: slices.Clone(s.AuthFailure),
	}, nil
}

// values are what the {parameters} of this preset stand for. Those that the
// server does not declare are its provider's, which were checked when the
// person connected; a declared one is never taken from another source.
func (s Server) values(in Inputs) (map[string]string, error) {
	out := make(map[string]string, len(in.User))
	maps.Copy(out, in.User)
	for name, p := range s.Parameters {
		delete(out, name)
		value := p.given(name, in)
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

// shown are the parameters that a credential file may use: those of the person,
// and those of the client that the preset declares.
func (s Server) shown(user, values map[string]string) map[string]string {
	out := maps.Clone(user)
	for name, p := range s.Parameters {
		if p.Source != SourceClient {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = values[name]
	}
	return out
}

// AtClient reports whether the server is where our client at its provider is: it
// declares a parameter of the client.
func (s Server) AtClient() bool {
	for _, p := range s.Parameters {
		if p.Source == SourceClient {
			return true
		}
	}
	return false
}

// Serves reports why the server is not for where our client at its provider is;
// at are the client's values. One that does not declare a parameter of the client
// is for its default: nobody knows that its package, or whoever runs it, could use
// a token of elsewhere, or would keep it to itself.
func (s Server) Serves(p Provider, at map[string]string) error {
	for _, name := range p.ClientParameters() {
		own := Parameter{Enum: []string{p.Parameters[name].Default}}
		if s.AtClient() {
			own = s.Parameters[name]
		}
		if err := own.Allows(at[name]); err != nil {
			return fmt.Errorf("the server %s does not work with the client's %s, %s: %w", s.DisplayName, name, at[name], err)
		}
	}
	return nil
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
		script, err := s.npmScript()
		if err != nil {
			return nil, err
		}
		args, err := expandAll(s.Server.Args, values)
		// Starting the script itself, not npx or a shell script, leaves one
		// process to signal and saves half a second and 80 MB.
		return append([]string{"node", filepath.Join(installedDir, script)}, args...), err
	case RegistryPyPI:
		args, err := expandAll(s.Server.Args, values)
		// installedDir is a virtual environment. Its interpreter is named because
		// a script names the place that it was installed in first.
		bin := filepath.Join(installedDir, "bin")
		return append([]string{filepath.Join(bin, "python3"), filepath.Join(bin, cmp.Or(s.Server.Bin, s.Server.Package))}, args...), err
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
