package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecrassets"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/jsii-runtime-go"

	"github.com/lanyardhq/lanyard/presets"
)

const (
	// taskPort is where a task's runner listens for mcprun.
	taskPort = 8443
	// containerName is the one container of a task; mcprun names it to give it
	// its ticket.
	containerName = "runner"
	// scratch is what a task may write to: its servers' HOMEs are made in it. It is
	// in memory, and may take half of the task's.
	scratch = "/tmp"
)

// tasks are where MCP servers run.
type tasks struct {
	cluster awsecs.Cluster
	// execution is what Fargate itself does for a task; roles are what the
	// runner may do, by server.
	execution awsiam.Role
	roles     map[string]awsiam.Role
}

// dropped are the capabilities that Fargate gives and a runner does not need.
// It keeps CHOWN, SETUID, SETGID and KILL, to run a server as another user, and
// DAC_OVERRIDE, to replace credential files in that user's HOME. The server
// itself has none.
var dropped = []awsecs.Capability{
	awsecs.Capability_AUDIT_WRITE, awsecs.Capability_FOWNER, awsecs.Capability_FSETID, awsecs.Capability_MKNOD,
	awsecs.Capability_NET_BIND_SERVICE, awsecs.Capability_NET_RAW, awsecs.Capability_SETFCAP, awsecs.Capability_SETPCAP,
	awsecs.Capability_SYS_CHROOT,
}

// family is what the names of task definitions begin with; a hyphen and the
// server's name follow.
func (v *Service) family() string { return v.settings.Name }

func (v *Service) makeTasks() error {
	t := &v.tasks
	t.cluster = awsecs.NewCluster(v.Stack, jsii.String("Cluster"), &awsecs.ClusterProps{
		ClusterName: jsii.String(v.settings.Name), Vpc: v.network.vpc, ContainerInsightsV2: awsecs.ContainerInsights_DISABLED,
	})
	logs := v.logGroup("TaskLog", "/lanyard/"+v.settings.Name+"/tasks")
	v.logs["tasks"] = logs
	t.execution = v.role("TaskExecution", "ecs-tasks.amazonaws.com", "Fargate: pulls images, writes logs", nil)
	t.roles = map[string]awsiam.Role{}
	for _, server := range v.settings.enabled {
		dir, err := v.assets.ImageOf(server)
		if err != nil {
			return err
		}
		t.roles[server.Name] = v.role("TaskRole-"+server.Name, "ecs-tasks.amazonaws.com",
			"The runner of "+server.Name+": trades its ticket, asks for access tokens, reports", statements{v.callControl()})
		v.makeTask(server, dir)
	}
	return nil
}

// makeTask makes the task definition of a server.
func (v *Service) makeTask(server presets.Server, dir string) {
	size := server.Server.Resources
	definition := awsecs.NewFargateTaskDefinition(v.Stack, jsii.String("Task-"+server.Name), &awsecs.FargateTaskDefinitionProps{
		Family:         jsii.String(v.family() + "-" + server.Name),
		Cpu:            jsii.Number(size.CPU * 1024),
		MemoryLimitMiB: jsii.Number(float64(size.Memory)),
		RuntimePlatform: &awsecs.RuntimePlatform{
			CpuArchitecture: awsecs.CpuArchitecture_ARM64(), OperatingSystemFamily: awsecs.OperatingSystemFamily_LINUX(),
		},
		ExecutionRole: v.tasks.execution, TaskRole: v.tasks.roles[server.Name],
	})
	linux := awsecs.NewLinuxParameters(v.Stack, jsii.String("Linux-"+server.Name), &awsecs.LinuxParametersProps{
		// The runner is no init; orphans of a server need one.
		InitProcessEnabled: jsii.Bool(true),
	})
	linux.DropCapabilities(dropped...)
	linux.AddTmpfs(&awsecs.Tmpfs{ContainerPath: jsii.String(scratch), Size: jsii.Number(float64(size.Memory / 2)),
		MountOptions: &[]awsecs.TmpfsMountOption{awsecs.TmpfsMountOption_RW, awsecs.TmpfsMountOption_NOSUID, awsecs.TmpfsMountOption_NODEV}})
	definition.AddContainer(jsii.String(containerName), &awsecs.ContainerDefinitionOptions{
		Image: awsecs.ContainerImage_FromAsset(jsii.String(dir), &awsecs.AssetImageProps{
			Platform:  awsecrassets.Platform_LINUX_ARM64(),
			BuildArgs: &map[string]*string{"SERVER": jsii.String(server.Name)},
		}),
		MemoryLimitMiB:         jsii.Number(float64(size.Memory)),
		ReadonlyRootFilesystem: jsii.Bool(true),
		LinuxParameters:        linux,
		PortMappings:           &[]*awsecs.PortMapping{{ContainerPort: jsii.Number(taskPort)}},
		StopTimeout:            awscdk.Duration_Seconds(jsii.Number(30)),
		Logging:                awsecs.LogDriver_AwsLogs(&awsecs.AwsLogDriverProps{LogGroup: v.logs["tasks"], StreamPrefix: jsii.String(server.Name)}),
	})
}
