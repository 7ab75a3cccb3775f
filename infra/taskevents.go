package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/jsii-runtime-go"
)

// makeTaskEvents has mcprun told when a task of its cluster has ended, whatever
// ended it. Events of AWS's own services cost nothing.
func (v *Service) makeTaskEvents() {
	f := v.functions[mcprun]
	rule := awsevents.NewCfnRule(v.Stack, jsii.String("TasksEnded"), &awsevents.CfnRuleProps{
		Name:        jsii.String(v.functionName(mcprun) + "-tasks-ended"),
		Description: jsii.String("Lanyard: a task has ended"),
		EventPattern: map[string]any{
			"source": list{"aws.ecs"}, "detail-type": list{"ECS Task State Change"},
			"detail": map[string]any{"clusterArn": list{*v.tasks.cluster.ClusterArn()}, "lastStatus": list{"STOPPED"}},
		},
		Targets: []any{&awsevents.CfnRule_TargetProperty{
			Id: jsii.String(mcprun), Arn: f.FunctionArn(),
			// The minute schedule finds by itself what nobody was told of.
			RetryPolicy: &awsevents.CfnRule_RetryPolicyProperty{MaximumEventAgeInSeconds: jsii.Number(3600), MaximumRetryAttempts: jsii.Number(10)},
		}},
	})
	awslambda.NewCfnPermission(v.Stack, jsii.String("TasksEndedMayCall"), &awslambda.CfnPermissionProps{
		Action: jsii.String("lambda:InvokeFunction"), FunctionName: f.FunctionArn(),
		Principal: jsii.String("events.amazonaws.com"), SourceArn: rule.AttrArn(),
	})
}
