package fargate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"

	"github.com/lanyardhq/lanyard/e2e/stack/lambdas"
	"github.com/lanyardhq/lanyard/e2e/stack/sigv4"
)

// TestMain makes the test binary a task, too: one that tells its environment to
// where it is told, and waits for its end.
func TestMain(m *testing.M) {
	to := os.Getenv("TELL")
	if to == "" {
		os.Exit(m.Run())
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	body, _ := json.Marshal(os.Environ())
	if resp, err := http.Post(to, "application/json", bytes.NewReader(body)); err == nil {
		resp.Body.Close()
	}
	<-stop
	fmt.Println("ended by a signal")
}

type log struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

const allowed = "arn:aws:sts::" + lambdas.Account + ":assumed-role/mcprun/mcprun"

func cluster(t *testing.T) (*Cluster, *log) {
	l := &log{}
	c := &Cluster{Name: "lanyard", Family: "lanyard", Servers: []string{"engine"}, Container: "runner", Command: []string{"/proc/self/exe"},
		Allowed: allowed, Keys: &sigv4.Keys{}, Log: l, StopGrace: 5 * time.Second}
	srv := httptest.NewServer(c)
	c.URL = srv.URL
	t.Cleanup(srv.Close)
	t.Cleanup(c.Close)
	return c, l
}

func client(c *Cluster, arn string) *ecs.Client {
	k := c.Keys.Issue(arn)
	return ecs.New(ecs.Options{BaseEndpoint: &c.URL, Region: lambdas.Region,
		Credentials: credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken)})
}

func request(env ...string) *ecs.RunTaskInput {
	o := types.ContainerOverride{Name: aws.String("runner")}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		o.Environment = append(o.Environment, types.KeyValuePair{Name: &name, Value: &value})
	}
	return &ecs.RunTaskInput{Cluster: aws.String("lanyard"), TaskDefinition: aws.String("lanyard-engine"), LaunchType: types.LaunchTypeFargate,
		Count: aws.Int32(1), StartedBy: aws.String("tsk_1"), ClientToken: aws.String("tsk_1"), Overrides: &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{o}},
		NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{"subnet-1"}, SecurityGroups: []string{"sg-1"}}}}
}

// TestTask: a process with a container's environment, by the SDK's own calls.
func TestTask(t *testing.T) {
	t.Parallel()
	told := make(chan []string, 1)
	listener := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var env []string
		_ = json.NewDecoder(r.Body).Decode(&env)
		told <- env
	}))
	defer listener.Close()
	c, l := cluster(t)
	api := client(c, allowed)
	in := request("TELL="+listener.URL, "LANYARD_TASK_ID=tsk_1")
	out, err := api.RunTask(t.Context(), in)
	if err != nil || len(out.Tasks) != 1 {
		t.Fatal(err)
	}
	arn := aws.ToString(out.Tasks[0].TaskArn)
	again, err := api.RunTask(t.Context(), in) // the same client token: the same task
	if err != nil || aws.ToString(again.Tasks[0].TaskArn) != arn {
		t.Errorf("%v %v", again, err)
	}
	env := map[string]string{}
	for _, kv := range <-told {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	for name := range env {
		if !slices.Contains([]string{"TELL", "LANYARD_TASK_ID", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "ECS_CONTAINER_METADATA_URI_V4",
			"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"}, name) {
			t.Errorf("it is given %s", name)
		}
	}
	id := arn[strings.LastIndexByte(arn, '/')+1:]
	role := get(t, env["AWS_CONTAINER_CREDENTIALS_FULL_URI"], env["AWS_CONTAINER_AUTHORIZATION_TOKEN"])
	if !strings.Contains(role, "assumed-role/lanyard-task-engine/"+id) || get(t, env["AWS_CONTAINER_CREDENTIALS_FULL_URI"], "") != "" {
		t.Errorf("%s", role)
	}
	if m := get(t, env["ECS_CONTAINER_METADATA_URI_V4"], ""); !strings.Contains(m, `"IPv4Addresses":["127.0.0.1"]`) {
		t.Errorf("%s", m)
	}
	listed, err := api.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: aws.String("lanyard"), StartedBy: aws.String("tsk_1")})
	if err != nil || !slices.Equal(listed.TaskArns, []string{arn}) {
		t.Errorf("%v %v", listed, err)
	}
	described, err := api.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("lanyard"), Tasks: []string{id, "nothing"}})
	if err != nil || len(described.Tasks) != 1 || aws.ToString(described.Tasks[0].StartedBy) != "tsk_1" || len(described.Failures) != 1 {
		t.Errorf("%+v %v", described, err)
	}
	if _, err := api.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("lanyard"), Task: &arn}); err != nil {
		t.Error(err)
	}
	c.Close()
	l.mu.Lock()
	if !strings.Contains(l.String(), "task engine | ended by a signal\n") {
		t.Errorf("%s", l)
	}
	l.mu.Unlock()
	if get(t, env["ECS_CONTAINER_METADATA_URI_V4"], "") != "" {
		t.Error("a task that has ended has metadata")
	}
}

