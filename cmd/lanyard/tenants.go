package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/notify"
)

func (c *cli) tenantsCommand() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:   "tenants",
		Short: "Make, set and remove a deployment's tenants",
		Long: `Make, set and remove the tenants of a deployment. Each has its own API keys,
users and connections, and may have its own clients at providers. A deployment
for one product needs the tenant "default" only, which is always there.` + operatorHelp,
		Example: `  lanyard tenants list
  lanyard tenants create acme --return-url https://acme.example/connected/
  lanyard tenants set default --confirm off
  lanyard keys create --tenant acme`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	p.flags(cmd)
	cmd.AddCommand(c.tenantListCommand(&p), c.tenantCreateCommand(&p), c.tenantSetCommand(&p), c.tenantRemoveCommand(&p))
	return cmd
}

func (c *cli) tenantListCommand(p *place) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the tenants",
		Example: `  lanyard tenants list
  lanyard tenants list --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.operate(cmd, *p, func(ctx context.Context, d *deployment) error {
				all, err := d.table.Tenants().List(ctx)
				if err != nil {
					return err
				}
				return c.showTenants(cmd, all, map[string]any{"tenants": all})
			})
		},
	}
}

func (c *cli) showTenants(cmd *cobra.Command, all []cloud.Tenant, doc any) error {
	if c.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(doc)
	}
	t := newTable(cmd.OutOrStdout())
	t.row("TENANT", "CONFIRM", "SIGN-IN", "RETURN URLS")
	for _, v := range all {
		way := string(v.SignIn.Way())
		if host := v.SignIn.Elsewhere(); host != "" {
			way += " " + host
		}
		t.row(v.ID, map[bool]string{true: "on", false: "off"}[v.Confirm], way, strings.Join(v.ReturnURLs, " "))
	}
	return t.flush()
}

// tenantFlags are what can be set of a tenant.
type tenantFlags struct {
	returnURLs []string
	confirm    string
	signIn     signInFlags
}

func (f *tenantFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.returnURLs, "return-url", nil, "a `URL` that people may be sent back to: an exact one, or a prefix that ends in a slash;\nmay be repeated, and replaces the list that there is (\"\": by none)")
	flags.StringVar(&f.confirm, "confirm", "", "`on` or off: whether the tenant's backend must confirm who has finished a connection\nthat began from a link or the API")
	f.signIn.add(cmd)
}

// apply changes a tenant as the flags say.
func (f *tenantFlags) apply(cmd *cobra.Command) (func(*cloud.Tenant), error) {
	if f.confirm != "" && f.confirm != "on" && f.confirm != "off" {
		return nil, usagef("--confirm must be on or off")
	}
	setSignIn, err := f.signIn.apply(cmd)
	if err != nil {
		return nil, err
	}
	list := slices.DeleteFunc(slices.Clone(f.returnURLs), func(s string) bool { return s == "" })
	if err := (cloud.Tenant{ID: "x", ReturnURLs: list}).Check(); err != nil {
		return nil, usagef("--return-url: %w", err)
	}
	return func(v *cloud.Tenant) {
		if cmd.Flags().Changed("return-url") {
			v.ReturnURLs = list
		}
		if f.confirm != "" {
			v.Confirm = f.confirm == "on"
		}
		setSignIn(&v.SignIn)
	}, nil
}

func (c *cli) tenantCreateCommand(p *place) *cobra.Command {
	var f tenantFlags
	cmd := &cobra.Command{
		Use: "create ID", Short: "Make a tenant",
		Long: `Make a tenant. It has no API key yet: "lanyard keys create --tenant ID" makes one.`,
		Example: `  lanyard tenants create acme
  lanyard tenants create acme --return-url https://acme.example/connected/ --confirm on`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			apply, err := f.apply(cmd)
			if err != nil {
				return err
			}
			v := cloud.Tenant{ID: args[0], Confirm: true}
			apply(&v)
			if err := v.Check(); err != nil {
				return usageError{err}
			}
			return c.operate(cmd, *p, func(ctx context.Context, d *deployment) error {
				made, err := d.table.Tenants().Create(ctx, v)
				if errors.Is(err, cloud.ErrTenantRemoved) {
					return awsError{fmt.Errorf("there was a tenant %s, which was removed: its id stays taken, so that nobody gets what was made for it", v.ID), "Choose another id.", exitFailed}
				}
				if errors.Is(err, cloud.ErrTenantExists) {
					return awsError{err, "\"lanyard tenants set\" changes it.", exitFailed}
				}
				if err != nil {
					return err
				}
				return c.showTenants(cmd, []cloud.Tenant{made}, made)
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (c *cli) tenantSetCommand(p *place) *cobra.Command {
	var f tenantFlags
	cmd := &cobra.Command{
		Use: "set ID", Short: "Change a tenant",
		Long: `Change a tenant. What is not named stays as it is; --sign-in replaces how its
people sign in as a whole. Of an OpenID Connect issuer, register the redirect URI
{base URL}/oauth/sign-in/callback and keep the client with "lanyard client set
sign-in".`,
		Example: `  lanyard tenants set default --return-url https://app.example/connected/
  lanyard tenants set acme --confirm off
  lanyard tenants set acme --sign-in oidc --oidc-issuer https://accounts.google.com --oidc-domain acme.example
  lanyard tenants set acme --sign-in login_url --login-url https://acme.example/lanyard-login`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			apply, err := f.apply(cmd)
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("return-url") && f.confirm == "" && !f.signIn.changed(cmd) {
				return usagef("there is nothing to set: name --return-url, --confirm or --sign-in")
			}
			return c.operate(cmd, *p, func(ctx context.Context, d *deployment) error {
				set, err := d.table.Tenants().Update(ctx, args[0], apply)
				if err != nil {
					return err
				}
				return c.showTenants(cmd, []cloud.Tenant{set}, set)
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (c *cli) tenantRemoveCommand(p *place) *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "Remove a tenant that has no connections",
		Long: `Remove a tenant with its API keys, clients and webhook. Disconnect its users
first, with the tenant's own API key: that revokes their grants at the providers.

Its id stays taken for good: links and sessions of it are about still, which end
with it. Interrupted, run it again.`,
		Example: `  lanyard tenants remove acme`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.operate(cmd, *p, func(ctx context.Context, d *deployment) error {
				if err := c.removeTenant(ctx, d, args[0]); err != nil {
					return err
				}
				if c.json {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"id": args[0], "removed": true})
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), printable("Removed: "+args[0]))
				return err
			})
		},
	}
}

