package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/jsii-runtime-go"

	"github.com/lanyardhq/lanyard/internal/notify"
)

// statements are what a role may do, one for each need. They are a part of the
// role itself: whoever uses it finds it complete.
type statements []awsiam.PolicyStatement

// role makes a role of a service of AWS.
func (v *Service) role(id, service, description string, grants statements) awsiam.Role {
	props := &awsiam.RoleProps{
		AssumedBy: awsiam.NewServicePrincipal(jsii.String(service), nil), Description: jsii.String(description),
	}
	if len(grants) > 0 {
		list := []awsiam.PolicyStatement(grants)
		props.InlinePolicies = &map[string]awsiam.PolicyDocument{
			"Grants": awsiam.NewPolicyDocument(&awsiam.PolicyDocumentProps{Statements: &list, Minimize: jsii.Bool(false)}),
		}
	}
	return awsiam.NewRole(v.Stack, jsii.String(id), props)
}

// allow is one statement. Conditions may be nil.
func allow(sid string, actions, resources []string, conditions map[string]any) awsiam.PolicyStatement {
	props := &awsiam.PolicyStatementProps{Sid: jsii.String(sid), Actions: jsii.Strings(actions...), Resources: jsii.Strings(resources...)}
	if conditions != nil {
		props.Conditions = &conditions
	}
	return awsiam.NewPolicyStatement(props)
}

type list = []string

// tableName is the data stack's table, or the one that the settings name.
func (v *Service) tableName() *string {
	if v.settings.Table != "" {
		return jsii.String(v.settings.Table)
	}
	return v.data.Table.TableName()
}

func (v *Service) tableARN() string {
	if v.settings.Table != "" {
		return v.arn("dynamodb", "table/"+v.settings.Table)
	}
	return *v.data.Table.TableArn()
}

// useTable is what a function needs for the records of its own; see withhold.
func (v *Service) useTable() awsiam.PolicyStatement {
	return allow("UseTable", list{"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:PutItem",
		"dynamodb:DeleteItem", "dynamodb:ConditionCheckItem"}, list{v.tableARN()}, nil)
}

// insertLines lets several audit lines be written at once, by the one action
// that does so and can neither replace nor remove a line. Should DynamoDB not
// tell which keys such a request names, it is refused, and each line is written
// by itself.
func (v *Service) insertLines() awsiam.PolicyStatement {
	return allow("InsertLines", list{"dynamodb:PartiQLInsert"}, list{v.tableARN()}, map[string]any{
		"ForAllValues:StringLike": map[string]any{"dynamodb:LeadingKeys": list{auditLines}},
		"Null":                    map[string]any{"dynamodb:LeadingKeys": "false"},
	})
}

func (v *Service) readTable() awsiam.PolicyStatement {
	return allow("ReadTable", list{"dynamodb:GetItem", "dynamodb:Query"}, list{v.tableARN()}, nil)
}

// beginFlows lets a function ask a person to connect: it adds flows, and no other
// record.
func (v *Service) beginFlows() awsiam.PolicyStatement {
	return allow("BeginFlows", list{"dynamodb:PutItem"}, list{v.tableARN()}, map[string]any{
		"ForAllValues:StringLike": map[string]any{"dynamodb:LeadingKeys": list{flows}},
		"Null":                    map[string]any{"dynamodb:LeadingKeys": "false"},
	})
}

func (v *Service) findDue() awsiam.PolicyStatement {
	return allow("FindDue", list{"dynamodb:Query"}, list{v.tableARN() + "/index/" + dueIndex}, nil)
}

// useKey lets the key wrap and unwrap data keys of tenants, and nothing else.
func (v *Service) useKey() awsiam.PolicyStatement {
	return allow("UseKey", list{"kms:GenerateDataKey", "kms:Decrypt"}, list{*v.data.Key.KeyArn()},
		map[string]any{"StringLike": map[string]string{"kms:EncryptionContext:lanyard": "tenant/*"}})
}

func (v *Service) keepGrants() awsiam.PolicyStatement {
	return allow("KeepGrants", list{"secretsmanager:CreateSecret", "secretsmanager:PutSecretValue", "secretsmanager:GetSecretValue",
		"secretsmanager:UpdateSecretVersionStage", "secretsmanager:DescribeSecret", "secretsmanager:TagResource", "secretsmanager:DeleteSecret"},
		list{v.secretARN("grants/*")}, nil)
}

