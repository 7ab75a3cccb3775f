package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/notify"
	"github.com/lanyardhq/lanyard/internal/token"
)

func (c *cli) webhooksCommand() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:   "webhooks",
		Short: "Set and try where changes of connections' health are told",
		Long: `Set and try where changes of connections' health are told: which event there is
for what, and how a receiver checks that it is ours, is in docs/webhooks.md.

"test" has a Lanyard that runs send an event: the one that --url names.

On one machine ("lanyard dev") the endpoint is LANYARD_WEBHOOK_URL, in the
environment or in .env, and "secret" prints what signs.

"set", "rotate" and "remove" are about the endpoint of a deployment's tenant. They
alone act on a deployment in an AWS account, with your own AWS credentials.`,
		Example: `  lanyard webhooks set https://app.example.com/webhooks/lanyard
  lanyard webhooks test
  lanyard webhooks rotate --overlap 24h
  lanyard webhooks secret`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	// Those of an operator alone: "test" and "secret" act on no deployment's table.
	operators := []*cobra.Command{c.webhookSetCommand(&p), c.webhookRotateCommand(&p), c.webhookRemoveCommand(&p)}
	for _, o := range operators {
		p.flags(o)
	}
	cmd.AddCommand(append(operators, c.webhookTestCommand(), c.webhookSecretCommand())...)
	return cmd
}

func (c *cli) webhookTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test",
		Short: "Have an event sent to the endpoint now",
		Long: `Have an event of the type webhook.test sent to the endpoint of the API key's
tenant now, once, and say how it was answered.`,
		Example: `  lanyard webhooks test
  lanyard webhooks test --url https://connect.example.com`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.client()
			if err != nil {
				return err
			}
			out, err := api.TestWebhook(cmd.Context())
			if err != nil {
				return err
			}
			if c.json {
				return raw(cmd.OutOrStdout(), out.Answer)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Delivered: the endpoint answered %d.\n", out.Status)
			return err
		},
	}
}

func (c *cli) webhookSetCommand(p *place) *cobra.Command {
	var e cloud.WebhookEntry
	cmd := &cobra.Command{
		Use:   "set URL",
		Short: "Set a tenant's endpoint, and print its signing secret",
		Long: `Set a tenant's endpoint. The first time, its signing secret is made and printed,
once; with another URL later it stays what it is. Functions know it within a
minute: then try it with "lanyard webhooks test".

A webhook that the person can do something about has a reconnect link. Where the
tenant's backend confirms who connects, say with --return-url where the person is
sent after reconnecting, so that it can.` + operatorHelp,
		Example: `  lanyard webhooks set https://app.example.com/webhooks/lanyard
  lanyard webhooks set https://acme.example.com/hook --tenant acme \
      --return-url https://acme.example.com/connected`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e.URL = args[0]
			return c.setWebhook(cmd, *p, e)
		},
	}
	tenantFlag(cmd, &e.Tenant)
	cmd.Flags().StringVar(&e.ReturnURL, "return-url", "", "the `URL`, one of the tenant's return URLs, that a person is sent to after reconnecting")
	return cmd
}

func (c *cli) setWebhook(cmd *cobra.Command, p place, e cloud.WebhookEntry) error {
	if c.onLaptop() {
		return errors.New("no AWS account is chosen, and this directory holds the data of Lanyard on this machine:\n" +
			"there, put the endpoint into the file .env as LANYARD_WEBHOOK_URL and start \"lanyard dev\" again;\n" +
			"\"lanyard webhooks secret\" prints what signs. For a deployment, choose its account and region first: AWS_PROFILE, AWS_REGION")
	}
	if err := notify.CheckURL(e.URL, false); err != nil {
		return usageError{err}
	}
	return c.operate(cmd, p, func(ctx context.Context, d *deployment) error {
		t, err := d.table.Tenants().Get(ctx, e.Tenant)
		if err != nil {
			return err
		}
		err = (&flow.Starter{Tenants: d.table.Tenants()}).CheckReturnURL(ctx, e.Tenant, e.ReturnURL)
		if errors.Is(err, flow.ErrReturnURL) {
			return usageError{fmt.Errorf("--return-url: %w: it is none of the tenant's, which \"lanyard tenants set\" sets", err)}
		}
		if err != nil {
			return err
		}
		made, err := d.webhooks().Set(ctx, e)
		if err != nil {
			return err
		}
		if t.Confirm && e.ReturnURL == "" {
			fmt.Fprintln(cmd.ErrOrStderr(), "Beware: this tenant confirms who connects, and is not asked to where a person reconnects by the link in a webhook: name a --return-url.")
		}
		return c.showWebhook(cmd, e.Tenant, e.URL, made, time.Time{})
	})
}

