package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/client"
)

// connectionsCommand lists, as its subcommand list does.
func (c *cli) connectionsCommand() *cobra.Command {
	cmd := c.connectionListCommand("connections")
	cmd.Short = "List, show, rename and end connections; get their tokens"
	cmd.Example = `  lanyard connections
  lanyard connections list --user alice
  lanyard connections show con_1234
  lanyard connections disconnect con_1234`
	cmd.AddCommand(c.connectionListCommand("list"), c.connectionShowCommand(), c.connectionTokenCommand(),
		c.connectionDisconnectCommand(), c.connectionRenameCommand(), c.connectionOfferCommand())
	return cmd
}

func (c *cli) connectionListCommand(name string) *cobra.Command {
	var f client.ConnectionFilter
	cmd := &cobra.Command{
		Use:   name,
		Short: "List connections",
		Long:  "List connections, of one user or of all, a page at a time.",
		Example: `  lanyard connections list
  lanyard connections list --user alice --server google-drive
  lanyard connections list --limit 200 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.Limit < 1 || f.Limit > 200 {
				return usagef("--limit must be from 1 to 200")
			}
			return c.listConnections(cmd, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.User, "user", "", "only those of the user with this `id`")
	flags.StringVar(&f.Server, "server", "", "only those to the server of this `name`")
	flags.IntVar(&f.Limit, "limit", 50, "how many to list at most, 1 to 200")
	flags.StringVar(&f.Cursor, "cursor", "", "begin at this `CURSOR`, with which the page before ended")
	return cmd
}

func (c *cli) listConnections(cmd *cobra.Command, f client.ConnectionFilter) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	found, err := api.Connections(cmd.Context(), f)
	if err != nil {
		return err
	}
	if c.json {
		return raw(cmd.OutOrStdout(), found.Answer)
	}
	t := newTable(cmd.OutOrStdout())
	t.row("CONNECTION", "USER", "SERVER", "STATUS", "LABEL", "TOKEN EXPIRES")
	for _, one := range found.Connections {
		t.row(one.ID, one.UserID, one.Server, one.Status, one.Label, moment(one.ExpiresAt))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if found.NextCursor != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "There are more: add --cursor %s\n", printable(found.NextCursor))
	}
	return nil
}
