package main

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// plainArguments has each command name the argument that is missing, or say that
// it takes none: cobra, which counts them, knows numbers alone. Of a command that
// has others below it, an argument is the name of one that there is not, and
// cobra says so.
func plainArguments(cmd *cobra.Command) {
	for _, below := range cmd.Commands() {
		plainArguments(below)
	}
	count := cmd.Args
	if count == nil || cmd.HasSubCommands() {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if count(cmd, args) == nil {
			return nil
		}
		names := argumentNames(cmd)
		usage := strings.TrimSpace(strings.TrimSuffix(cmd.CommandPath(), cmd.Name()) + cmd.Use)
		switch {
		case len(names) == 0:
			return usagef("%q takes no arguments", cmd.CommandPath())
		case len(args) < len(names):
			return usagef("%s is missing: %s", strings.TrimSuffix(names[len(args)], "..."), usage)
		}
		return usagef("there are more arguments than the command takes: %s", usage)
	}
}

// notArguments is what a command's line of use has beside its arguments: flags,
// with their values, and what may be left out.
var notArguments = regexp.MustCompile(`\[[^]]*\]|--\S+ \S+|--`)

// argumentNames are those of a command's line of use, such as ID and LABEL.
func argumentNames(cmd *cobra.Command) []string {
	_, rest, _ := strings.Cut(cmd.Use, " ")
	return strings.Fields(notArguments.ReplaceAllString(rest, ""))
}