// shownWebhook is an endpoint with its signing secret, which is shown once.
type shownWebhook struct {
	Tenant string `json:"tenant"`
	URL    string `json:"url,omitempty"`
	// Secret is the one place where the value is written in clear.
	Secret string `json:"secret,omitempty"`
	// Until is when the one before it signs no more.
	Until time.Time `json:"until,omitzero"`
}

func (c *cli) showWebhook(cmd *cobra.Command, tenant, url string, secret token.Secret, until time.Time) error {
	if c.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(shownWebhook{tenant, url, secret.Reveal(), until})
	}
	told := cmd.ErrOrStderr()
	if url != "" {
		fmt.Fprintln(told, printable(fmt.Sprintf("The tenant %s is told at %s.", tenant, url)))
	}
	if secret == "" {
		fmt.Fprintln(told, "Its signing secret stays; \"lanyard webhooks rotate\" makes a new one.")
		return nil
	}
	fmt.Fprintln(told, "The signing secret, which is not shown again:")
	_, err := fmt.Fprintln(cmd.OutOrStdout(), secret.Reveal())
	if !until.IsZero() {
		fmt.Fprintf(told, "The one before it signs, too, until %s.\n", moment(&until))
	}
	return err
}

func (c *cli) webhookRotateCommand(p *place) *cobra.Command {
	var tenant string
	var overlap time.Duration
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new signing secret, and print it",
		Long: `Make a new signing secret for a tenant's endpoint, and print it, once. Both the
new and the old one sign for the overlap: long enough for the receiver to go over.
With --overlap 0s the old one signs no more within a minute.` + operatorHelp,
		Example: `  lanyard webhooks rotate
  lanyard webhooks rotate --tenant acme --overlap 0s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if overlap < 0 {
				return usagef("--overlap must not be negative")
			}
			return c.operate(cmd, *p, func(ctx context.Context, d *deployment) error {
				if _, err := d.table.Tenants().Get(ctx, tenant); err != nil {
					return err
				}
				secret, until, err := d.webhooks().Rotate(ctx, tenant, overlap)
				if err != nil {
					return err
				}
				if overlap == 0 {
					until = time.Time{}
				}
				return c.showWebhook(cmd, tenant, "", secret, until)
			})
		},
	}
	tenantFlag(cmd, &tenant)
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old secret signs, too")
	return cmd
}

func (c *cli) webhookRemoveCommand(p *place) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "Send a tenant no more webhooks",
		Long: `Send a tenant no more webhooks. What is still to be delivered is dropped, and the
signing secret is deleted.` + operatorHelp,
		Example: `  lanyard webhooks remove
  lanyard webhooks remove --tenant acme`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.operate(cmd, *p, func(ctx context.Context, d *deployment) error {
				if err := d.webhooks().Remove(ctx, tenant); err != nil {
					return err
				}
				if c.json {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"tenant": tenant, "removed": true})
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), printable("Removed: the webhook of "+tenant))
				return err
			})
		},
	}
	tenantFlag(cmd, &tenant)
	return cmd
}

func (c *cli) webhookSecretCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "secret",
		Short: "Print the signing secret of Lanyard on this machine",
		Long: `Print the signing secret of Lanyard on this machine: LANYARD_WEBHOOK_SECRET, in
the environment or in .env, or the one in the file webhook-secret in LANYARD_DATA,
which is made if there is none. A deployment's is shown once, when it is made.`,
		Example: `  lanyard webhooks secret`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := dotEnv()
			if err != nil {
				return err
			}
			dir := firstOf(c.getenv("LANYARD_DATA"), file["LANYARD_DATA"], ".lanyard")
			if _, err := os.Stat(dir); err != nil {
				return fmt.Errorf("there is no data of Lanyard in %s: start \"lanyard dev\" once, or set LANYARD_DATA", dir)
			}
			secret, err := local.OpenWebhookSecret(token.Secret(firstOf(c.getenv("LANYARD_WEBHOOK_SECRET"), file["LANYARD_WEBHOOK_SECRET"])), webhookSecretFile(dir))
			if err != nil {
				return err
			}
			if c.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{"secret": secret.Reveal()})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), secret.Reveal())
			return err
		},
	}
}

func webhookSecretFile(dataDir string) string { return filepath.Join(dataDir, "webhook-secret") }
