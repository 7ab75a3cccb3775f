package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/lanyardhq/lanyard/internal/config"
)

// running is what a deployment that runs works with: the settings of its
// function refresh, which renews what the operator changes. After a restore its
// table is not the one that has the deployment's name.
type running struct {
	function string
	// table, secrets and store are LANYARD_TABLE, LANYARD_SECRETS and
	// LANYARD_VAULT_STORE.
	table, secrets, store string
}

// Hints of what keeps a deployment from being asked.
const (
	hintFunction = "Check the account and the region (AWS_PROFILE, AWS_REGION) and the deployment's name (--deployment or LANYARD_DEPLOYMENT), or name its table: --table or LANYARD_TABLE."
	hintAsk      = "Use credentials that may lambda:GetFunctionConfiguration, or name the deployment's table: --table or LANYARD_TABLE. It is the value of LANYARD_TABLE among the function's environment variables."
)

// askRunning asks the function refresh of the deployment of that name.
func askRunning(ctx context.Context, cfg aws.Config, name string) (running, error) {
	r := running{function: name + "-refresh"}
	out, err := lambda.NewFromConfig(cfg).GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &r.function})
	var missing *lambdatypes.ResourceNotFoundException
	var api smithy.APIError
	switch {
	case errors.As(err, &missing):
		return r, awsError{fmt.Errorf("no deployment %q runs in this AWS account and region: there is no function %q", name, r.function), hintFunction, exitNotFound}
	case errors.As(err, &api) && denied(api):
		return r, awsError{fmt.Errorf("AWS does not allow to ask the function %q which table it uses: %w", r.function, err), hintAsk, exitUnauthorised}
	case err != nil:
		return r, fmt.Errorf("ask the function %q which table it uses: %w", r.function, err)
	}
	if out.Environment != nil {
		get := func(name string) string { return out.Environment.Variables[name] }
		r.table, r.secrets = get("LANYARD_TABLE"), firstOf(get("LANYARD_SECRETS"), defaultDeployment)
		r.store = firstOf(get("LANYARD_VAULT_STORE"), config.StoreSecretsManager)
	}
	if r.table == "" {
		// Also where its key does not let the operator read its environment.
		return r, awsError{fmt.Errorf("the function %q does not say which table it uses", r.function), hintAsk, exitFailed}
	}
	return r, nil
}

// checkMigration refuses to move the grants of rows that are not the ones in
// use: the rows that are would go on to name the copies that are removed. It
// refuses, too, while new grants still go to the other store.
func (d *deployment) checkMigration(to string, force bool) error {
	r, err := d.ask()
	if err != nil {
		if force {
			return nil
		}
		return unsure(err)
	}
	if r.table != d.table.Name || r.secrets != d.secrets.Prefix {
		if force {
			return nil
		}
		return awsError{fmt.Errorf("the deployment %q works with the table %q and the secrets %q, and you have named the table %q and the secrets %q: "+
			"moving the grants of one table's connections takes them from the other table's, which name the same secrets",
			d.name, r.table, r.secrets+"/", d.table.Name, d.secrets.Prefix+"/"),
			"Leave out --table and --secrets (LANYARD_TABLE, LANYARD_SECRETS). If nothing works with the deployment's own any more, say --force.", exitFailed}
	}
	if r.store != to {
		return awsError{fmt.Errorf("the deployment still puts new grants into %s", r.store),
			fmt.Sprintf("Deploy with vault_store: %s first.", to), exitFailed}
	}
	return nil
}

// unsure is the refusal to migrate a table that could not be compared.
func unsure(err error) error {
	var told awsError
	if errors.As(err, &told) {
		told.hint = "Only the table that the deployment works with may be migrated, and this one cannot be compared: check --deployment, and whether you may " +
			"lambda:GetFunctionConfiguration. If you are sure of the table, say --force."
		return told
	}
	return err
}
