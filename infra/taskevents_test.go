package main

import "testing"

// TestTaskEvents: the ends of tasks of our cluster, and nothing else, reach
// mcprun, which that rule alone may call.
func TestTaskEvents(t *testing.T) {
	t.Parallel()
	tpl := synth(t, shipped).service
	rules := tpl.of("AWS::Events::Rule")
	if len(rules) != 1 {
		t.Fatalf("rules %v", rules)
	}
	rule := tpl.Resources[rules[0]]
	if flat(rule.at("EventPattern", "source")) != "aws.ecs" || flat(rule.at("EventPattern", "detail-type")) != "ECS Task State Change" ||
		flat(rule.at("EventPattern", "detail", "lastStatus")) != "STOPPED" || flat(rule.at("EventPattern", "detail", "clusterArn")) != "${Cluster.Arn}" {
		t.Errorf("%v", rule.at("EventPattern"))
	}
	targets, _ := rule.at("Targets").([]any)
	if len(targets) != 1 || flat(targets[0].(map[string]any)["Arn"]) != "${Mcprun.Arn}" {
		t.Errorf("%v", targets)
	}
	for _, id := range tpl.of("AWS::Lambda::Permission") {
		p := tpl.Resources[id]
		if p.at("Principal") != "events.amazonaws.com" {
			continue
		}
		if flat(p.at("FunctionName")) != "${Mcprun.Arn}" || flat(p.at("SourceArn")) != "${"+plain(rules[0])+".Arn}" || p.at("Action") != "lambda:InvokeFunction" {
			t.Errorf("%v", p.Properties)
		}
		return
	}
	t.Error("the rule may not call mcprun")
}
