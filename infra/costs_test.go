package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/infra/costs"
)

// idleLimit is what a deployment may cost while nobody comes, apart from the
// secrets that are stored.
const idleLimit = 3.00

// TestCosts: docs/costs.md is what the templates and the prices say, and idling
// stays below the limit.
func TestCosts(t *testing.T) {
	t.Parallel()
	prices, err := costs.Load("prices.yaml")
	if err != nil {
		t.Fatal(err)
	}
	stacks, err := costs.ReadStacks(synth(t, "settings.yaml").dir, "lanyard")
	if err != nil {
		t.Fatal(err)
	}
	page, err := costs.Page(stacks, prices)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("../docs/costs.md", []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile("../docs/costs.md"); err != nil || string(got) != page {
		t.Errorf("docs/costs.md is not what `make costs` writes: %v", err)
	}
	// The page knows the WAF's rules by their number alone.
	withWAF, err := costs.ReadStacks(synth(t, full).dir, "full")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range prices.Monthly(withWAF) {
		if strings.Contains(l.What, "WAF") && !strings.Contains(page, fmt.Sprintf("(`waf: true`) adds $%.2f a month", l.USD)) {
			t.Errorf("%s costs $%.2f a month, which docs/costs.md does not say", l.What, l.USD)
		}
	}
	var usd float64
	for _, l := range prices.Monthly(stacks) {
		if !l.Stored {
			usd += l.USD
		}
	}
	if usd >= idleLimit || usd < 1 {
		t.Errorf("idling costs $%.2f a month without the secrets, the limit is $%.2f", usd, idleLimit)
	}
	// Nothing that costs by the hour is missed for want of a price.
	free := []string{"ApiGateway::", "IAM::", "Logs::", "EC2::Route", "EC2::Subnet", "EC2::VPC", "EC2::SecurityGroup", "EC2::InternetGateway", "EC2::EgressOnlyInternetGateway",
		"Lambda::Permission", "Lambda::Function", "Lambda::EventSourceMapping", "ECS::Cluster", "ECS::TaskDefinition", "SQS::", "SNS::", "Scheduler::Schedule", "Events::Rule",
		"CloudWatch::Alarm", "CloudFront::", "KMS::", "SecretsManager::Secret", "DynamoDB::Table", "WAFv2::", "Custom::LanyardFirstKey"}
	for id, r := range stacks.Resources {
		known := false
		for _, f := range free {
			known = known || strings.HasPrefix(r.Type, "AWS::"+f) || r.Type == f
		}
		if !known {
			t.Errorf("%s is a %s, of which nobody has said whether it costs while idle", id, r.Type)
		}
	}
}