func (v *Service) readSecrets(sid, name string) awsiam.PolicyStatement {
	return allow(sid, list{"secretsmanager:GetSecretValue"}, list{v.secretARN(name)}, nil)
}

// putEvents lets a function put events of ours on the account's default bus, and
// none that others take for another's.
func (v *Service) putEvents() awsiam.PolicyStatement {
	return allow("PutEvents", list{"events:PutEvents"}, list{v.arn("events", "event-bus/default")},
		map[string]any{"StringEquals": map[string]string{"events:source": notify.Source}})
}

func (v *Service) useQueue() awsiam.PolicyStatement {
	return allow("UseQueue", list{"sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
		list{*v.queue.QueueArn()}, nil)
}

func (v *Service) invokeRefresh() awsiam.PolicyStatement {
	return allow("AskForTokens", list{"lambda:InvokeFunction"}, list{v.arn("lambda", "function:"+v.functionName(refresh))}, nil)
}

func (v *Service) invokeRemote() awsiam.PolicyStatement {
	return allow("ReachRemoteServers", list{"lambda:InvokeFunction"}, list{v.arn("lambda", "function:"+v.functionName(mcpremote))}, nil)
}

func (v *Service) writeLog(group awslogs.LogGroup) awsiam.PolicyStatement {
	return allow("WriteLog", list{"logs:CreateLogStream", "logs:PutLogEvents"}, list{*group.LogGroupArn()}, nil)
}

// callControl lets a task call the control routes, and nothing else of the API.
func (v *Service) callControl() awsiam.PolicyStatement {
	var to list
	for _, r := range taskRoutes() {
		to = append(to, v.arn("execute-api", *v.api.RestApiId()+"/"+stage+"/"+r))
	}
	return allow("CallControl", list{"execute-api:Invoke"}, to, nil)
}

// runTasks lets mcprun start the servers of this deployment, and end and look
// at tasks of its cluster.
func (v *Service) runTasks() statements {
	var definitions, roles list
	for _, server := range v.settings.enabled {
		definitions = append(definitions, v.arn("ecs", "task-definition/"+v.family()+"-"+server.Name+":*"))
		roles = append(roles, *v.tasks.roles[server.Name].RoleArn())
	}
	inCluster := map[string]any{"ArnEquals": map[string]*string{"ecs:cluster": v.tasks.cluster.ClusterArn()}}
	var out statements
	if len(definitions) > 0 { // not all are remote
		out = append(out, allow("RunTasks", list{"ecs:RunTask"}, definitions, inCluster))
	}
	out = append(out,
		// Listing has no resource that could be named; the condition is the bound.
		allow("FindTasks", list{"ecs:ListTasks"}, list{"*"}, inCluster),
		allow("WatchTasks", list{"ecs:StopTask", "ecs:DescribeTasks"}, list{v.arn("ecs", "task/"+v.settings.Name+"/*")}, inCluster))
	if len(roles) > 0 {
		out = append(out, allow("GiveTasksTheirRoles", list{"iam:PassRole"}, append(roles, *v.tasks.execution.RoleArn()),
			map[string]any{"StringEquals": map[string]string{"iam:PassedToService": "ecs-tasks.amazonaws.com"}}))
	}
	return out
}

// useVPC lets Lambda, and not the function's own code, keep network interfaces.
func (v *Service) useVPC() statements {
	never := awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Sid: jsii.String("NotItself"), Effect: awsiam.Effect_DENY,
		Actions: jsii.Strings("ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets",
			"ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses", "ec2:DetachNetworkInterface"),
		Resources:  jsii.Strings("*"),
		Conditions: &map[string]any{"ArnEquals": map[string]string{"lambda:SourceFunctionArn": v.arn("lambda", "function:"+v.functionName(mcprun))}},
	})
	return statements{
		allow("KeepInterfaces", list{"ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"},
			list{v.arn("ec2", "*/*")}, nil),
		allow("LookAtNetwork", list{"ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"}, list{"*"}, nil),
		never,
	}
}
