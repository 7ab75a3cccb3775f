// Package fargate stands in for ECS on Fargate: RunTask starts a process with
// what a task's container would have in its environment, and with the two
// endpoints that ECS keeps for a task, of its role's credentials and of its
// metadata.
package fargate

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/e2e/stack/lambdas"
	"github.com/lanyardhq/lanyard/e2e/stack/sigv4"
)

// Cluster is one cluster and its task definitions.
type Cluster struct {
	Name string
	// Family and a server's name make the name of a task definition.
	Family string
	// Servers are those that have one.
	Servers []string
	// Container is the name of the container in each.
	Container string
	// Command is what the image of every task runs.
	Command []string
	// Env is added to a task's environment: what its image sets.
	Env []string
	// URL is where this handler can be reached by tasks.
	URL string
	// Allowed is the principal that may call us.
	Allowed string
	Keys    *sigv4.Keys
	Log     io.Writer
	// StopGrace is how long a task may take to end.
	StopGrace time.Duration
	// Ended is given the event of each task that has ended, as EventBridge has it.
	// Nil: nobody is told.
	Ended func(event []byte)
	// NoImage, if set, says whose image cannot be pulled: such a task ends before
	// it has started.
	NoImage func(server string) bool

	mu    sync.Mutex
	tasks map[string]*task
}

type keyValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type runTask struct {
	Cluster, TaskDefinition, StartedBy, ClientToken, LaunchType string
	Count                                                       *int
	NetworkConfiguration                                        struct {
		AwsvpcConfiguration struct {
			Subnets, SecurityGroups []string
		}
	}
	Overrides struct {
		ContainerOverrides []struct {
			Name        string
			Environment []keyValue
		}
	}
}

const target = "AmazonEC2ContainerServiceV20141113."

// ServeHTTP implements [http.Handler]: the service, and what tasks ask for.
func (c *Cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		c.forTask(w, r)
		return
	}
	arn, err := c.Keys.Who(r, "ecs")
	if err != nil || arn != c.Allowed {
		fmt.Fprintf(c.Log, "ecs | refused %s: %v\n", arn, err)
		c.fail(w, "AccessDeniedException", "the caller may not do this")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	switch strings.TrimPrefix(r.Header.Get("X-Amz-Target"), target) {
	case "RunTask":
		c.runTask(w, body)
	case "StopTask":
		c.stopTask(w, body)
	case "ListTasks":
		c.listTasks(w, body)
	case "DescribeTasks":
		c.describeTasks(w, body)
	default:
		c.fail(w, "UnsupportedFeatureException", "not played here: "+r.Header.Get("X-Amz-Target"))
	}
}

func (c *Cluster) fail(w http.ResponseWriter, code, message string) {
	c.reply(w, http.StatusBadRequest, map[string]string{"__type": code, "message": message})
}

func (c *Cluster) reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// server is the one whose task definition that is.
func (c *Cluster) server(definition string) (string, bool) {
	for _, s := range c.Servers {
		if definition == c.Family+"-"+s {
			return s, true
		}
	}
	return "", false
}

