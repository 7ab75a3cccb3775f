package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/install"
	"github.com/lanyardhq/lanyard/presets"
)

func (c *cli) presetsLockCommand() *cobra.Command {
	var into string
	cmd := &cobra.Command{
		Use:   "lock NAME",
		Short: "Pin a preset's package and all that it depends on, by hashes",
		Long: `Make the lock of a preset from npm or PyPI anew: locks/NAME, with the package and
everything that it depends on, each with the hashes of its archives. It runs npm or,
for PyPI, uv, which fetch descriptions and install nothing. A PyPI preset's
requirements.in that is there stays, for bounds on other packages in it.`,
		Example: `  lanyard presets lock weather --into ./ours`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(c.getenv)
			if err != nil {
				return err
			}
			program, err := presets.ReadProgram(append(cfg.Presets, into), args[0])
			if err != nil {
				return err
			}
			if err := makeLock(cmd.Context(), args[0], program, into); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(into, "locks", args[0]))
			return nil
		},
	}
	cmd.Flags().StringVar(&into, "into", "my-presets", "the overlay `directory` to write to")
	return cmd
}

// What npm and uv are told by settings of their own, besides what every package
// manager gets.
var lockNeeds = []string{"NPM_", "NODE_EXTRA_CA_CERTS", "UV_"}

// makeLock writes locks/NAME below a directory. It is made elsewhere: what else
// lies in the directory, such as settings of npm's, is somebody's word whom nobody
// has asked.
func makeLock(ctx context.Context, name string, program presets.Program, into string) error {
	if err := program.CheckPackage(); err != nil {
		return err
	}
	dir := filepath.Join(into, "locks", name)
	work, err := os.MkdirTemp("", "lanyard-lock-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	var made *exec.Cmd
	var files []string
	switch program.Registry {
	case presets.RegistryNPM:
		files = []string{"package.json", "package-lock.json"}
		manifest, err := json.MarshalIndent(map[string]any{
			"name": "lanyard-" + name, "private": true, "dependencies": map[string]string{program.Package: program.Version},
		}, "", "  ")
		if err == nil {
			err = os.WriteFile(filepath.Join(work, files[0]), append(manifest, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
		made = exec.CommandContext(ctx, "npm", "install", "--package-lock-only", "--ignore-scripts", "--save-exact",
			"--omit-lockfile-registry-resolved", "--no-audit", "--no-fund", "--loglevel=error")
	case presets.RegistryPyPI:
		files = []string{"requirements.in", "requirements.txt"}
		wanted, err := os.ReadFile(filepath.Join(dir, files[0]))
		if errors.Is(err, os.ErrNotExist) {
			wanted, err = []byte(program.Package+"=="+program.Version+"\n"), nil
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(work, files[0]), wanted, 0o644)
		}
		if err != nil {
			return err
		}
		made = exec.CommandContext(ctx, "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.10", "--only-binary", ":all:",
			"--generate-hashes", "--no-header", files[0], "-o", files[1])
	default:
		return fmt.Errorf("the server of %q comes from no package, so there is nothing to lock", name)
	}
	made.Dir, made.Env = work, install.Environment(os.Environ(), lockNeeds...)
	out, err := made.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("locking needs %s: install it, then run \"lanyard presets lock %s --into %s\"", made.Args[0], name, into)
	}
	if err != nil {
		return fmt.Errorf("%s could not lock %s %s (%w). It said:\n%s", made.Args[0], program.Package, program.Version, err, printable(string(out)))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(work, file))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), data, 0o644)
		}
		if err != nil {
			return fmt.Errorf("keep the lock: %w", err)
		}
	}
	return nil
}
