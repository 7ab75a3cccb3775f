package fargate

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lanyardhq/lanyard/e2e/stack/lambdas"
)

// task is a process in place of a container.
type task struct {
	cluster                            *Cluster
	id, server, startedBy, clientToken string
	role, endpoint, token              string
	cmd                                *exec.Cmd
	once                               sync.Once
	mu                                 sync.Mutex
	asked, ended                       bool
	// gone is closed when the process has ended.
	gone chan struct{}
}

// start starts the process with exactly what ECS gives a container: the image's
// environment, the overrides, and where its role and metadata are.
func (t *task) start(overrides []string) error {
	c := t.cluster
	t.cmd = exec.Command(c.Command[0], c.Command[1:]...)
	t.cmd.Env = append(append(append([]string{}, c.Env...), overrides...),
		"AWS_REGION="+lambdas.Region, "AWS_DEFAULT_REGION="+lambdas.Region, "AWS_EXECUTION_ENV=AWS_ECS_FARGATE",
		"ECS_CONTAINER_METADATA_URI_V4="+c.URL+"/v4/"+t.endpoint,
		"AWS_CONTAINER_CREDENTIALS_FULL_URI="+c.URL+"/credentials/"+t.endpoint, "AWS_CONTAINER_AUTHORIZATION_TOKEN="+t.token)
	t.cmd.Dir = "/"
	out := &prefixed{to: c.Log, prefix: "task " + t.server + " | "}
	t.cmd.Stdout, t.cmd.Stderr = out, out
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := t.cmd.Start(); err != nil {
		return err
	}
	go func() {
		defer t.tell("EssentialContainerExited", "Essential container in task exited")
		_ = t.cmd.Wait()
		_ = syscall.Kill(-t.cmd.Process.Pid, syscall.SIGKILL) // the container's end is the end of all in it
		t.mu.Lock()
		t.ended = true
		t.mu.Unlock()
		c.Keys.Revoke(t.role)
		close(t.gone)
	}()
	return nil
}

// notStarted is the end of a task whose image cannot be pulled.
func (t *task) notStarted() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	close(t.gone)
	t.tell("TaskFailedToStart", "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref "+
		lambdas.Account+".dkr.ecr."+lambdas.Region+".amazonaws.com/"+t.cluster.Family+"@sha256:0: not found")
}

// tell says that the task has ended, in the words of EventBridge.
func (t *task) tell(code, reason string) {
	if t.cluster.Ended == nil {
		return
	}
	detail := t.describe()
	detail["stopCode"], detail["stoppedReason"] = code, reason
	if t.stopAsked() {
		detail["stopCode"], detail["stoppedReason"] = "UserInitiated", "ended by the caller of StopTask"
	}
	one := map[string]any{"name": t.cluster.Container, "lastStatus": "STOPPED"}
	if t.cmd != nil && t.cmd.ProcessState != nil {
		one["exitCode"] = exitCode(t.cmd.ProcessState)
	}
	detail["containers"] = []any{one}
	event, err := json.Marshal(map[string]any{"version": "0", "id": random(16), "source": "aws.ecs", "detail-type": "ECS Task State Change",
		"account": lambdas.Account, "region": lambdas.Region, "time": time.Now().UTC(), "resources": []string{t.arn()}, "detail": detail})
	if err == nil {
		t.cluster.Ended(event)
	}
}

// exitCode is a container's: 128 and the number of the signal that ended it.
func exitCode(s *os.ProcessState) int {
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return s.ExitCode()
}

func (t *task) stopAsked() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asked
}

// stop asks the task to end, and makes it after StopGrace.
func (t *task) stop() {
	t.once.Do(func() {
		t.mu.Lock()
		t.asked = true
		over := t.ended
		t.mu.Unlock()
		if over {
			return
		}
		_ = t.cmd.Process.Signal(syscall.SIGTERM)
		go func() {
			timer := time.NewTimer(t.cluster.StopGrace)
			defer timer.Stop()
			select {
			case <-t.gone:
			case <-timer.C:
				_ = t.cmd.Process.Kill()
			}
		}()
	})
}

func (t *task) stopping() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asked || t.ended
}

func (t *task) arn() string {
	return "arn:aws:ecs:" + lambdas.Region + ":" + lambdas.Account + ":task/" + t.cluster.Name + "/" + t.id
}

func (t *task) describe() map[string]any {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, desired := "RUNNING", "RUNNING"
	if t.asked {
		last, desired = "DEACTIVATING", "STOPPED"
	}
	if t.ended {
		last, desired = "STOPPED", "STOPPED"
	}
	return map[string]any{"taskArn": t.arn(), "clusterArn": "arn:aws:ecs:" + lambdas.Region + ":" + lambdas.Account + ":cluster/" + t.cluster.Name,
		"lastStatus": last, "desiredStatus": desired, "startedBy": t.startedBy, "launchType": "FARGATE",
		"taskDefinitionArn": "arn:aws:ecs:" + lambdas.Region + ":" + lambdas.Account + ":task-definition/" + t.cluster.Family + "-" + t.server + ":1"}
}

// forTask answers what a task asks of ECS: nobody else knows its endpoint.
func (c *Cluster) forTask(w http.ResponseWriter, r *http.Request) {
	kind, endpoint, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	var asking *task
	c.mu.Lock()
	for _, t := range c.tasks {
		if t.endpoint == endpoint {
			asking = t
		}
	}
	c.mu.Unlock()
	switch {
	case asking == nil || asking.stopped():
		w.WriteHeader(http.StatusNotFound)
	case kind == "v4":
		_ = json.NewEncoder(w).Encode(map[string]any{"DockerId": asking.id, "Name": c.Container,
			"Networks": []any{map[string]any{"NetworkMode": "awsvpc", "IPv4Addresses": []string{"127.0.0.1"}}}})
	case kind == "credentials" && r.Header.Get("Authorization") == asking.token:
		creds := c.Keys.Issue(asking.role)
		_ = json.NewEncoder(w).Encode(map[string]any{"RoleArn": asking.role, "AccessKeyId": creds.AccessKeyID,
			"SecretAccessKey": creds.SecretAccessKey, "Token": creds.SessionToken, "Expiration": time.Now().Add(time.Hour).UTC()})
	default:
		w.WriteHeader(http.StatusForbidden)
	}
}

func (t *task) stopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended
}

// prefixed marks whose output it is.
type prefixed struct {
	mu     sync.Mutex
	to     io.Writer
	prefix string
}

func (p *prefixed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for line := range strings.Lines(string(b)) {
		fmt.Fprintf(p.to, "%s%s\n", p.prefix, strings.TrimSuffix(line, "\n"))
	}
	return len(b), nil
}
