package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// maxClientSecret bounds a client's secret, in bytes: some are private keys.
const maxClientSecret = 16 << 10

// clientCommand is about our registrations at providers, which OAuth calls
// clients.
func (c *cli) clientCommand() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:   "client",
		Short: "Set, list and remove a deployment's clients at providers",
		Long: `Set, list and remove the clients that a deployment is registered with at
providers: what Google calls OAuth client IDs.` + operatorHelp + `

On one machine ("lanyard dev") clients are set in the environment or in .env, as
GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET.`,
		Example: `  lanyard client set google --id 1234.apps.googleusercontent.com < secret.txt
  lanyard client list
  lanyard client remove google`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	p.flags(cmd)
	cmd.AddCommand(c.clientSetCommand(&p), c.clientListCommand(&p), c.clientRemoveCommand(&p))
	return cmd
}

func (c *cli) clientSetCommand(p *place) *cobra.Command {
	var e cloud.ClientEntry
	var noSecret bool
	var issuer string
	var params []string
	cmd := &cobra.Command{
		Use:   "set PROVIDER --id ID",
		Short: "Set the client for a provider",
		Long: `Set the client for a provider. New connections are granted to it; those that
were granted to another one before keep that one. A remote server that says itself who
grants access to it (oauth_service: discover) stands for its provider: name the
server, and the issuer that the client is registered at.

The client's secret is read from standard input, or asked for on a terminal. It
is never an argument, which others on this machine could see. It is stored in
Secrets Manager, where only the functions callback and refresh read it.

At a provider that people run themselves the client is registered at one of its
hosts, which --param names. The secret is sent there, and to no other. A client that
is set again keeps what it does not name. Set for another host under the same id,
what was granted before is not sent there: it has to be reconnected.

"sign-in" is no provider: under that name the client is kept with which people
sign in at the tenant's own OpenID Connect issuer (lanyard tenants set --sign-in
oidc). Each tenant needs its own.`,
		Example: `  lanyard client set google --id 1234.apps.googleusercontent.com
  pass show slack | lanyard client set slack --id 12.34
  lanyard client set google --id 5678 --tenant acme < secret.txt
  lanyard client set gitlab --id 12.34 --param host=gitlab.example.com < secret.txt
  lanyard client set sign-in --id lanyard --tenant acme < secret.txt
  lanyard client set tracker --id 90 --issuer https://auth.tracker.example --no-secret`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e.Provider = args[0]
			if issuer != "" {
				if e.Variant != "" {
					return usagef("--variant is for a provider, --issuer for a server: one of them is enough")
				}
				e.Variant = issuer
			}
			if len(params) > 0 {
				var err error
				if e.Parameters, err = pairs(params); err != nil {
					return err
				}
			}
			return c.setClient(cmd, *p, e, noSecret)
		},
	}
	tenantFlag(cmd, &e.Tenant)
	flags := cmd.Flags()
	flags.StringVar(&e.ID, "id", "", "the client's `id` (required)")
	flags.StringVar(&e.Variant, "variant", "", "the `kind` of client, where the provider's preset knows several")
	flags.StringArrayVar(&params, "param", nil, "a `name=value` that says where the client is registered, such as host=gitlab.example.com; may be repeated")
	flags.StringVar(&issuer, "issuer", "", "the `URL` that names the authorization server, for a server that says itself who grants access to it")
	flags.BoolVar(&noSecret, "no-secret", false, "the client has no secret: nothing is read")
	return cmd
}

func (c *cli) setClient(cmd *cobra.Command, p place, e cloud.ClientEntry, noSecret bool) error {
	if e.ID == "" || len(e.ID) > 1024 || strings.ContainsFunc(e.ID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return usagef("--id must be the client's id at the provider, in one word")
	}
	of, err := c.checkProvider(e)
	if err != nil {
		return err
	}
	if c.onLaptop() {
		prefix := flow.EnvPrefix(e.Provider)
		return fmt.Errorf("no AWS account is chosen, and this directory holds the data of Lanyard on this machine:\n"+
			"there, put the client into the file .env and start \"lanyard dev\" again:\n  %s_CLIENT_ID=%s\n  %s_CLIENT_SECRET=…\n%s"+
			"for a deployment, choose its account and region first: AWS_PROFILE, AWS_REGION", prefix, e.ID, prefix, lines(e))
	}
	var secret token.Secret
	if !noSecret {
		var err error
		if secret, err = readSecret(cmd, fmt.Sprintf("Secret of the client %s at %s: ", e.ID, e.Provider)); err != nil {
			return err
		}
	}
	return c.operate(cmd, p, func(ctx context.Context, d *deployment) error {
		if _, err := d.table.Tenants().Get(ctx, e.Tenant); err != nil {
			return err
		}
		clients := d.clients()
		before, err := clients.Client(ctx, e.Tenant, e.Provider, e.ID)
		if err != nil && !errors.Is(err, flow.ErrNoClient) {
			return err
		}
		known := err == nil
		e, err := clients.Set(ctx, d.table.ClientIDs(), e, secret)
		if err != nil {
			return err
		}
		kept, err := clients.Kept(ctx, e.Tenant, e.Provider)
		if err != nil {
			return err
		}
		done := clientDone{ClientEntry: e, Kept: slices.DeleteFunc(append([]string{}, kept...), func(id string) bool { return id == e.ID }),
			Moved: known && flow.CheckClientAt(of, before.Parameters, provider.Client{Parameters: e.Parameters}) != nil}
		if c.json {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(done)
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), done)
		return err
	})
}

