package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/jsii-runtime-go"
)

// network is where tasks and mcprun meet. Nothing in it costs while idle: no
// NAT gateway, no load balancer, no interface endpoint.
//
//	tasks      public subnets: images and providers through an address of the
//	           task's own; from inside, mcprun alone gets to it
//	functions  private subnets: AWS's APIs over IPv6, outwards only, and
//	           DynamoDB through its gateway endpoint
type network struct {
	vpc       awsec2.Vpc
	tasks     *awsec2.SubnetSelection
	functions *awsec2.SubnetSelection
	// ofTasks and ofMCPRun are security groups.
	ofTasks, ofMCPRun awsec2.SecurityGroup
}

const (
	subnetsOfTasks     = "tasks"
	subnetsOfFunctions = "functions"
)

func (v *Service) makeNetwork() {
	n := &v.network
	n.tasks = &awsec2.SubnetSelection{SubnetGroupName: jsii.String(subnetsOfTasks)}
	n.functions = &awsec2.SubnetSelection{SubnetGroupName: jsii.String(subnetsOfFunctions)}
	n.vpc = awsec2.NewVpc(v.Stack, jsii.String("Vpc"), &awsec2.VpcProps{
		IpProtocol:                   awsec2.IpProtocol_DUAL_STACK,
		MaxAzs:                       jsii.Number(2),
		NatGateways:                  jsii.Number(0),
		RestrictDefaultSecurityGroup: jsii.Bool(false), // it would take a function of CDK's own
		SubnetConfiguration: &[]*awsec2.SubnetConfiguration{
			{Name: jsii.String(subnetsOfTasks), SubnetType: awsec2.SubnetType_PUBLIC, CidrMask: jsii.Number(18), MapPublicIpOnLaunch: jsii.Bool(false)},
			{Name: jsii.String(subnetsOfFunctions), SubnetType: awsec2.SubnetType_PRIVATE_WITH_EGRESS, CidrMask: jsii.Number(20)},
		},
		GatewayEndpoints: &map[string]*awsec2.GatewayVpcEndpointOptions{
			"DynamoDB": {Service: awsec2.GatewayVpcEndpointAwsService_DYNAMODB(), Subnets: &[]*awsec2.SubnetSelection{n.functions}},
			"S3":       {Service: awsec2.GatewayVpcEndpointAwsService_S3(), Subnets: &[]*awsec2.SubnetSelection{n.tasks}},
		},
	})
	group := func(id, description string) awsec2.SecurityGroup {
		return awsec2.NewSecurityGroup(v.Stack, jsii.String(id), &awsec2.SecurityGroupProps{
			Vpc: n.vpc, Description: jsii.String(description), AllowAllOutbound: jsii.Bool(false), AllowAllIpv6Outbound: jsii.Bool(false),
		})
	}
	n.ofMCPRun = group("McprunGroup", "mcprun: calls tasks and APIs of AWS, is called by nobody")
	n.ofTasks = group("TaskGroup", "tasks: call providers, are called by mcprun alone")
	https, task := awsec2.Port_Tcp(jsii.Number(443)), awsec2.Port_Tcp(jsii.Number(taskPort))
	for _, g := range []awsec2.SecurityGroup{n.ofMCPRun, n.ofTasks} {
		g.AddEgressRule(awsec2.Peer_AnyIpv4(), https, jsii.String("HTTPS over IPv4"), nil)
		g.AddEgressRule(awsec2.Peer_AnyIpv6(), https, jsii.String("HTTPS over IPv6"), nil)
	}
	n.ofMCPRun.AddEgressRule(n.ofTasks, task, jsii.String("tasks"), nil)
	n.ofTasks.AddIngressRule(n.ofMCPRun, task, jsii.String("mcprun"), nil)
}
