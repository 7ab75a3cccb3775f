package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/client"
)

func (c *cli) serversCommand() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "servers",
		Short: "List the MCP servers and a user's connections to them",
		Long: `List the MCP servers and a user's connections to them.

A server is available until the user has connected it; needs_client means that
this Lanyard has no OAuth client for the server's provider yet: "lanyard
providers show" says what to register and enable there.`,
		Example: `  lanyard servers
  lanyard servers --user alice
  lanyard servers --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.client()
			if err != nil {
				return err
			}
			found, err := api.Servers(cmd.Context(), user)
			if err != nil {
				return err
			}
			if c.json {
				return raw(cmd.OutOrStdout(), found.Answer)
			}
			return printServers(newTable(cmd.OutOrStdout()), found.Servers)
		},
	}
	cmd.Flags().StringVar(&user, "user", owner, "the `id` of the user; on a machine of one's own it is "+owner)
	return cmd
}

// printServers prints a row for each connection, and one for each server that
// has none.
func printServers(t table, servers []client.Server) error {
	t.row("SERVER", "STATUS", "CONNECTION", "LABEL", "AUTH", "TOOLS")
	for _, s := range servers {
		tools := ""
		if s.ToolsCount != nil {
			tools = strconv.Itoa(*s.ToolsCount)
		}
		if len(s.Connections) == 0 {
			t.row(s.Name, s.Status, "", "", s.AuthType, tools)
		}
		for _, b := range s.Connections {
			t.row(s.Name, b.Status, b.ID, b.Label, s.AuthType, tools)
		}
	}
	return t.flush()
}
