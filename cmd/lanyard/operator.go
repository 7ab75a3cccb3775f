package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/notify"
)

// place says which deployment the operator's commands act on.
type place struct{ deployment, table, secrets string }

// operatorHelp ends the help of each operator's command.
const operatorHelp = `

It acts on a deployment in an AWS account, with your own AWS credentials: those
that the AWS CLI uses, too (AWS_PROFILE, AWS_REGION, …).`

// flags adds the flags that name the deployment to an operator's command.
func (p *place) flags(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&p.deployment, "deployment", "", "the deployment's `name` in its settings (LANYARD_DEPLOYMENT, else "+defaultDeployment+")")
	flags.StringVar(&p.table, "table", "", "the `name` of its table (LANYARD_TABLE, else what its function refresh says)")
	flags.StringVar(&p.secrets, "secrets", "", "the `prefix` of its names in Secrets Manager (LANYARD_SECRETS, else what refresh says,\nor the deployment's name where the table is given)")
}

// defaultDeployment is what a deployment is called unless it was given another
// name.
const defaultDeployment = "lanyard"

func tenantFlag(cmd *cobra.Command, tenant *string) {
	cmd.Flags().StringVar(tenant, "tenant", flow.DefaultTenant, "the `id` of the tenant")
}

// deployment is a deployment as its operator reaches it.
type deployment struct {
	name    string
	table   *cloud.Table
	secrets *cloud.SecretStore
	// ask asks the deployment that runs what it works with, at most once.
	ask func() (running, error)
}

func (d *deployment) clients() *cloud.ClientSecrets {
	return &cloud.ClientSecrets{Store: d.secrets, Now: time.Now}
}

func (d *deployment) webhooks() *cloud.Webhooks {
	return &cloud.Webhooks{Store: d.secrets, Now: time.Now}
}

// awsError is what AWS, or the way to it, refuses to an operator.
type awsError struct {
	error
	hint string
	code int
}

func (e awsError) Unwrap() error { return e.error }

// The hints say what to do next.
const (
	hintSettings = "Choose the deployment's account and region as for the AWS CLI: AWS_PROFILE and AWS_REGION, after \"aws sso login\" or with access keys."
	hintTable    = "Check the account and the region (AWS_PROFILE, AWS_REGION) and the table's name (--table or LANYARD_TABLE), or deploy first."
	hintAccess   = "Use the credentials of somebody who may administer the deployment: its table, and its secrets in Secrets Manager."
	hintLater    = "Nothing was half done that running it again does not complete. Try again in a moment."
)

// deployment reaches the deployment that the flags and the environment name.
func (c *cli) deployment(ctx context.Context, p place) (*deployment, error) {
	cfg, err := cloud.Load(ctx)
	if err != nil {
		return nil, awsError{err, hintSettings, exitUnauthorised}
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		// Its text tells of every place that was looked at.
		return nil, awsError{errors.New("no AWS credentials were found, or they have expired"), hintSettings, exitUnauthorised}
	}
	if p.deployment == "" {
		// One that is named by a flag is not mixed up with what the environment
		// says of another.
		p = place{c.getenv("LANYARD_DEPLOYMENT"), firstOf(p.table, c.getenv("LANYARD_TABLE")), firstOf(p.secrets, c.getenv("LANYARD_SECRETS"))}
	}
	d := &deployment{name: firstOf(p.deployment, defaultDeployment)}
	d.ask = sync.OnceValues(func() (running, error) { return askRunning(ctx, cfg, d.name) })
	table, prefix := strings.TrimSpace(p.table), p.secrets
	if table == "" {
		r, err := d.ask()
		if err != nil {
			return nil, explain(err, "")
		}
		table, prefix = r.table, firstOf(prefix, r.secrets)
	}
	d.table = &cloud.Table{API: dynamodb.NewFromConfig(cfg), Name: table, Now: time.Now}
	d.secrets = &cloud.SecretStore{Client: secretsmanager.NewFromConfig(cfg), Prefix: firstOf(prefix, d.name)}
	return d, nil
}

// operate runs an operator's command on its deployment, and puts what goes
// wrong into words for the operator.
func (c *cli) operate(cmd *cobra.Command, p place, run func(context.Context, *deployment) error) error {
	d, err := c.deployment(cmd.Context(), p)
	if err != nil {
		return err
	}
	if r, err := d.ask(); err == nil && r.table != d.table.Name {
		fmt.Fprintln(cmd.ErrOrStderr(), printable(fmt.Sprintf("Beware: the deployment %q works with the table %q; this acts on %q, which was named.", d.name, r.table, d.table.Name)))
	}
	return explain(run(cmd.Context(), d), d.table.Name)
}

// explain finds out what AWS means.
func explain(err error, table string) error {
	var told awsError
	var noTable *dynamodbtypes.ResourceNotFoundException
	var api smithy.APIError
	var network net.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.As(err, &told):
		return err
	case errors.As(err, &noTable):
		return awsError{fmt.Errorf("there is no table %q in this AWS account and region", table), hintTable, exitNotFound}
	case errors.Is(err, cloud.ErrTenantRemoved):
		return awsError{err, "Its id stays taken. \"lanyard tenants list\" lists those that there are.", exitNotFound}
	case errors.Is(err, cloud.ErrNoTenant):
		return awsError{err, "\"lanyard tenants list\" lists them, \"lanyard tenants create\" makes one.", exitNotFound}
	case errors.Is(err, notify.ErrNoEndpoint):
		return awsError{err, "\"lanyard webhooks set\" sets one.", exitNotFound}
	case errors.Is(err, cloud.ErrNoAPIKey):
		return awsError{err, "\"lanyard keys list\" lists them.", exitNotFound}
	case errors.As(err, &api):
		if denied(api) {
			return awsError{fmt.Errorf("AWS does not allow it: %w", err), hintAccess, exitUnauthorised}
		}
		switch api.ErrorCode() {
		case "ExpiredTokenException", "ExpiredToken", "InvalidClientTokenId":
			return awsError{errors.New("the AWS credentials have expired"), hintSettings, exitUnauthorised}
		}
		return awsError{err, hintLater, exitFailed}
	case errors.As(err, &network):
		return awsError{fmt.Errorf("AWS cannot be reached: %w", err), "Check the network and AWS_REGION.", exitUnreachable}
	}
	return err
}

func denied(err smithy.APIError) bool {
	return slices.Contains([]string{"AccessDeniedException", "AccessDenied", "UnrecognizedClientException", "InvalidSignatureException"}, err.ErrorCode())
}

// onLaptop reports whether nothing in the environment points to AWS, so that
// whoever asks means Lanyard on this machine.
func (c *cli) onLaptop() bool {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "LANYARD_DEPLOYMENT", "LANYARD_TABLE"} {
		if c.getenv(name) != "" {
			return false
		}
	}
	_, err := os.Stat(firstOf(c.getenv("LANYARD_DATA"), ".lanyard"))
	return err == nil
}
