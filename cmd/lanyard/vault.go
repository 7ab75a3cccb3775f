package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/connection"
)

func (c *cli) vaultCommand() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:     "vault",
		Short:   "Move a deployment's sealed grants to another store",
		Long:    `Move a deployment's sealed grants to another store.` + operatorHelp,
		Example: `  lanyard vault migrate --to dynamodb`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	p.flags(cmd)
	cmd.AddCommand(c.vaultMigrateCommand(&p))
	return cmd
}

func (c *cli) vaultMigrateCommand(p *place) *cobra.Command {
	var to string
	var force bool
	cmd := &cobra.Command{
		Use:   "migrate --to STORE",
		Short: "Move the sealed grants to Secrets Manager or to DynamoDB",
		Long: `Move the sealed grants of all connections to Secrets Manager or to DynamoDB, while
the deployment works. First deploy with that vault store, so that new grants go
there; then run this.

One connection after the other is leased, copied, compared, pointed to its copy,
and its old copy removed. Nothing is lost if this is interrupted: run it again
and it goes on. Nothing is unsealed. Secrets Manager takes 50 writes a second
from an account: expect about ten connections a second.

It refuses a table that the deployment does not work with, such as the one that
was there before a restore: both name the same secrets, and those of the table in
use would go.`,
		Example: `  lanyard vault migrate --to dynamodb
  lanyard vault migrate --to secretsmanager --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to != config.StoreDynamoDB && to != config.StoreSecretsManager {
				return usagef("--to must be %s or %s", config.StoreDynamoDB, config.StoreSecretsManager)
			}
			return c.operate(cmd, *p, func(ctx context.Context, d *deployment) error {
				if err := d.checkMigration(to, force); err != nil {
					return err
				}
				return c.migrate(ctx, cmd, d, to)
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the `store`: dynamodb or secretsmanager (required)")
	cmd.Flags().BoolVar(&force, "force", false, "migrate the table that you name, although the deployment works with another one or cannot be asked")
	return cmd
}

func (c *cli) migrate(ctx context.Context, cmd *cobra.Command, d *deployment, to string) error {
	tenants, err := d.table.Tenants().List(ctx)
	if err != nil {
		return err
	}
	m := &cloud.Migration{Connections: d.table, Now: time.Now,
		Grants: &cloud.Grants{Table: d.table, Secrets: &cloud.SecretGrants{Store: d.secrets}, Store: to},
		Report: func(k connection.Key, err error) {
			fmt.Fprintln(cmd.ErrOrStderr(), printable(fmt.Sprintf("%s of %s was not moved: %v", k.ID, k.Tenant, err)))
		}}
	var all cloud.Moved
	for _, t := range tenants {
		moved, err := m.Run(ctx, t.ID)
		all.Add(moved)
		if err != nil {
			return errors.Join(c.showMoved(cmd, to, all), err)
		}
	}
	if err := c.showMoved(cmd, to, all); err != nil {
		return err
	}
	if all.Left > 0 {
		return fmt.Errorf("connections that were not moved: %d. They work as before; run this again in two minutes", all.Left)
	}
	return nil
}

func (c *cli) showMoved(cmd *cobra.Command, to string, m cloud.Moved) error {
	if c.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
			To string `json:"to"`
			cloud.Moved
		}{to, m})
	}
	w := cmd.OutOrStdout()
	_, err := fmt.Fprintf(w, "moved to %s: %d\nthere already: %d\nwithout a grant to move: %d\nnot moved: %d\n", to, m.Moved, m.Already, m.Empty, m.Left)
	if m.Kept > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "Connections of which the old store still holds something that they do not name: %d. It goes when they are disconnected.\n", m.Kept)
	}
	return err
}
