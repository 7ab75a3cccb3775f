package main

import (
	"os"
	"testing"

	"github.com/spf13/cobra"
)

// TestArguments: the arguments in each command's line of use are those that it
// takes, and one less or one more is refused.
func TestArguments(t *testing.T) {
	t.Parallel()
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		for _, below := range cmd.Commands() {
			check(below)
		}
		if cmd.HasSubCommands() || cmd.Args == nil {
			return
		}
		names := argumentNames(cmd)
		if err := cmd.Args(cmd, names); err != nil {
			t.Errorf("%q: %v", cmd.Use, err)
		}
		if len(names) > 0 && cmd.Args(cmd, names[1:]) == nil {
			t.Errorf("%q takes one argument less", cmd.Use)
		}
	}
	check((&cli{getenv: os.Getenv}).root())
}
