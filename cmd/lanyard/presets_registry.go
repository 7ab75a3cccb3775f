package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/presets"
)

func (c *cli) presetsImportCommand() *cobra.Command {
	var into string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make a preset from a record of the MCP Registry",
		Long: `Make a preset from a server.json, as the MCP Registry has them (schema
2025-12-11); "-" is standard input. What such a record does not say is asked: which
provider grants access, with which scopes, and which variable takes the token. A
record that "lanyard presets export" wrote says it all.`,
		Example: `  lanyard presets import server.json --into ./ours`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := readArgument(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			record, err := presets.ReadRecord(data)
			if err != nil {
				return err
			}
			draft, open, err := record.Draft()
			if err != nil {
				return err
			}
			q := newQuestions(cmd.InOrStdin(), cmd.ErrOrStderr())
			if draft.AuthType == "" {
				if err := q.credentials(&draft, open); err != nil {
					return err
				}
			}
			if err := c.writeDraft(cmd, draft, into); err != nil {
				return err
			}
			if r := draft.Server.Registry; r == presets.RegistryNPM || r == presets.RegistryPyPI {
				fmt.Fprintf(cmd.ErrOrStderr(), "next: lanyard presets lock %[1]s --into %[2]s, then LANYARD_PRESETS=%[2]s lanyard presets try %[1]s\n", draft.Name, into)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&into, "into", "my-presets", "the overlay `directory` to write to")
	return cmd
}

func readArgument(stdin io.Reader, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}

// writeDraft writes a preset that is not there yet, and says where.
func (c *cli) writeDraft(cmd *cobra.Command, d presets.Draft, into string) error {
	text, err := d.YAML()
	if err != nil {
		return err
	}
	file := filepath.Join(into, "servers", d.Name+".yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if os.IsExist(err) {
		return fmt.Errorf("%s is there already: move it away, or choose another --into", file)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), file)
	return nil
}

func (c *cli) presetsExportCommand() *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use:   "export NAME",
		Short: "Write a preset as a record of the MCP Registry",
		Long: `Write a preset as a server.json of the MCP Registry (schema 2025-12-11). What
Lanyard knows of the server's credentials stands in it under the publisher's own
key of _meta, for "lanyard presets import". To publish a record, name it in a
namespace of yours with --as.`,
		Example: `  lanyard presets export notion --as io.github.you/notion`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(c.getenv)
			if err != nil {
				return err
			}
			loaded, err := presets.Load(cfg.Presets)
			if err != nil {
				return err
			}
			s, ok := loaded.Server(args[0])
			if !ok {
				return noPreset(args[0])
			}
			if as == "" {
				as = "io.github.lanyardhq/" + s.Name
			}
			record, err := s.Record(as)
			if err != nil {
				return err
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			return enc.Encode(record)
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "the record's `name`, in a namespace of yours (default io.github.lanyardhq/NAME)")
	return cmd
}
