package main

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigateway"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudfront"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/lanyardhq/lanyard/internal/flow"
)

// Service is the stack of everything that can be made again from the data
// stack and this code. Its parts are made in the order in which they need each
// other, which is also why CloudFormation finds no cycle:
//
//	api (its id alone) → edge → base URL → functions → routes → deployment
type Service struct {
	awscdk.Stack
	settings Settings
	data     *Data
	assets   *Assets

	api       awsapigateway.RestApi
	edge      awscloudfront.Distribution
	baseURL   *string
	network   network
	tasks     tasks
	queue     awssqs.Queue
	dead      awssqs.Queue
	functions map[string]awslambda.Function
	logs      map[string]awslogs.LogGroup
}

// NewService makes the service stack.
func NewService(scope constructs.Construct, s Settings, data *Data, assets *Assets) (*Service, error) {
	stack := awscdk.NewStack(scope, jsii.String(s.Name+"-service"), &awscdk.StackProps{
		Description: jsii.String("Lanyard: one-click OAuth for MCP servers"),
	})
	stack.AddDependency(data.Stack, jsii.String("the functions read its secrets by their names"))
	v := &Service{Stack: stack, settings: s, data: data, assets: assets,
		functions: map[string]awslambda.Function{}, logs: map[string]awslogs.LogGroup{}}
	v.makeAPI()
	v.makeEdge()
	v.makeNetwork()
	v.makeQueue()
	if err := v.makeTasks(); err != nil {
		return nil, err
	}
	if err := v.makeFunctions(); err != nil {
		return nil, err
	}
	v.makeRoutes()
	v.makeSchedules()
	v.makeTaskEvents()
	v.makeAlarms()
	v.makeFirstKey()
	v.makeOutputs()
	// RestApi outputs the address that is not for use from outside.
	v.api.Node().TryRemoveChild(jsii.String("Endpoint"))
	v.suppress()
	return v, nil
}

// arn is an ARN in the stack's account and Region.
func (v *Service) arn(service, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", *v.Partition(), service, *v.Region(), *v.Account(), resource)
}

// secretARN is a secret of ours, or several if the name ends in *. Secrets
// Manager adds six characters to a name.
func (v *Service) secretARN(name string) string {
	arn := v.arn("secretsmanager", "secret:"+v.settings.Name+"/"+name)
	if name[len(name)-1] != '*' {
		arn += "-??????"
	}
	return arn
}

// secretValue is a secret's text where CloudFormation, and nobody else, reads
// it: the template and the stack's events hold this reference alone.
func (v *Service) secretValue(name string) *string {
	return jsii.String(fmt.Sprintf("{{resolve:secretsmanager:%s/%s:SecretString}}", v.settings.Name, name))
}

// logGroup makes a log group that ends with the stack.
func (v *Service) logGroup(id, name string) awslogs.LogGroup {
	return awslogs.NewLogGroup(v.Stack, jsii.String(id), &awslogs.LogGroupProps{
		LogGroupName: jsii.String(name), Retention: retention(v.settings.LogRetentionDays), RemovalPolicy: awscdk.RemovalPolicy_DESTROY,
	})
}

// makeFirstKey has refresh store the hash of the first API key.
func (v *Service) makeFirstKey() {
	awscdk.NewCustomResource(v.Stack, jsii.String("FirstKey"), &awscdk.CustomResourceProps{
		ServiceToken: v.functions[refresh].FunctionArn(),
		ResourceType: jsii.String("Custom::LanyardFirstKey"),
		// A refresh that fails at its start answers nobody. Lambda asks it again
		// after a minute, which is in time; then the deployment fails.
		ServiceTimeout: awscdk.Duration_Minutes(jsii.Number(2)),
		// There is nothing to undo, and a rollback must not ask the function
		// whose failing it is about.
		RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
	})
}

// makeOutputs says what a person does next.
func (v *Service) makeOutputs() {
	output := func(id, value, description string) {
		awscdk.NewCfnOutput(v.Stack, jsii.String(id), &awscdk.CfnOutputProps{Value: jsii.String(value), Description: jsii.String(description)})
	}
	output("BaseURL", *v.baseURL, "where Lanyard is")
	output("RedirectURI", *v.baseURL+flow.CallbackPath, "the redirect URI to register at each provider")
	output("APIKeyCommand", fmt.Sprintf("aws secretsmanager get-secret-value --region %s --secret-id %s/%s --query SecretString --output text",
		*v.Region(), v.settings.Name, secretAPIKey), "prints the first API key")
	if v.settings.Domain != "" {
		output("DNSTarget", *v.edge.DistributionDomainName(), "what the CNAME (or alias) of "+v.settings.Domain+" points to")
	}
}
