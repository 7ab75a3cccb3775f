package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/client"
)

func (c *cli) connectionShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show a connection: account, scopes, health",
		Example: `  lanyard connections show con_1234
  lanyard connections show con_1234 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.client()
			if err != nil {
				return err
			}
			found, err := api.Connection(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if c.json {
				return raw(cmd.OutOrStdout(), found.Answer)
			}
			return printConnection(cmd.OutOrStdout(), found)
		},
	}
}

func printConnection(w io.Writer, c client.Connection) error {
	t := newTable(w)
	t.row("Connection", c.ID)
	t.row("User", c.UserID)
	t.row("Server", c.Server)
	t.row("Provider", c.Provider)
	t.row("Status", c.Status)
	t.row("Health", c.Health)
	t.row("Label", c.Label)
	t.row("Account", c.Account.Label)
	t.row("Scopes", strings.Join(c.Scopes, " "))
	if len(c.MissingScopes) > 0 {
		t.row("Not granted", strings.Join(c.MissingScopes, " "))
	}
	t.row("Offers", offered(c.Tools))
	t.row("Created", moment(c.CreatedAt))
	t.row("Connected", moment(c.ConnectedAt))
	t.row("Token expires", moment(c.ExpiresAt))
	t.row("Last renewed", moment(c.LastRefreshAt))
	t.row("Renewed next", moment(c.NextRefreshAt))
	if c.EndsAt != nil {
		t.row("Grant ends", moment(c.EndsAt))
	}
	t.row("Last used", moment(c.LastUsedAt))
	if f := c.LastError; f != nil {
		t.row("Last error", strings.Join(strings.Fields(f.Verdict+" "+f.Code+" "+f.Detail), " "))
		t.row("Failed", fmt.Sprintf("%d times, last %s", f.Count, moment(f.At)))
	}
	return t.flush()
}

func (c *cli) connectionTokenCommand() *cobra.Command {
	var name string
	var minTTL time.Duration
	cmd := &cobra.Command{
		Use:   "token ID",
		Short: "Print a fresh access token of a connection",
		Long: `Print a fresh access token of a connection, and nothing else. It is renewed first
if it lives shorter than --min-ttl. The audit records that it was handed out.`,
		Example: `  curl -H "Authorization: Bearer $(lanyard connections token con_1234)" https://…
  lanyard connections token con_1234 --min-ttl 30m
  lanyard connections token con_1234 --name user`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if minTTL < 0 || minTTL > 24*time.Hour || minTTL%time.Second != 0 {
				return usagef("--min-ttl must be whole seconds from 0s to 24h")
			}
			return c.token(cmd, args[0], name, minTTL)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the `name` of a second token of the grant (Slack: user)")
	cmd.Flags().DurationVar(&minTTL, "min-ttl", 5*time.Minute, "how long the token must live at least")
	return cmd
}

func (c *cli) token(cmd *cobra.Command, id, name string, minTTL time.Duration) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	t, err := api.Token(cmd.Context(), id, name, minTTL)
	if err != nil {
		return err
	}
	if c.json {
		return raw(cmd.OutOrStdout(), t.Answer)
	}
	secret := t.AccessToken.Reveal()
	// A token is visible ASCII (RFC 6749 appendix A.12). Another one would not
	// survive $(…), and could write to the terminal what it likes.
	if !visible(secret) {
		return errors.New("the token holds characters that no token may have: --json prints it as it is")
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), secret)
	return err
}

// visible reports whether all of s is visible ASCII, and there is some.
func visible(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func (c *cli) connectionDisconnectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "disconnect ID",
		Short: "Revoke a connection at the provider and delete it",
		Long: `Revoke a connection at the provider and delete it, without asking again. Where
the provider does not revoke it, it is deleted here all the same, and said.`,
		Example: `  lanyard connections disconnect con_1234`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.client()
			if err != nil {
				return err
			}
			ended, err := api.Disconnect(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if c.json {
				return raw(cmd.OutOrStdout(), ended.Answer)
			}
			text := "Disconnected and revoked at the provider."
			if ended.Revoked != client.RevokedAtProvider {
				text = "Disconnected here only: " + ended.Detail
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), printable(text))
			return err
		},
	}
}

func (c *cli) connectionRenameCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rename ID LABEL",
		Short: "Give a connection a label",
		Long:  "Give a connection a label. An empty one leaves it to the account's name again.",
		Example: `  lanyard connections rename con_1234 "Work account"
  lanyard connections rename con_1234 ""`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.client()
			if err != nil {
				return err
			}
			found, err := api.Rename(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if c.json {
				return raw(cmd.OutOrStdout(), found.Answer)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), printable(found.ID+" is now called "+found.Label))
			return err
		},
	}
}

func (c *cli) connectionOfferCommand() *cobra.Command {
	var allow, deny []string
	var all bool
	cmd := &cobra.Command{
		Use:   "offer ID",
		Short: "Decide which tools a connection offers to MCP clients",
		Long: `Decide which of its server's tools a connection offers to MCP clients. What was
decided before is replaced. A name that ends in * stands for all that begin so.`,
		Example: `  lanyard connections offer con_1234 --allow 'list_*,read_file'
  lanyard connections offer con_1234 --deny delete_file
  lanyard connections offer con_1234 --all`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(allow)+len(deny) > 0) {
				return usagef("name tools with --allow or --deny, or give --all")
			}
			api, err := c.client()
			if err != nil {
				return err
			}
			found, err := api.OfferTools(cmd.Context(), args[0], allow, deny)
			if err != nil {
				return err
			}
			if c.json {
				return raw(cmd.OutOrStdout(), found.Answer)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), printable(found.ID+" offers "+offered(found.Tools)))
			return err
		},
	}
	cmd.Flags().StringSliceVar(&allow, "allow", nil, "offer these `tools` only")
	cmd.Flags().StringSliceVar(&deny, "deny", nil, "do not offer these `tools`")
	cmd.Flags().BoolVar(&all, "all", false, "offer all tools")
	return cmd
}

// offered says which tools clients get.
func offered(t client.Tools) string {
	text := "all tools"
	if len(t.Allow) > 0 {
		text = strings.Join(t.Allow, ", ")
	}
	if len(t.Deny) > 0 {
		text += " without " + strings.Join(t.Deny, ", ")
	}
	return text
}
