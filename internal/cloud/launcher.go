package cloud

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/presets"
)

// ECS is what a [Launcher] asks of the service. [*ecs.Client] has it.
type ECS interface {
	RunTask(context.Context, *ecs.RunTaskInput, ...func(*ecs.Options)) (*ecs.RunTaskOutput, error)
	StopTask(context.Context, *ecs.StopTaskInput, ...func(*ecs.Options)) (*ecs.StopTaskOutput, error)
	ListTasks(context.Context, *ecs.ListTasksInput, ...func(*ecs.Options)) (*ecs.ListTasksOutput, error)
	DescribeTasks(context.Context, *ecs.DescribeTasksInput, ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error)
}

// Launcher runs tasks on Fargate. ECS knows each by our own id, as startedBy:
// nothing but the id has to be kept to find it again.
type Launcher struct {
	API     ECS
	Cluster string
	Subnets []string
	// SecurityGroup lets mcprun in, and nobody else.
	SecurityGroup string
	// Family and a server's name make the name of its task definition.
	Family string
}

var (
	_ host.Launcher = (*Launcher)(nil)
	_ host.Roll     = (*Launcher)(nil)
)

// container is the name of the runner's container in each task definition.
const container = "runner"

// Launch implements [host.Launcher]. DescribeTasks shows the overrides to
// whoever may call it: the ticket in them is worth something once, to that very
// task.
func (l *Launcher) Launch(ctx context.Context, s host.Start) error {
	env := func(name, value string) types.KeyValuePair {
		return types.KeyValuePair{Name: aws.String(name), Value: aws.String(value)}
	}
	given := []types.KeyValuePair{env("LANYARD_TASK_ID", s.TaskID), env("LANYARD_CONTROL_URL", s.ControlURL)}
	if s.Warm {
		given = append(given, env("LANYARD_WARM", "1"))
	} else {
		given = append(given, env("LANYARD_CONNECTION", s.Connection.ID), env("LANYARD_TICKET", s.Ticket.Reveal()))
	}
	out, err := l.API.RunTask(ctx, &ecs.RunTaskInput{
		Cluster: &l.Cluster, TaskDefinition: aws.String(l.Family + "-" + s.Server.Name), LaunchType: types.LaunchTypeFargate,
		Count: aws.Int32(1), StartedBy: aws.String(s.TaskID), ClientToken: aws.String(s.TaskID), EnableExecuteCommand: false,
		NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{
			Subnets: l.Subnets, SecurityGroups: []string{l.SecurityGroup}, AssignPublicIp: types.AssignPublicIpEnabled, // to pull its image, without a NAT
		}},
		Overrides: &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{Name: aws.String(container), Environment: given}}},
	})
	if err != nil {
		return failed(err)
	}
	if len(out.Tasks) == 0 {
		var why []string
		for _, f := range out.Failures {
			why = append(why, aws.ToString(f.Reason)+" "+aws.ToString(f.Detail))
		}
		return fmt.Errorf("ECS started no task: %s", strings.TrimSpace(strings.Join(why, "; ")))
	}
	return nil
}

// Stop implements [host.Launcher].
func (l *Launcher) Stop(ctx context.Context, taskID string) error {
	found, err := l.API.ListTasks(ctx, &ecs.ListTasksInput{Cluster: &l.Cluster, StartedBy: &taskID})
	if err != nil {
		return failed(err)
	}
	for _, arn := range found.TaskArns {
		if _, err := l.API.StopTask(ctx, &ecs.StopTaskInput{Cluster: &l.Cluster, Task: &arn, Reason: aws.String("ended by Lanyard")}); err != nil {
			return failed(err)
		}
	}
	return nil
}

// Started implements [host.Roll].
func (l *Launcher) Started(ctx context.Context, before time.Time) ([]string, error) {
	var out []string
	in := &ecs.ListTasksInput{Cluster: &l.Cluster, DesiredStatus: types.DesiredStatusRunning}
	for {
		page, err := l.API.ListTasks(ctx, in)
		if err != nil {
			return nil, failed(err)
		}
		if len(page.TaskArns) > 0 { // at most a hundred, which is what one call describes
			found, err := l.API.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &l.Cluster, Tasks: page.TaskArns})
			if err != nil {
				return nil, failed(err)
			}
			for _, t := range found.Tasks {
				if id := aws.ToString(t.StartedBy); strings.HasPrefix(id, taskPrefix) && aws.ToTime(t.CreatedAt).Before(before) {
					out = append(out, id)
				}
			}
		}
		if page.NextToken == nil {
			return out, nil
		}
		in.NextToken = page.NextToken
	}
}

// taskPrefix begins the ids of our tasks: others of the cluster are not ours.
const taskPrefix = "tsk_"

// Vouch reports whether the caller, an assumed role's ARN whose session ECS
// named after the task, is the ECS task that was started as ours of that id.
// From then on that very role and session are the task.
func (l *Launcher) Vouch(ctx context.Context, taskID, arn string) (bool, error) {
	parts := strings.Split(arn, "/")
	session := parts[len(parts)-1]
	if len(parts) != 3 || !strings.HasSuffix(parts[0], ":assumed-role") || session == "" || strings.Contains(session, ":") {
		return false, nil // no task's
	}
	out, err := l.API.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &l.Cluster, Tasks: []string{session}})
	if err != nil {
		return false, failed(err)
	}
	for _, t := range out.Tasks {
		if aws.ToString(t.StartedBy) == taskID && strings.HasSuffix(aws.ToString(t.TaskArn), "/"+session) {
			return true, nil
		}
	}
	return false, nil
}

// Image stands for an installer where each server has an image of its own, with
// its packages in it.
type Image struct {
	// Dir holds a directory for each server.
	Dir string
}

var _ host.Installer = Image{}

// Ensure implements [host.Installer].
func (i Image) Ensure(_ context.Context, s presets.Server) (string, error) {
	return i.Dir + "/" + s.Name, nil
}
