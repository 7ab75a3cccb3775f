package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/presets"
)

func (c *cli) presetsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "presets",
		Short:   "Check, try, make and exchange presets",
		Example: `  lanyard presets lint`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.presetsLintCommand(), c.presetsCatalogueCommand(), c.presetsTryCommand(), c.presetsNewCommand(),
		c.presetsLockCommand(), c.presetsImportCommand(), c.presetsExportCommand())
	return cmd
}

// noPreset: of that name there is none among those that are found.
func noPreset(name string) error {
	return fmt.Errorf("there is no preset %q: \"lanyard servers\" lists those of a Lanyard that runs; your own are found through LANYARD_PRESETS", name)
}

func (c *cli) presetsLintCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "lint [DIR]...",
		Short: "Report what is wrong with presets, by file and line",
		Long: `Report what is wrong with the presets that come with Lanyard, overlaid by the
directories named, or else by those in LANYARD_PRESETS. Each holds providers/,
servers/ or both. No output means that "lanyard dev" accepts them.`,
		Example: `  lanyard presets lint
  lanyard presets lint ./my-presets
  LANYARD_PRESETS=./ours:./mine lanyard presets lint --json`,
		RunE: func(cmd *cobra.Command, dirs []string) error {
			if len(dirs) == 0 {
				dirs = strings.FieldsFunc(c.getenv("LANYARD_PRESETS"), func(r rune) bool { return r == ':' })
			}
			found := presets.Lint(dirs)
			if err := c.printFindings(cmd.OutOrStdout(), found); err != nil {
				return err
			}
			if len(found) > 0 {
				return fmt.Errorf("the presets are not valid: findings: %d", len(found))
			}
			return nil
		},
	}
}

func (c *cli) printFindings(w io.Writer, found []presets.Finding) error {
	if c.json {
		type finding struct {
			File    string `json:"file"`
			Line    int    `json:"line"`
			Message string `json:"message"`
		}
		out := []finding{}
		for _, f := range found {
			out = append(out, finding(f))
		}
		return json.NewEncoder(w).Encode(map[string]any{"findings": out})
	}
	for _, f := range found {
		if _, err := fmt.Fprintln(w, printable(f.String())); err != nil {
			return err
		}
	}
	return nil
}
