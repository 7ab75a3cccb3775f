package cloud_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/presets"
)

// cluster is as much of ECS as a launcher needs: tasks by their ARN.
type cluster struct {
	asked   *ecs.RunTaskInput
	tasks   map[string]string // ARN → startedBy
	stopped []string
	full    bool
	err     error
}

func (c *cluster) RunTask(_ context.Context, in *ecs.RunTaskInput, _ ...func(*ecs.Options)) (*ecs.RunTaskOutput, error) {
	c.asked = in
	if c.full {
		return &ecs.RunTaskOutput{Failures: []types.Failure{{Reason: aws.String("RESOURCE:FARGATE"), Detail: aws.String("no capacity")}}}, c.err
	}
	return &ecs.RunTaskOutput{Tasks: []types.Task{{}}}, c.err
}

func (c *cluster) StopTask(_ context.Context, in *ecs.StopTaskInput, _ ...func(*ecs.Options)) (*ecs.StopTaskOutput, error) {
	c.stopped = append(c.stopped, *in.Task)
	return &ecs.StopTaskOutput{}, c.err
}

func (c *cluster) ListTasks(_ context.Context, in *ecs.ListTasksInput, _ ...func(*ecs.Options)) (*ecs.ListTasksOutput, error) {
	out := &ecs.ListTasksOutput{}
	for arn, by := range c.tasks {
		if in.StartedBy == nil || by == *in.StartedBy {
			out.TaskArns = append(out.TaskArns, arn)
		}
	}
	return out, c.err
}

func (c *cluster) DescribeTasks(_ context.Context, in *ecs.DescribeTasksInput, _ ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error) {
	out := &ecs.DescribeTasksOutput{}
	for arn, by := range c.tasks {
		for _, wanted := range in.Tasks {
			if strings.HasSuffix(arn, "/"+wanted) || arn == wanted {
				out.Tasks = append(out.Tasks, types.Task{TaskArn: aws.String(arn), StartedBy: aws.String(by), CreatedAt: aws.Time(clock())})
			}
		}
	}
	return out, c.err
}

func newLauncher(c *cluster) *cloud.Launcher {
	return &cloud.Launcher{API: c, Cluster: "lanyard", Subnets: []string{"subnet-1"}, SecurityGroup: "sg-1", Family: "lanyard"}
}

// TestLaunch: what DescribeTasks would show is worth nothing once the ticket
// was traded, and two requests for one task start one.
func TestLaunch(t *testing.T) {
	t.Parallel()
	c := &cluster{}
	err := newLauncher(c).Launch(t.Context(), host.Start{TaskID: "tsk_1", Connection: connection.Key{Tenant: "default", ID: "con_1"}, Ticket: "ticket",
		Identity: "canary", ControlURL: "https://api.example/prod", Server: presets.Server{Name: "google-drive"}})
	if err != nil {
		t.Fatal(err)
	}
	if *c.asked.TaskDefinition != "lanyard-google-drive" || *c.asked.ClientToken != "tsk_1" || *c.asked.StartedBy != "tsk_1" || c.asked.EnableExecuteCommand {
		t.Errorf("started as %s, client token %s", *c.asked.TaskDefinition, *c.asked.ClientToken)
	}
	want := map[string]string{"LANYARD_TASK_ID": "tsk_1", "LANYARD_CONNECTION": "con_1", "LANYARD_TICKET": "ticket", "LANYARD_CONTROL_URL": "https://api.example/prod"}
	env := c.asked.Overrides.ContainerOverrides[0].Environment
	for _, kv := range env {
		if want[*kv.Name] != *kv.Value {
			t.Errorf("%s is in the overrides", *kv.Name)
		}
	}
	if len(env) != len(want) {
		t.Errorf("%d variables, want %d", len(env), len(want))
	}
}

