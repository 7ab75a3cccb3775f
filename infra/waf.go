package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awswafv2"
	"github.com/aws/jsii-runtime-go"
)

// tasksPath is what the paths of tasks' calls begin with, which come to the API
// itself, signed, and not through CloudFront. The WAF sees the stage in a path.
const tasksPath = "/" + stage + "/tasks/"

// makeWAF puts AWS WAF before the API: known bad addresses and inputs, and a
// bound for each viewer, whose address CloudFront passes on. A request without
// that address would be counted for nobody: it did not come through CloudFront,
// and is refused. One that makes up an address gets no further than the API key
// that CloudFront sends and it does not know.
func (v *Service) makeWAF() {
	visible := func(name string) *awswafv2.CfnWebACL_VisibilityConfigProperty {
		return &awswafv2.CfnWebACL_VisibilityConfigProperty{MetricName: jsii.String(v.settings.Name + "-" + name),
			CloudWatchMetricsEnabled: jsii.Bool(true), SampledRequestsEnabled: jsii.Bool(false)}
	}
	managed := func(priority float64, name string) any {
		return &awswafv2.CfnWebACL_RuleProperty{
			Name: jsii.String(name), Priority: jsii.Number(priority), VisibilityConfig: visible(name),
			OverrideAction: &awswafv2.CfnWebACL_OverrideActionProperty{None: map[string]any{}},
			Statement: &awswafv2.CfnWebACL_StatementProperty{ManagedRuleGroupStatement: &awswafv2.CfnWebACL_ManagedRuleGroupStatementProperty{
				Name: jsii.String(name), VendorName: jsii.String("AWS"),
			}},
		}
	}
	block := func(priority float64, name string, statement *awswafv2.CfnWebACL_StatementProperty) any {
		return &awswafv2.CfnWebACL_RuleProperty{
			Name: jsii.String(name), Priority: jsii.Number(priority), VisibilityConfig: visible(name),
			Action:    &awswafv2.CfnWebACL_RuleActionProperty{Block: map[string]any{}},
			Statement: statement,
		}
	}
	acl := awswafv2.NewCfnWebACL(v.Stack, jsii.String("Firewall"), &awswafv2.CfnWebACLProps{
		Scope: jsii.String("REGIONAL"), VisibilityConfig: visible("firewall"),
		DefaultAction: &awswafv2.CfnWebACL_DefaultActionProperty{Allow: map[string]any{}},
		Rules: []any{
			managed(0, "AWSManagedRulesAmazonIpReputationList"),
			managed(1, "AWSManagedRulesKnownBadInputsRuleSet"),
			block(2, "past-the-edge", pastTheEdge()),
			block(3, "each-viewer", &awswafv2.CfnWebACL_StatementProperty{RateBasedStatement: &awswafv2.CfnWebACL_RateBasedStatementProperty{
				Limit: jsii.Number(1000), EvaluationWindowSec: jsii.Number(60), AggregateKeyType: jsii.String("CUSTOM_KEYS"),
				CustomKeys: []any{&awswafv2.CfnWebACL_RateBasedStatementCustomKeyProperty{
					Header: &awswafv2.CfnWebACL_RateLimitHeaderProperty{Name: jsii.String(viewerHeader), TextTransformations: asItIs()},
				}},
			}}),
		},
	})
	awswafv2.NewCfnWebACLAssociation(v.Stack, jsii.String("FirewallOfApi"), &awswafv2.CfnWebACLAssociationProps{
		ResourceArn: v.api.DeploymentStage().StageArn(), WebAclArn: acl.AttrArn(),
	})
}

// pastTheEdge is a request that names no viewer and is no task's.
func pastTheEdge() *awswafv2.CfnWebACL_StatementProperty {
	not := func(s *awswafv2.CfnWebACL_StatementProperty) any {
		return &awswafv2.CfnWebACL_StatementProperty{NotStatement: &awswafv2.CfnWebACL_NotStatementProperty{Statement: s}}
	}
	return &awswafv2.CfnWebACL_StatementProperty{AndStatement: &awswafv2.CfnWebACL_AndStatementProperty{Statements: []any{
		not(&awswafv2.CfnWebACL_StatementProperty{SizeConstraintStatement: &awswafv2.CfnWebACL_SizeConstraintStatementProperty{
			FieldToMatch:       &awswafv2.CfnWebACL_FieldToMatchProperty{SingleHeader: map[string]any{"Name": viewerHeader}},
			ComparisonOperator: jsii.String("GT"), Size: jsii.Number(0), TextTransformations: asItIs(),
		}}),
		not(&awswafv2.CfnWebACL_StatementProperty{ByteMatchStatement: &awswafv2.CfnWebACL_ByteMatchStatementProperty{
			FieldToMatch:         &awswafv2.CfnWebACL_FieldToMatchProperty{UriPath: map[string]any{}},
			PositionalConstraint: jsii.String("STARTS_WITH"), SearchString: jsii.String(tasksPath), TextTransformations: asItIs(),
		}}),
	}}}
}

func asItIs() []any {
	return []any{&awswafv2.CfnWebACL_TextTransformationProperty{Priority: jsii.Number(0), Type: jsii.String("NONE")}}
}
