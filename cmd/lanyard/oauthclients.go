package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/client"
)

// oauthClientsCommand is about MCP clients, which sign people in here. Those that
// we are ourselves, at providers, are clientCommand's.
func (c *cli) oauthClientsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "oauth-clients",
		Short: "Register MCP clients that cannot do it themselves",
		Long: `Register MCP clients that want a client id, and perhaps a secret, typed in.

Most need none of this: they publish what they are at an address that is their
id, or register themselves. docs/signin.md has the list. An API key of the tenant
default is needed: a client is the whole deployment's.`,
		Example: `  lanyard oauth-clients add "Team chat" --redirect https://chat.example.com/oauth/callback
  lanyard oauth-clients list
  lanyard oauth-clients remove cli_1234`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.oauthClientAddCommand(), c.oauthClientListCommand(), c.oauthClientRemoveCommand())
	return cmd
}

func (c *cli) oauthClientAddCommand() *cobra.Command {
	var in client.OAuthClientRequest
	cmd := &cobra.Command{
		Use:   "add NAME --redirect URI",
		Short: "Register an MCP client, and print its id and secret",
		Long: `Register an MCP client, and print its id and, once, its secret. People are shown
the name when the client asks for access.

A redirect URI is matched exactly, except for the port of one on loopback.`,
		Example: `  lanyard oauth-clients add "Team chat" --redirect https://chat.example.com/oauth/callback
  lanyard oauth-clients add "My editor" --redirect http://127.0.0.1/callback --auth client_secret_basic`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(in.RedirectURIs) == 0 {
				return usagef("--redirect is missing: where the client takes its answers, which its documentation says")
			}
			if !slices.Contains([]string{"", "none", "client_secret_basic", "client_secret_post"}, in.AuthMethod) {
				return usagef("--auth must be none, client_secret_basic or client_secret_post")
			}
			api, err := c.client()
			if err != nil {
				return err
			}
			in.Name = args[0]
			made, err := api.AddOAuthClient(cmd.Context(), in)
			if err != nil {
				return err
			}
			return c.showOAuthClient(cmd, made)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&in.RedirectURIs, "redirect", nil, "a redirect `URI` of the client (required; may be repeated)")
	flags.StringVar(&in.AuthMethod, "auth", "", "how it proves itself: none (the default), client_secret_basic or client_secret_post")
	return cmd
}

func (c *cli) showOAuthClient(cmd *cobra.Command, made client.NewOAuthClient) error {
	if c.json {
		return raw(cmd.OutOrStdout(), made.Answer)
	}
	t := newTable(cmd.OutOrStdout())
	t.row("Client id", made.ID)
	if made.Secret != "" {
		t.row("Secret", made.Secret.Reveal())
	}
	if err := t.flush(); err != nil {
		return err
	}
	if made.Secret != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "The secret is not shown again.")
	}
	return nil
}

func (c *cli) oauthClientListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the MCP clients that were registered by hand",
		Example: `  lanyard oauth-clients list
  lanyard oauth-clients list --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.client()
			if err != nil {
				return err
			}
			found, err := api.OAuthClients(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return raw(cmd.OutOrStdout(), found.Answer)
			}
			t := newTable(cmd.OutOrStdout())
			t.row("CLIENT", "NAME", "PROVES ITSELF BY", "MADE", "REDIRECTS")
			for _, one := range found.Clients {
				t.row(one.ID, one.Name, one.AuthMethod, moment(one.CreatedAt), strings.Join(one.RedirectURIs, " "))
			}
			return t.flush()
		},
	}
}

func (c *cli) oauthClientRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove ID",
		Short: "Remove an MCP client that was registered by hand",
		Long: `Remove an MCP client that was registered by hand: it gets no more tokens, and
those that it has end within the hour.`,
		Example: `  lanyard oauth-clients remove cli_1234`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.client()
			if err != nil {
				return err
			}
			if err := api.RemoveOAuthClient(cmd.Context(), args[0]); err != nil {
				return err
			}
			if c.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"client_id": args[0], "removed": true})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), printable("Removed: "+args[0]))
			return err
		},
	}
}