// TestLaunchWarm: a task that waits has nothing of anybody.
func TestLaunchWarm(t *testing.T) {
	t.Parallel()
	c := &cluster{}
	err := newLauncher(c).Launch(t.Context(), host.Start{TaskID: "tsk_1", Warm: true, Ticket: "canary", Connection: connection.Key{ID: "canary"},
		ControlURL: "https://api.example/prod", Server: presets.Server{Name: "slack"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"LANYARD_TASK_ID": "tsk_1", "LANYARD_WARM": "1", "LANYARD_CONTROL_URL": "https://api.example/prod"}
	env := c.asked.Overrides.ContainerOverrides[0].Environment
	for _, kv := range env {
		if want[*kv.Name] != *kv.Value {
			t.Errorf("%s is in the overrides", *kv.Name)
		}
	}
	if len(env) != len(want) || *c.asked.TaskDefinition != "lanyard-slack" || *c.asked.StartedBy != "tsk_1" {
		t.Errorf("%d variables, want %d; started as %s", len(env), len(want), *c.asked.TaskDefinition)
	}
}

func TestLaunchFails(t *testing.T) {
	t.Parallel()
	err := newLauncher(&cluster{full: true}).Launch(t.Context(), host.Start{TaskID: "tsk_1"})
	if err == nil || !strings.Contains(err.Error(), "no capacity") {
		t.Errorf("without capacity: %v", err)
	}
	err = newLauncher(&cluster{err: context.DeadlineExceeded}).Launch(t.Context(), host.Start{TaskID: "tsk_1"})
	if !errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("without an answer: %v", err)
	}
}

func TestStopEndsOneTaskOnly(t *testing.T) {
	t.Parallel()
	c := &cluster{tasks: map[string]string{"arn:aws:ecs:eu-central-1:1:task/lanyard/a": "tsk_1", "arn:aws:ecs:eu-central-1:1:task/lanyard/b": "tsk_2"}}
	for _, id := range []string{"tsk_1", "tsk_gone"} {
		if err := newLauncher(c).Stop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.stopped) != 1 || !strings.HasSuffix(c.stopped[0], "/a") {
		t.Errorf("stopped %v", c.stopped)
	}
}

// TestVouch: a role session that ECS named after a task is that task, and no
// other of ours.
func TestVouch(t *testing.T) {
	t.Parallel()
	const role = "arn:aws:sts::1:assumed-role/lanyard-task/"
	c := &cluster{tasks: map[string]string{"arn:aws:ecs:eu-central-1:1:task/lanyard/a": "tsk_1", "arn:aws:ecs:eu-central-1:1:task/lanyard/b": "tsk_2"}}
	for _, test := range []struct {
		task, arn string
		want      bool
	}{
		{"tsk_1", role + "a", true}, {"tsk_1", role + "b", false}, {"tsk_2", role + "a", false}, {"tsk_1", role, false}, {"", role + "a", false},
		{"tsk_1", role + "c", false}, {"tsk_1", role + "lanyard/a", false}, {"tsk_1", "a", false}, {"tsk_1", "", false}, {"tsk_1", role + "x:a", false},
		{"tsk_1", "arn:aws:ecs:eu-central-1:1:task/lanyard/a", false}, {"tsk_1", "arn:aws:iam::1:user/lanyard/a", false},
	} {
		got, err := newLauncher(c).Vouch(t.Context(), test.task, test.arn)
		if err != nil || got != test.want {
			t.Errorf("%q as %q: %v, %v", test.arn, test.task, got, err)
		}
	}
	c.err = context.DeadlineExceeded
	if ok, err := newLauncher(c).Vouch(t.Context(), "tsk_1", role+"a"); ok || !errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("without an answer: %v, %v", ok, err)
	}
}

// TestStarted: tasks of ours that are old enough, and nobody else's.
func TestStarted(t *testing.T) {
	t.Parallel()
	c := &cluster{tasks: map[string]string{"arn:aws:ecs:eu-central-1:1:task/lanyard/a": "tsk_1", "arn:aws:ecs:eu-central-1:1:task/lanyard/b": "somebody"}}
	for age, want := range map[time.Duration]int{-time.Second: 0, time.Second: 1} {
		ids, err := newLauncher(c).Started(t.Context(), clock().Add(age))
		if err != nil || len(ids) != want || want == 1 && ids[0] != "tsk_1" {
			t.Errorf("started before %v: %v, %v", age, ids, err)
		}
	}
	c.err = context.DeadlineExceeded
	if _, err := newLauncher(c).Started(t.Context(), clock()); !errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("without an answer: %v", err)
	}
}