func get(t *testing.T, url, authorization string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", authorization)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return string(data)
}

// TestRefused: what Fargate would not take is not taken here.
func TestRefused(t *testing.T) {
	t.Parallel()
	c, _ := cluster(t)
	for name, try := range map[string]struct {
		by     string
		change func(*ecs.RunTaskInput)
		code   string
	}{
		"by another function":  {"arn:aws:sts::1:assumed-role/connect/connect", func(*ecs.RunTaskInput) {}, "AccessDeniedException"},
		"unknown definition":   {allowed, func(in *ecs.RunTaskInput) { in.TaskDefinition = aws.String("lanyard-else") }, "ClientException"},
		"unknown cluster":      {allowed, func(in *ecs.RunTaskInput) { in.Cluster = aws.String("else") }, "ClusterNotFoundException"},
		"unknown container":    {allowed, func(in *ecs.RunTaskInput) { in.Overrides.ContainerOverrides[0].Name = aws.String("else") }, "ClientException"},
		"too large overrides":  {allowed, func(in *ecs.RunTaskInput) { *in = *request("A=" + strings.Repeat("x", 8192)) }, "InvalidParameterException"},
		"no network interface": {allowed, func(in *ecs.RunTaskInput) { in.NetworkConfiguration = nil }, "InvalidParameterException"},
	} {
		in := request()
		try.change(in)
		_, err := client(c, try.by).RunTask(context.Background(), in)
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != try.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEnded: EventBridge is told of each task that has ended, and how.
func TestEnded(t *testing.T) {
	t.Parallel()
	c, _ := cluster(t)
	events := make(chan []byte, 8)
	c.Ended = func(event []byte) { events <- event }
	api := client(c, allowed)
	said := func(startedBy string, kill func(arn string)) string {
		t.Helper()
		in := request("TELL=http://127.0.0.1:1")
		in.StartedBy, in.ClientToken = &startedBy, &startedBy
		out, err := api.RunTask(t.Context(), in)
		if err != nil || len(out.Tasks) != 1 {
			t.Fatal(err)
		}
		arn := aws.ToString(out.Tasks[0].TaskArn)
		kill(arn)
		var ev struct {
			Source     string
			DetailType string `json:"detail-type"`
			Detail     struct {
				TaskArn, LastStatus, StartedBy, StopCode, StoppedReason, ClusterArn string
				Containers                                                          []struct{ ExitCode *int }
			}
		}
		if err := json.Unmarshal(<-events, &ev); err != nil {
			t.Fatal(err)
		}
		d := ev.Detail
		if ev.Source != "aws.ecs" || ev.DetailType != "ECS Task State Change" || d.TaskArn != arn || d.LastStatus != "STOPPED" || d.StartedBy != startedBy || !strings.HasSuffix(d.ClusterArn, ":cluster/lanyard") {
			t.Errorf("%+v", ev)
		}
		code := "none"
		if len(d.Containers) == 1 && d.Containers[0].ExitCode != nil {
			code = fmt.Sprint(*d.Containers[0].ExitCode)
		}
		return d.StopCode + " " + code
	}
	if got := said("tsk_killed", func(arn string) { _ = c.known(arn).cmd.Process.Kill() }); got != "EssentialContainerExited 137" {
		t.Errorf("killed: %s", got)
	}
	stop := func(arn string) {
		if _, err := api.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("lanyard"), Task: &arn}); err != nil {
			t.Error(err)
		}
	}
	if got := said("tsk_stopped", stop); !strings.HasPrefix(got, "UserInitiated ") {
		t.Errorf("stopped: %s", got)
	}
	c.NoImage = func(server string) bool { return server == "engine" }
	if got := said("tsk_no_image", stop); got != "TaskFailedToStart none" {
		t.Errorf("without an image: %s", got)
	}
}
