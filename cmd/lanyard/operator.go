package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/flow"
)

// place says which deployment the operator's commands act on.
type place struct{ table, secrets string }

// operatorHelp ends the help of each operator's command.
const operatorHelp = `

It acts on a deployment in an AWS account, with your own AWS credentials: those
that the AWS CLI uses, too (AWS_PROFILE, AWS_REGION, …).`

// flags adds the flags that name the deployment to an operator's command.
func (p *place) flags(c *cli, cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&p.table, "table", "", "the `name` of the deployment's table (LANYARD_TABLE, else "+defaultTable+")")
	flags.StringVar(&p.secrets, "secrets", "", "the `prefix` of its names in Secrets Manager (LANYARD_SECRETS, else "+defaultSecrets+")")
}

// What a deployment is called unless it was given other names.
const (
	defaultTable   = "lanyard"
	defaultSecrets = "lanyard"
)

func tenantFlag(cmd *cobra.Command, tenant *string) {
	cmd.Flags().StringVar(tenant, "tenant", flow.DefaultTenant, "the `id` of the tenant")
}

// deployment is a deployment as its operator reaches it.
type deployment struct {
	table   *cloud.Table
	secrets *cloud.SecretStore
}

func (d *deployment) clients() *cloud.ClientSecrets {
	return &cloud.ClientSecrets{Store: d.secrets, Now: time.Now}
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
	return &deployment{
		table: &cloud.Table{API: dynamodb.NewFromConfig(cfg), Name: firstOf(p.table, c.getenv("LANYARD_TABLE"), defaultTable), Now: time.Now},
		secrets: &cloud.SecretStore{Client: secretsmanager.NewFromConfig(cfg),
			Prefix: firstOf(p.secrets, c.getenv("LANYARD_SECRETS"), defaultSecrets)},
	}, nil
}

// operate runs an operator's command on its deployment, and puts what goes
// wrong into words for the operator.
func (c *cli) operate(cmd *cobra.Command, p place, run func(context.Context, *deployment) error) error {
	d, err := c.deployment(cmd.Context(), p)
	if err != nil {
		return err
	}
	return explain(run(cmd.Context(), d), d.table.Name)
}

// explain finds out what AWS means.
func explain(err error, table string) error {
	var noTable *dynamodbtypes.ResourceNotFoundException
	var api smithy.APIError
	var network net.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &noTable):
		return awsError{fmt.Errorf("there is no table %q in this AWS account and region", table), hintTable, exitNotFound}
	case errors.Is(err, cloud.ErrNoTenant):
		return awsError{err, "\"lanyard tenants list\" lists them, \"lanyard tenants create\" makes one.", exitNotFound}
	case errors.Is(err, cloud.ErrNoAPIKey):
		return awsError{err, "\"lanyard keys list\" lists them.", exitNotFound}
	case errors.As(err, &api):
		switch api.ErrorCode() {
		case "AccessDeniedException", "AccessDenied", "UnrecognizedClientException", "InvalidSignatureException":
			return awsError{fmt.Errorf("AWS does not allow it: %w", err), hintAccess, exitUnauthorised}
		case "ExpiredTokenException", "ExpiredToken", "InvalidClientTokenId":
			return awsError{errors.New("the AWS credentials have expired"), hintSettings, exitUnauthorised}
		}
		return awsError{err, hintLater, exitFailed}
	case errors.As(err, &network):
		return awsError{fmt.Errorf("AWS cannot be reached: %w", err), "Check the network and AWS_REGION.", exitUnreachable}
	}
	return err
}

// onLaptop reports whether nothing in the environment points to AWS, so that
// whoever asks means Lanyard on this machine.
func (c *cli) onLaptop() bool {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "LANYARD_TABLE"} {
		if c.getenv(name) != "" {
			return false
		}
	}
	_, err := os.Stat(firstOf(c.getenv("LANYARD_DATA"), ".lanyard"))
	return err == nil
}
