package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssecretsmanager"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// dueIndex is the table's index of what needs attention, and when.
const dueIndex = "due"

// Data is the stack of what must outlive every other: it is deleted by hand
// only, and keeps its table and key even then.
type Data struct {
	awscdk.Stack
	Table awsdynamodb.Table
	Key   awskms.Key
}

// NewData makes the data stack.
func NewData(scope constructs.Construct, s Settings) *Data {
	stack := awscdk.NewStack(scope, jsii.String(s.Name+"-data"), &awscdk.StackProps{
		Description:           jsii.String("Lanyard: the table, the key and the secrets that it begins with"),
		TerminationProtection: jsii.Bool(true),
	})
	d := &Data{Stack: stack}
	d.Table = awsdynamodb.NewTable(stack, jsii.String("Table"), &awsdynamodb.TableProps{
		TableName:           jsii.String(s.Name),
		PartitionKey:        &awsdynamodb.Attribute{Name: jsii.String("pk"), Type: awsdynamodb.AttributeType_STRING},
		SortKey:             &awsdynamodb.Attribute{Name: jsii.String("sk"), Type: awsdynamodb.AttributeType_STRING},
		TimeToLiveAttribute: jsii.String("ttl"),
		BillingMode:         awsdynamodb.BillingMode_PAY_PER_REQUEST,
		PointInTimeRecoverySpecification: &awsdynamodb.PointInTimeRecoverySpecification{
			PointInTimeRecoveryEnabled: jsii.Bool(true),
		},
		DeletionProtection: jsii.Bool(true),
		RemovalPolicy:      awscdk.RemovalPolicy_RETAIN,
	})
	d.Table.AddGlobalSecondaryIndex(&awsdynamodb.GlobalSecondaryIndexProps{
		IndexName:      jsii.String(dueIndex),
		PartitionKey:   &awsdynamodb.Attribute{Name: jsii.String("due_shard"), Type: awsdynamodb.AttributeType_STRING},
		SortKey:        &awsdynamodb.Attribute{Name: jsii.String("due_at"), Type: awsdynamodb.AttributeType_STRING},
		ProjectionType: awsdynamodb.ProjectionType_KEYS_ONLY,
	})
	d.Key = awskms.NewKey(stack, jsii.String("Key"), &awskms.KeyProps{
		Description:       jsii.String("Lanyard: wraps the data keys that seal token sets"),
		Alias:             jsii.String("alias/" + s.Name),
		EnableKeyRotation: jsii.Bool(true),
		RemovalPolicy:     awscdk.RemovalPolicy_RETAIN,
	})
	// Exported always: an export that goes when the settings name another table
	// could not go, since the service stack still uses it at that moment.
	for _, value := range []any{d.Table.TableName(), d.Table.TableArn(), d.Key.KeyArn()} {
		stack.ExportValue(value, nil)
	}
	secret := func(id, name, description string, length float64) {
		awssecretsmanager.NewSecret(stack, jsii.String(id), &awssecretsmanager.SecretProps{
			SecretName:  jsii.String(s.Name + "/" + name),
			Description: jsii.String(description),
			GenerateSecretString: &awssecretsmanager.SecretStringGenerator{
				PasswordLength: jsii.Number(length), ExcludePunctuation: jsii.Bool(true),
			},
			// None holds what cannot be made again.
			RemovalPolicy: awscdk.RemovalPolicy_DESTROY,
		})
	}
	secret("ApiKey", secretAPIKey, "Lanyard: the first API key", 43)
	secret("Origin", secretOrigin, "Lanyard: by which the API knows that a request came through CloudFront", 64)
	secret("TaskBearers", secretTaskBearers, "Lanyard: what the bearers of tasks are derived from", 64)
	return d
}

// Names of secrets, after the deployment's name and a slash.
const (
	secretAPIKey      = "api-key"
	secretOrigin      = "origin"
	secretTaskBearers = "task-bearers"
)
