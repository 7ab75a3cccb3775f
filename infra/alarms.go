package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatchactions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssnssubscriptions"
	"github.com/aws/jsii-runtime-go"
)

// alarm is something that a person should look at. docs/deploy.md says for each
// what to do, and a test compares the names.
type alarm struct {
	id, description string
	metric          awscloudwatch.IMetric
	// at is the value from which it is one, in periods of five minutes.
	at, periods float64
}

// Which lines of the functions' logs count. A test looks for the messages in the
// code that writes them.
const (
	linesOfErrors         = `{ $.level = "ERROR" }`
	linesOfFailedRenewals = `{ $.msg = "token not renewed" && $.verdict != "reconnect" }`
	linesOfStuckTasks     = `{ $.level = "ERROR" || $.msg = "server failed to start" || $.msg = "a task did not stop" || $.msg = "tasks not listed" }`
)

func (v *Service) makeAlarms() {
	five := awscdk.Duration_Minutes(jsii.Number(5))
	options := func(statistic string) *awscloudwatch.MetricOptions {
		return &awscloudwatch.MetricOptions{Period: five, Statistic: jsii.String(statistic)}
	}
	// Nothing is published, and nothing paid, while no line fits.
	logged := func(name, metric, pattern string) awscloudwatch.IMetric {
		filter := awslogs.NewMetricFilter(v.Stack, jsii.String("Lines-"+metric), &awslogs.MetricFilterProps{
			LogGroup: v.logs[name], FilterPattern: awslogs.FilterPattern_Literal(jsii.String(pattern)),
			MetricNamespace: jsii.String("Lanyard/" + v.settings.Name), MetricName: jsii.String(metric), MetricValue: jsii.String("1"),
		})
		return filter.Metric(options("Sum"))
	}
	alarms := []alarm{
		{"RefreshFails", "refresh ends with an error: tokens are not renewed", v.functions[refresh].MetricErrors(options("Sum")), 1, 3},
		{"RefreshLate", "connections have waited for a quarter of an hour to be attended", v.queue.MetricApproximateAgeOfOldestMessage(options("Maximum")), 900, 1},
		{"RenewalsFail", "providers do not renew tokens, for other reasons than that a person has withdrawn the grant", logged(refresh, "renewals-failed", linesOfFailedRenewals), 5, 3},
		{"RefreshErrors", "refresh could not put something right: a renewed token was not stored, or not handed out", logged(refresh, "refresh-errors", linesOfErrors), 1, 1},
		{"DeadLetters", "messages failed three times", v.dead.MetricApproximateNumberOfMessagesVisible(options("Maximum")), 1, 1},
		{"ServerErrors", "the API answers with 5xx", v.api.MetricServerError(options("Sum")), 5, 2},
		{"TasksStuck", "servers do not start, or tasks do not end", logged(mcprun, "tasks-stuck", linesOfStuckTasks), 3, 1},
	}
	var tell awscloudwatch.IAlarmAction
	if v.settings.AlarmEmail != "" {
		topic := awssns.NewTopic(v.Stack, jsii.String("Alarms"), &awssns.TopicProps{
			DisplayName: jsii.String("Lanyard " + v.settings.Name), EnforceSSL: jsii.Bool(true)})
		topic.AddSubscription(awssnssubscriptions.NewEmailSubscription(jsii.String(v.settings.AlarmEmail), nil))
		tell = awscloudwatchactions.NewSnsAction(topic)
	}
	for _, a := range alarms {
		made := awscloudwatch.NewAlarm(v.Stack, jsii.String("Alarm"+a.id), &awscloudwatch.AlarmProps{
			AlarmName:        jsii.String(v.settings.Name + "-" + a.id),
			AlarmDescription: jsii.String("Lanyard: " + a.description + ". docs/deploy.md says what to do"),
			Metric:           a.metric, Threshold: jsii.Number(a.at), EvaluationPeriods: jsii.Number(a.periods),
			ComparisonOperator: awscloudwatch.ComparisonOperator_GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
			TreatMissingData:   awscloudwatch.TreatMissingData_NOT_BREACHING,
		})
		if tell != nil {
			made.AddAlarmAction(tell)
			made.AddOkAction(tell)
		}
	}
}
