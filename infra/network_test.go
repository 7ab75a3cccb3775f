package main

import (
	"strings"
	"testing"
)

// TestNetwork: tasks are reached by mcprun alone, at one port; functions get out
// over IPv6 alone, and nobody in.
func TestNetwork(t *testing.T) {
	t.Parallel()
	tpl := synth(t, shipped).service
	group := func(prefix string) string {
		for _, id := range tpl.of("AWS::EC2::SecurityGroup") {
			if strings.HasPrefix(id, prefix) {
				return id
			}
		}
		t.Fatalf("no security group %s", prefix)
		return ""
	}
	tasks, ours := group("TaskGroup"), group("McprunGroup")
	for _, id := range tpl.of("AWS::EC2::SecurityGroup") {
		if in := tpl.Resources[id].at("SecurityGroupIngress"); in != nil {
			t.Errorf("%s lets in %v", id, in)
		}
	}
	ingress := tpl.of("AWS::EC2::SecurityGroupIngress")
	if len(ingress) != 1 {
		t.Fatalf("ingress %v", ingress)
	}
	in := tpl.Resources[ingress[0]]
	if flat(in.at("GroupId")) != "${"+plain(tasks)+".GroupId}" || flat(in.at("SourceSecurityGroupId")) != "${"+plain(ours)+".GroupId}" ||
		flat(in.at("FromPort")) != "8443" || flat(in.at("ToPort")) != "8443" || in.at("IpProtocol") != "tcp" {
		t.Errorf("%v", in.Properties)
	}
	for _, id := range tpl.of("AWS::EC2::Route") {
		r := tpl.Resources[id]
		table, v4, v6 := flat(r.at("RouteTableId")), r.at("DestinationCidrBlock"), r.at("DestinationIpv6CidrBlock")
		if strings.Contains(table, "functionsSubnet") && (v4 != nil || v6 == nil || r.at("EgressOnlyInternetGatewayId") == nil) {
			t.Errorf("%s: %v", id, r.Properties)
		}
	}
	mcprun := tpl.Resources[tpl.of("AWS::Lambda::Function")[slicesIndex(tpl, "lanyard-mcprun")]]
	if mcprun.at("VpcConfig", "Ipv6AllowedForDualStack") != true || strings.Contains(flat(mcprun.at("VpcConfig", "SubnetIds")), "tasksSubnet") {
		t.Errorf("%v", mcprun.at("VpcConfig"))
	}
}

func slicesIndex(tpl template, function string) int {
	for i, id := range tpl.of("AWS::Lambda::Function") {
		if tpl.Resources[id].at("FunctionName") == function {
			return i
		}
	}
	return -1
}