func (c *cli) removeTenant(ctx context.Context, d *deployment, id string) error {
	own, err := d.table.ClientIDs().List(ctx, id)
	if err != nil {
		return err
	}
	providers := map[string]bool{flow.SignInClient: true}
	for _, e := range own {
		providers[e.Provider] = true
	}
	// Secrets of clients that were removed before are listed nowhere.
	catalogue, err := c.catalogue()
	if err != nil {
		return err
	}
	for _, s := range catalogue.Servers() {
		if id := s.ProviderID(); id != "" {
			providers[id] = true
		}
	}
	err = d.table.Tenants().Remove(ctx, id)
	if errors.Is(err, cloud.ErrTenantInUse) {
		return awsError{err, "Disconnect its users first: DELETE /api/v1/users/{id}, or \"lanyard connections disconnect\", with its API key.", exitFailed}
	}
	// Of one that was removed before, a client may be left.
	if err != nil && !errors.Is(err, cloud.ErrTenantRemoved) {
		return err
	}
	for p := range providers {
		if err := d.clients().Remove(ctx, d.table.ClientIDs(), id, p, true); err != nil {
			return fmt.Errorf("the tenant is removed, but not its client at %s: run \"lanyard tenants remove %s\" again: %w", p, id, err)
		}
	}
	if err := d.webhooks().Remove(ctx, id); err != nil && !errors.Is(err, notify.ErrNoEndpoint) {
		return fmt.Errorf("the tenant is removed, but not its webhook: run \"lanyard tenants remove %s\" again: %w", id, err)
	}
	return nil
}