// clientDone is what setting a client has done.
type clientDone struct {
	cloud.ClientEntry
	// Kept are the ids of other clients that stay for what was granted to them.
	Kept []string `json:"kept"`
	// Moved: it was registered elsewhere before, under the same id.
	Moved bool `json:"moved,omitempty"`
}

// String tells a person.
func (d clientDone) String() string {
	text := fmt.Sprintf("New connections to %s are granted to %s", d.Provider, d.ID)
	if d.Provider == flow.SignInClient {
		text = fmt.Sprintf("People of %s sign in with the client %s", d.Tenant, d.ID)
	}
	if len(d.Parameters) > 0 {
		text += ", with " + strings.Join(settings(d.ClientEntry), ", ")
	}
	text = printable(text+".") + "\n"
	if d.Moved {
		text += "What was granted to it before is not sent there: those connections ask to be reconnected.\n"
	}
	if len(d.Kept) > 0 {
		text += printable("Kept for what was granted to them: "+strings.Join(d.Kept, ", ")) + "\n"
	}
	return text
}

func (c *cli) catalogue() (*presets.Catalogue, error) {
	return presets.Load(strings.FieldsFunc(c.getenv("LANYARD_PRESETS"), func(r rune) bool { return r == ':' }))
}

// readSecret reads a secret from standard input: hidden, after a prompt, if
// that is a terminal, and otherwise all there is.
func readSecret(cmd *cobra.Command, prompt string) (token.Secret, error) {
	var data []byte
	var err error
	if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(cmd.ErrOrStderr(), printable(prompt))
		data, err = term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
	} else {
		data, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxClientSecret+1))
	}
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	secret := strings.TrimSpace(string(data))
	switch {
	case secret == "":
		return "", errors.New("no secret was given: pass it on standard input, or say --no-secret if the client has none")
	case len(secret) > maxClientSecret:
		return "", fmt.Errorf("the secret is longer than %d bytes", maxClientSecret)
	case strings.ContainsFunc(secret, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' }):
		return "", errors.New("the secret holds control characters: is that the right file?")
	}
	return token.Secret(secret), nil
}

func (c *cli) clientListCommand(p *place) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the clients, without their secrets",
		Long: `List the clients that new connections are granted to, without their secrets. A
tenant without one of its own uses the default tenant's.`,
		Example: `  lanyard client list
  lanyard client list --tenant acme --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.operate(cmd, *p, func(ctx context.Context, d *deployment) error { return c.listClients(ctx, cmd, d, tenant) })
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "only those of the tenant with this `id`")
	return cmd
}

func (c *cli) listClients(ctx context.Context, cmd *cobra.Command, d *deployment, tenant string) error {
	tenants, err := d.tenants(ctx, tenant)
	if err != nil {
		return err
	}
	all := []cloud.ClientEntry{}
	for _, t := range tenants {
		found, err := d.table.ClientIDs().List(ctx, t.ID)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	if c.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"clients": all})
	}
	if len(all) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "There are no clients yet: \"lanyard client set\" sets one.")
		return nil
	}
	t := newTable(cmd.OutOrStdout())
	t.row("TENANT", "PROVIDER", "CLIENT", "VARIANT", "AT")
	for _, e := range all {
		t.row(e.Tenant, e.Provider, e.ID, e.Variant, strings.Join(settings(e), ", "))
	}
	return t.flush()
}

// tenants are the one of that id, or all.
func (d *deployment) tenants(ctx context.Context, id string) ([]cloud.Tenant, error) {
	if id == "" {
		return d.table.Tenants().List(ctx)
	}
	t, err := d.table.Tenants().Get(ctx, id)
	return []cloud.Tenant{t}, err
}

func (c *cli) clientRemoveCommand(p *place) *cobra.Command {
	var tenant string
	var forget bool
	cmd := &cobra.Command{
		Use:   "remove PROVIDER",
		Short: "Grant no more connections to a client",
		Long: `Grant no more connections to a provider's client. Connections that were granted
to it, or to one before it, keep working.

With --forget the secrets are deleted, too: those connections can no longer be
renewed, nor revoked at the provider. Disconnect them first.`,
		Example: `  lanyard client remove google
  lanyard client remove google --tenant acme --forget`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.operate(cmd, *p, func(ctx context.Context, d *deployment) error {
				if _, err := d.table.Tenants().Get(ctx, tenant); err != nil {
					return err
				}
				if err := d.clients().Remove(ctx, d.table.ClientIDs(), tenant, args[0], forget); err != nil {
					return err
				}
				if c.json {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"tenant": tenant, "provider": args[0], "forgotten": forget})
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), printable("Removed: "+args[0]))
				return err
			})
		},
	}
	tenantFlag(cmd, &tenant)
	cmd.Flags().BoolVar(&forget, "forget", false, "delete the secrets of all the tenant's clients there, too")
	return cmd
}
