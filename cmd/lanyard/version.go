package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/build"
)

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print what this program was built from",
		Example: `  lanyard version
  lanyard version --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(build.Own())
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "lanyard", build.Own())
			return err
		},
	}
}
