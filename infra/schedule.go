package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsscheduler"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/jsii-runtime-go"
)

// sweep is what the schedules say to a function.
const sweep = `{"lanyard":"sweep"}`

// makeQueue makes the queue of connections that need attention. A message that
// has failed three times goes to the dead-letter queue, of which an alarm tells;
// the connections in it are swept again all the same.
func (v *Service) makeQueue() {
	queue := func(id string, props awssqs.QueueProps) awssqs.Queue {
		props.Encryption, props.EnforceSSL = awssqs.QueueEncryption_SQS_MANAGED, jsii.Bool(true)
		return awssqs.NewQueue(v.Stack, jsii.String(id), &props)
	}
	v.dead = queue("DeadLetters", awssqs.QueueProps{RetentionPeriod: awscdk.Duration_Days(jsii.Number(14))})
	v.queue = queue("Queue", awssqs.QueueProps{
		// A connection that waited for an hour has been swept again meanwhile.
		RetentionPeriod: awscdk.Duration_Hours(jsii.Number(1)),
		// Six times the function's own, as Lambda asks for.
		VisibilityTimeout: awscdk.Duration_Minutes(jsii.Number(12)),
		// After 36 minutes: what has to wait for longer than it is kept is gone
		// before anybody is told.
		DeadLetterQueue: &awssqs.DeadLetterQueue{Queue: v.dead, MaxReceiveCount: jsii.Number(3)},
	})
}

// makeSchedules has refresh and mcprun look around every minute, and refresh
// attend what its sweep has put into the queue.
func (v *Service) makeSchedules() {
	for _, name := range []string{refresh, mcprun} {
		f := v.functions[name]
		role := v.role("Scheduler-"+name, "scheduler.amazonaws.com", "The schedule of "+name, statements{
			allow("Sweep", list{"lambda:InvokeFunction"}, list{*f.FunctionArn()}, nil)})
		awsscheduler.NewCfnSchedule(v.Stack, jsii.String("Sweep-"+name), &awsscheduler.CfnScheduleProps{
			Name:               jsii.String(v.functionName(name) + "-sweep"),
			Description:        jsii.String("Lanyard: " + name + " looks around"),
			ScheduleExpression: jsii.String("rate(1 minute)"),
			FlexibleTimeWindow: &awsscheduler.CfnSchedule_FlexibleTimeWindowProperty{Mode: jsii.String("OFF")},
			Target: &awsscheduler.CfnSchedule_TargetProperty{
				Arn: f.FunctionArn(), RoleArn: role.RoleArn(), Input: jsii.String(sweep),
				// The next minute brings another.
				RetryPolicy: &awsscheduler.CfnSchedule_RetryPolicyProperty{MaximumEventAgeInSeconds: jsii.Number(60), MaximumRetryAttempts: jsii.Number(0)},
			},
		})
	}
	awslambda.NewCfnEventSourceMapping(v.Stack, jsii.String("Attend"), &awslambda.CfnEventSourceMappingProps{
		EventSourceArn: v.queue.QueueArn(), FunctionName: v.functions[refresh].FunctionName(),
		// Ten messages of ten connections each, all attended beside each other; the
		// first that comes waits for no others.
		BatchSize: jsii.Number(10), MaximumBatchingWindowInSeconds: jsii.Number(0), FunctionResponseTypes: jsii.Strings("ReportBatchItemFailures"),
		// The rest of the function's concurrency is for those who wait for a token.
		ScalingConfig: &awslambda.CfnEventSourceMapping_ScalingConfigProperty{MaximumConcurrency: jsii.Number(10)},
	})
}
