package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/config"
)

// TestEnvironment: what each function is given, and what each task is.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	var lines []string
	for _, file := range []string{shipped, full} {
		tpl := synth(t, file).service
		lines = append(lines, "== "+file)
		for _, id := range tpl.of("AWS::Lambda::Function") {
			f := tpl.Resources[id]
			line := fmt.Sprintf("%s %s %s MiB %s s", flat(f.at("FunctionName")), flat(f.at("Architectures")), flat(f.at("MemorySize")), flat(f.at("Timeout")))
			if n := flat(f.at("ReservedConcurrentExecutions")); n != "" {
				line += " at most " + n
			}
			if f.at("VpcConfig") != nil {
				line += " in " + flat(f.at("VpcConfig", "SubnetIds")) + " as " + flat(f.at("VpcConfig", "SecurityGroupIds"))
			}
			lines = append(lines, line)
			env := f.at("Environment", "Variables").(map[string]any)
			for _, name := range slices.Sorted(maps.Keys(env)) {
				lines = append(lines, "    "+name+"="+flat(env[name]))
			}
		}
		for _, id := range tpl.of("AWS::ECS::TaskDefinition") {
			d := tpl.Resources[id]
			lines = append(lines, fmt.Sprintf("%s %s CPU %s MiB as %s", flat(d.at("Family")), flat(d.at("Cpu")), flat(d.at("Memory")), flat(d.at("TaskRoleArn"))))
			for _, x := range d.at("ContainerDefinitions").([]any) {
				c := x.(map[string]any)
				delete(c, "Image")
				for _, name := range slices.Sorted(maps.Keys(c)) {
					lines = append(lines, "    "+name+" "+flat(c[name]))
				}
			}
		}
	}
	golden(t, "environment.txt", lines)
}

// TestFunctionsUnderstandTheirEnvironment: the functions' own code takes what
// the deployment sets.
func TestFunctionsUnderstandTheirEnvironment(t *testing.T) {
	t.Parallel()
	needs := map[string][]string{
		connect: nil, authorizer: nil,
		mcpremote: {"LANYARD_REFRESH_FUNCTION"},
		callback:  {"LANYARD_KMS_KEY"}, refresh: {"LANYARD_KMS_KEY", "LANYARD_QUEUE_URL"},
		mcprun: {"LANYARD_REFRESH_FUNCTION", "LANYARD_REMOTE_FUNCTION", "LANYARD_CONTROL_URL", "LANYARD_CLUSTER", "LANYARD_SUBNETS", "LANYARD_TASK_SECURITY_GROUP", "LANYARD_TASK_FAMILY"},
	}
	for _, file := range []string{shipped, full} {
		a := synth(t, file)
		for _, id := range a.service.of("AWS::Lambda::Function") {
			r := a.service.Resources[id]
			env := r.at("Environment", "Variables").(map[string]any)
			f, err := config.LoadFunction(func(name string) string {
				return strings.NewReplacer("${Edge.DomainName}", "d111.cloudfront.net").Replace(flat(env[name]))
			})
			if err != nil {
				t.Errorf("%s: %v", id, err)
				continue
			}
			if err := f.Need(needs[strings.TrimPrefix(flat(r.at("FunctionName")), a.settings.Name+"-")]...); err != nil {
				t.Errorf("%s: %v", id, err)
			}
			if f.Emulated || !slices.Equal(f.Servers, a.settings.Servers) || f.Secrets != a.settings.Name && f.Secrets != "lanyard" ||
				env["LANYARD_CLUSTER"] != nil && !maps.Equal(f.WarmPool, a.settings.WarmPool) {
				t.Errorf("%s: %+v", id, f)
			}
		}
	}
}

// TestNoSecretInSight: no environment, task definition or output holds a secret
// or a reference that becomes one; only CloudFront's header and API Gateway's key do.
func TestNoSecretInSight(t *testing.T) {
	t.Parallel()
	// Names with such words in them, which hold no secret.
	innocent := []string{"LANYARD_KMS_KEY", "LANYARD_SECRETS"}
	suspect := regexp.MustCompile(`(?i)secret|token|password|credential|bearer|_key`)
	for _, file := range []string{shipped, full} {
		a := synth(t, file)
		for id, r := range a.service.Resources {
			if strings.Contains(fmt.Sprint(r.Properties), "{{resolve:") && r.Type != "AWS::CloudFront::Distribution" && r.Type != "AWS::ApiGateway::ApiKey" {
				t.Errorf("%s holds a secret once it is made", id)
			}
			switch r.Type {
			case "AWS::Lambda::Function":
				for name := range r.at("Environment", "Variables").(map[string]any) {
					if suspect.MatchString(name) && !slices.Contains(innocent, name) {
						t.Errorf("%s: %s", id, name)
					}
				}
			case "AWS::ECS::TaskDefinition":
				for _, x := range r.at("ContainerDefinitions").([]any) {
					c := x.(map[string]any)
					for _, name := range []string{"Secrets", "Environment", "EnvironmentFiles"} {
						if c[name] != nil {
							t.Errorf("%s has %s: %v", id, name, c[name])
						}
					}
				}
			}
		}
		for id, o := range a.service.Outputs {
			if strings.Contains(flat(o.Value), "{{resolve:") {
				t.Errorf("output %s shows a secret", id)
			}
		}
	}
}

// TestNoForeignFunction: no part of the CDK has brought a function or a role
// that is not ours.
func TestNoForeignFunction(t *testing.T) {
	t.Parallel()
	for _, file := range []string{shipped, full} {
		a := synth(t, file)
		if got := a.service.of("AWS::Lambda::Function"); len(got) != len(functionNames) {
			t.Errorf("%s: functions %v", file, got)
		}
		for _, kind := range []string{"AWS::EC2::NatGateway", "AWS::ElasticLoadBalancingV2::LoadBalancer", "AWS::ECS::Service", "AWS::EC2::EIP"} {
			if got := a.service.of(kind); len(got) > 0 {
				t.Errorf("%s costs while idle: %v", file, got)
			}
		}
		for _, id := range a.service.of("AWS::EC2::VPCEndpoint") {
			if got := a.service.Resources[id].at("VpcEndpointType"); got != "Gateway" {
				t.Errorf("%s is a %v endpoint, which costs while idle", id, got)
			}
		}
	}
}

// TestFirstKey: a refresh that does not start fails the deployment soon, and is
// not asked again by the rollback.
func TestFirstKey(t *testing.T) {
	t.Parallel()
	tpl := synth(t, shipped).service
	ids := tpl.of("Custom::LanyardFirstKey")
	if len(ids) != 1 {
		t.Fatalf("%v", ids)
	}
	r := tpl.Resources[ids[0]]
	if r.DeletionPolicy != "Retain" || r.UpdateReplacePolicy != "Retain" || flat(r.at("ServiceTimeout")) != "120" {
		t.Errorf("%+v", r)
	}
}
