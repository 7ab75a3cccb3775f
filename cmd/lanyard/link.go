package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/client"
	"github.com/lanyardhq/lanyard/internal/flow"
)

func (c *cli) linkCommand() *cobra.Command {
	var in client.LinkRequest
	var ttl time.Duration
	var params []string
	cmd := &cobra.Command{
		Use:   "link --user ID",
		Short: "Make a connect link for a user",
		Long: `Make a connect link for a user, and print its URL.

Whoever opens the link first connects servers as that user, in that browser:
send it to nobody else. The URL cannot be shown again.`,
		Example: `  lanyard link --user alice
  lanyard link --user alice --server google-drive --ttl 1h
  lanyard link --user alice --server shopify --param shop=acme \
      --return-url https://app.example.com/connected`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if in.Params, err = pairs(params); err != nil {
				return err
			}
			if cmd.Flags().Changed("ttl") && (ttl < time.Second || ttl%time.Second != 0) {
				return usagef("--ttl must be whole seconds, such as 30m")
			}
			in.TTL = int64(ttl / time.Second)
			return c.link(cmd, in)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&in.UserID, "user", "", "the `id` of the user in your product (required)")
	flags.StringSliceVar(&in.Servers, "server", nil, "offer only the server of this `name`; may be repeated")
	flags.StringVar(&in.ReturnURL, "return-url", "", "the `URL` that the person is sent back to")
	flags.DurationVar(&ttl, "ttl", 0, fmt.Sprintf("how long the link works, such as 1h; %.0fh at most (default: the server's, a day)", flow.MaxLinkTTL.Hours()))
	flags.StringArrayVar(&params, "param", nil, "a `name=value` that a server asks before connecting; may be repeated")
	return cmd
}

func (c *cli) link(cmd *cobra.Command, in client.LinkRequest) error {
	if in.UserID == "" {
		return usagef("--user is missing: the user of your product that the link is for")
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	l, err := api.CreateLink(cmd.Context(), in)
	if err != nil {
		return err
	}
	if in.TTL > int64(flow.MaxLinkTTL/time.Second) {
		fmt.Fprintf(cmd.ErrOrStderr(), "--ttl is cut to the longest that a link works: %.0fh.\n", flow.MaxLinkTTL.Hours())
	}
	c.warnOfClients(cmd, api, in)
	if c.json {
		return raw(cmd.OutOrStdout(), l.Answer)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Works in the browser that opens it first, until %s:\n", moment(&l.ExpiresAt))
	_, err = fmt.Fprintln(cmd.OutOrStdout(), printable(l.URL))
	return err
}

// warnOfClients says which of the link's servers nobody can connect yet. The link
// is made all the same: it works as soon as they have what they lack.
func (c *cli) warnOfClients(cmd *cobra.Command, api *client.Client, in client.LinkRequest) {
	if len(in.Servers) == 0 {
		return
	}
	found, err := api.Servers(cmd.Context(), in.UserID)
	if err != nil {
		return // the link is what was asked for
	}
	for _, s := range found.Servers {
		if s.Status != client.NeedsClient || !slices.Contains(in.Servers, s.Name) {
			continue
		}
		show := "lanyard providers"
		if catalogue, err := c.catalogue(); err == nil {
			if known, ok := catalogue.Server(s.Name); ok && known.OAuthService != "" {
				show += " show " + known.OAuthService
			}
		}
		fmt.Fprintln(cmd.ErrOrStderr(), printable(fmt.Sprintf("Beware: %s cannot be connected yet, because this Lanyard has no OAuth client for its provider: %q says what to register, and where to put it.", s.Name, show)))
	}
}

// pairs reads name=value arguments.
func pairs(given []string) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range given {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, usagef("--param must be name=value")
		}
		if _, twice := out[name]; twice {
			return nil, usagef("--param %s is given twice", name)
		}
		out[name] = value
	}
	return out, nil
}
