package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/token"
)

func (c *cli) keysCommand() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make, rotate and revoke a deployment's API keys",
		Long: `Make, rotate and revoke the API keys of a deployment's tenants. Only hashes of
them are kept: a key is shown once, when it is made.` + operatorHelp,
		Example: `  lanyard keys list
  LANYARD_API_KEY=$(lanyard keys create)
  lanyard keys rotate --overlap 24h
  lanyard keys revoke key_1234`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	p.flags(cmd)
	cmd.AddCommand(c.keyListCommand(&p), c.keyCreateCommand(&p), c.keyRotateCommand(&p), c.keyRevokeCommand(&p))
	return cmd
}

func (c *cli) keyListCommand(p *place) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "list", Short: "List the API keys, without their values",
		Example: `  lanyard keys list
  lanyard keys list --tenant acme --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.operate(cmd, *p, func(ctx context.Context, d *deployment) error { return c.listKeys(ctx, cmd, d, tenant) })
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "only those of the tenant with this `id`")
	return cmd
}

func (c *cli) listKeys(ctx context.Context, cmd *cobra.Command, d *deployment, tenant string) error {
	tenants, err := d.tenants(ctx, tenant)
	if err != nil {
		return err
	}
	all := []cloud.APIKey{}
	for _, t := range tenants {
		found, err := d.table.APIKeys(nil).List(ctx, t.ID)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	if c.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"keys": all})
	}
	t := newTable(cmd.OutOrStdout())
	t.row("TENANT", "ID", "MADE", "WORKS")
	for _, k := range all {
		t.row(k.Tenant, k.ID, moment(&k.CreatedAt), worksUntil(k, time.Now()))
	}
	return t.flush()
}

func worksUntil(k cloud.APIKey, now time.Time) string {
	switch {
	case !k.Works(now):
		return "expired " + moment(&k.ExpiresAt)
	case k.ExpiresAt.IsZero():
		return "until revoked"
	}
	return "until " + moment(&k.ExpiresAt)
}

// madeKey is a new key, which is shown once.
type madeKey struct {
	cloud.APIKey
	// Key is the one place where the value is written in clear.
	Key string `json:"key"`
	// Expiring are those that it replaces.
	Expiring []cloud.APIKey `json:"expiring,omitempty"`
}

func (c *cli) showKey(cmd *cobra.Command, k cloud.APIKey, value token.Secret, old []cloud.APIKey) error {
	if c.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(madeKey{k, value.Reveal(), old})
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "The API key %s of the tenant %s, which is not shown again:\n", k.ID, k.Tenant)
	_, err := fmt.Fprintln(cmd.OutOrStdout(), value.Reveal())
	for _, o := range old {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s works until %s.\n", o.ID, moment(&o.ExpiresAt))
	}
	return err
}

func (c *cli) keyCreateCommand(p *place) *cobra.Command {
	var tenant string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "create", Short: "Make an API key, and print it",
		Example: `  lanyard keys create --tenant acme
  LANYARD_API_KEY=$(lanyard keys create --ttl 720h)`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var expires time.Time
			if cmd.Flags().Changed("ttl") {
				if ttl < time.Minute {
					return usagef("--ttl must be a minute or more, such as 720h")
				}
				expires = time.Now().UTC().Add(ttl)
			}
			return c.operate(cmd, *p, func(ctx context.Context, d *deployment) error {
				k, value, err := d.table.APIKeys(nil).Create(ctx, tenant, expires)
				if err != nil {
					return err
				}
				return c.showKey(cmd, k, value, nil)
			})
		},
	}
	tenantFlag(cmd, &tenant)
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long it works, such as 720h (default: until it is revoked)")
	return cmd
}

func (c *cli) keyRotateCommand(p *place) *cobra.Command {
	var tenant string
	var overlap time.Duration
	cmd := &cobra.Command{
		Use: "rotate", Short: "Make an API key that replaces the tenant's others",
		Long: `Make an API key, print it, and let the tenant's other keys work on for the
overlap: long enough to give everybody the new one.`,
		Example: `  lanyard keys rotate
  lanyard keys rotate --tenant acme --overlap 1h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if overlap < 0 {
				return usagef("--overlap must not be negative")
			}
			return c.operate(cmd, *p, func(ctx context.Context, d *deployment) error {
				k, value, old, err := d.table.APIKeys(nil).Rotate(ctx, tenant, overlap)
				if value == "" {
					return err
				}
				// Also beside an error: nobody else has the new key.
				if err := c.showKey(cmd, k, value, old); err != nil {
					return err
				}
				return err
			})
		},
	}
	tenantFlag(cmd, &tenant)
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the other keys work on")
	return cmd
}

func (c *cli) keyRevokeCommand(p *place) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "revoke ID", Short: "End an API key at once",
		Example: `  lanyard keys revoke key_1234
  lanyard keys revoke key_5678 --tenant acme`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.operate(cmd, *p, func(ctx context.Context, d *deployment) error {
				if err := d.table.APIKeys(nil).Revoke(ctx, tenant, args[0]); err != nil {
					return err
				}
				if c.json {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"id": args[0], "tenant": tenant, "revoked": true})
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), printable("Revoked: "+args[0]))
				return err
			})
		},
	}
	tenantFlag(cmd, &tenant)
	return cmd
}