func (c *Cluster) runTask(w http.ResponseWriter, body []byte) {
	var in runTask
	if err := json.Unmarshal(body, &in); err != nil {
		c.fail(w, "InvalidParameterException", err.Error())
		return
	}
	server, ok := c.server(in.TaskDefinition)
	overrides, _ := json.Marshal(in.Overrides)
	switch {
	case in.Cluster != c.Name:
		c.fail(w, "ClusterNotFoundException", "Cluster not found.")
		return
	case !ok:
		c.fail(w, "ClientException", "TaskDefinition not found.")
		return
	case in.LaunchType != "FARGATE" || in.Count == nil || *in.Count != 1 || len(in.StartedBy) > 128 || len(in.ClientToken) > 64 || len(overrides) > 8192,
		len(in.NetworkConfiguration.AwsvpcConfiguration.Subnets) == 0, len(in.NetworkConfiguration.AwsvpcConfiguration.SecurityGroups) == 0:
		c.fail(w, "InvalidParameterException", "Fargate would not take this")
		return
	}
	var env []string
	for _, o := range in.Overrides.ContainerOverrides {
		if o.Name != c.Container {
			c.fail(w, "ClientException", "Override for container named "+o.Name+" is not a container in the TaskDefinition.")
			return
		}
		for _, kv := range o.Environment {
			env = append(env, kv.Name+"="+kv.Value)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tasks {
		if in.ClientToken != "" && t.clientToken == in.ClientToken {
			c.reply(w, http.StatusOK, map[string]any{"tasks": []any{t.describe()}, "failures": []any{}})
			return
		}
	}
	t := &task{cluster: c, id: random(16), server: server, startedBy: in.StartedBy, clientToken: in.ClientToken, endpoint: random(16), token: random(32), gone: make(chan struct{})}
	t.role = "arn:aws:sts::" + lambdas.Account + ":assumed-role/" + c.Family + "-task-" + server + "/" + t.id
	if c.NoImage != nil && c.NoImage(server) {
		go t.notStarted()
	} else if err := t.start(env); err != nil {
		c.fail(w, "ServerException", err.Error())
		return
	}
	if c.tasks == nil {
		c.tasks = map[string]*task{}
	}
	c.tasks[t.id] = t
	c.reply(w, http.StatusOK, map[string]any{"tasks": []any{t.describe()}, "failures": []any{}})
}

// known is the running or stopped task of that id or ARN.
func (c *Cluster) known(idOrARN string) *task {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tasks[idOrARN[strings.LastIndexByte(idOrARN, '/')+1:]]
}

func (c *Cluster) stopTask(w http.ResponseWriter, body []byte) {
	var in struct{ Cluster, Task string }
	if json.Unmarshal(body, &in) != nil || in.Cluster != c.Name {
		c.fail(w, "ClusterNotFoundException", "Cluster not found.")
		return
	}
	t := c.known(in.Task)
	if t == nil {
		c.fail(w, "InvalidParameterException", "The referenced task was not found.")
		return
	}
	t.stop() // which takes its time after the answer
	c.reply(w, http.StatusOK, map[string]any{"task": t.describe()})
}

func (c *Cluster) listTasks(w http.ResponseWriter, body []byte) {
	var in struct{ Cluster, StartedBy string }
	if json.Unmarshal(body, &in) != nil || in.Cluster != c.Name {
		c.fail(w, "ClusterNotFoundException", "Cluster not found.")
		return
	}
	arns := []string{}
	c.mu.Lock()
	for _, t := range c.tasks {
		if (in.StartedBy == "" || t.startedBy == in.StartedBy) && !t.stopping() {
			arns = append(arns, t.arn())
		}
	}
	c.mu.Unlock()
	c.reply(w, http.StatusOK, map[string]any{"taskArns": arns})
}

func (c *Cluster) describeTasks(w http.ResponseWriter, body []byte) {
	var in struct {
		Cluster string
		Tasks   []string
	}
	if json.Unmarshal(body, &in) != nil || in.Cluster != c.Name {
		c.fail(w, "ClusterNotFoundException", "Cluster not found.")
		return
	}
	found, failures := []any{}, []any{}
	for _, id := range in.Tasks {
		if t := c.known(id); t != nil {
			found = append(found, t.describe())
		} else {
			failures = append(failures, map[string]string{"arn": id, "reason": "MISSING"})
		}
	}
	c.reply(w, http.StatusOK, map[string]any{"tasks": found, "failures": failures})
}

// Close ends all tasks.
func (c *Cluster) Close() {
	c.mu.Lock()
	var all []*task
	for _, t := range c.tasks {
		all = append(all, t)
	}
	c.mu.Unlock()
	for _, t := range all {
		t.stop()
	}
	for _, t := range all {
		<-t.gone
	}
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
