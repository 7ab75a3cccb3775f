package main

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"

	"github.com/lanyardhq/lanyard/internal/web"
)

// wildcard is an action or a resource with a * in it that a role of ours has,
// and why it cannot be narrower. Whatever is not named here fails a test, and
// cdk-nag.
type wildcard struct {
	// role is the construct, text what holds the *, after the account's id.
	role, text, reason string
}

// wildcards lists all of them.
func (s Settings) wildcards() []wildcard {
	secrets := "secret:" + s.Name
	out := []wildcard{
		{"CallbackRole", secrets + "/grants/*", "a grant is a secret of its own, named after tenant and connection"},
		{"CallbackRole", secrets + "/clients/*", "a provider's client is a secret of its own, named after tenant and provider"},
		{"RefreshRole", secrets + "/grants/*", "a grant is a secret of its own, named after tenant and connection"},
		{"RefreshRole", secrets + "/clients/*", "a provider's client is a secret of its own, named after tenant and provider"},
		{"RefreshRole", secrets + "/webhooks/*", "a webhook endpoint is a secret of its own, named after its tenant"},
		{"McprunRole", "task/" + s.Name + "/*", "a task's id is known when it runs; it is one of this cluster"},
		{"McprunRole", "*", "ecs:ListTasks, ec2:DescribeNetworkInterfaces and ec2:DescribeSubnets have no resources; the first has the cluster as a condition"},
		{"McprunRole", "*/*", "Lambda keeps network interfaces for the function, whose ids nobody knows before; the code of the function itself is denied them"},
		{"TaskExecution/DefaultPolicy", "*", "ecr:GetAuthorizationToken has no resources"},
	}
	for _, server := range s.enabled {
		out = append(out, wildcard{"McprunRole", "task-definition/" + s.Name + "-" + server.Name + ":*", "the newest revision runs; older ones may still be the newest while a deployment is under way"})
	}
	return out
}

// suppress says to cdk-nag, finding by finding, why it is as it is.
func (v *Service) suppress() {
	at := func(stack awscdk.Stack, path, id, reason string, appliesTo ...string) {
		s := &cdknag.NagPackSuppression{Id: jsii.String("AwsSolutions-" + id), Reason: jsii.String(reason)}
		if len(appliesTo) > 0 {
			var to []any
			for _, a := range appliesTo {
				to = append(to, a)
			}
			s.AppliesTo = &to
		}
		cdknag.NagSuppressions_AddResourceSuppressionsByPath(stack, jsii.String("/"+*stack.StackName()+"/"+path),
			&[]*cdknag.NagPackSuppression{s}, jsii.Bool(false))
	}
	at(v.data.Stack, "ApiKey/Resource", "SMG4", "read once, at the deployment; afterwards the table has a hash of it, and `lanyard keys rotate` makes new keys")
	at(v.data.Stack, "Origin/Resource", "SMG4", "CloudFront and API Gateway get it from CloudFormation, both at once; docs/deploy.md says how to change it")
	at(v.data.Stack, "TaskBearers/Resource", "SMG4", "a change ends every running task's session; docs/deploy.md says how to change it")

	service := func(path, id, reason string, appliesTo ...string) { at(v.Stack, path, id, reason, appliesTo...) }
	service("Api/Resource", "APIG2", "the functions validate, with errors that say what to do")
	service("Api/CloudWatchRole/Resource", "IAM4", "API Gateway's own policy for writing logs, which it looks for",
		"Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs")
	live := "Api/DeploymentStage." + stage + "/Resource"
	service(live, "APIG6", "execution logs hold paths and queries, and with them links, codes and states")
	if !v.settings.WAF {
		service(live, "APIG3", "AWS WAF is a setting, waf: it costs more than everything else while idle")
	}
	for _, r := range v.settings.routes() {
		path := "Api/Default" + r.Path
		if r.Path == "/" {
			path = "Api/Default"
		}
		path += "/" + r.Method + "/Resource"
		service(path, "COG4", "callers are known by API keys, page sessions, links, bearers of ours or IAM, not by Cognito")
		if r.Auth == web.AuthApp {
			service(path, "APIG4", "the function itself tells by API key, page session or link who calls; API Gateway lets only CloudFront through")
		}
	}
	service("Edge/Resource", "CFR1", "people may be anywhere")
	service("Edge/Resource", "CFR2", "AWS WAF is a setting, waf, and stands before the API: CloudFront's own would have to be in us-east-1")
	service("Edge/Resource", "CFR3", "CloudFront's log holds paths and queries, and with them links, codes and states; the API logs every request without")
	if v.settings.Domain == "" {
		service("Edge/Resource", "CFR4", "CloudFront's own certificate has no choice; with a domain it is TLS 1.2 at least")
	}
	service("Vpc/Resource", "VPC7", "flow logs cost by the gigabyte; security groups, not logs, keep the tasks apart")
	service("Cluster/Resource", "ECS4", "Container Insights costs for each task; mcprun logs what its tasks do")
	if v.settings.AlarmEmail != "" {
		service("Alarms/Resource", "SNS2", "alarms hold no secret, and CloudWatch cannot write to a topic under SNS's own key")
	}
	for _, w := range v.settings.wildcards() {
		text := w.text
		if text != "*" {
			text = fmt.Sprintf("arn:<AWS::Partition>:%s:<AWS::Region>:<AWS::AccountId>:%s", serviceOf(text), w.text)
		}
		service(w.role+"/Resource", "IAM5", w.reason, "Resource::"+text)
	}
}

// serviceOf is the service that a wildcard's resource belongs to.
func serviceOf(text string) string {
	switch {
	case text == "*/*":
		return "ec2"
	case text[:6] == "secret":
		return "secretsmanager"
	}
	return "ecs"
}
