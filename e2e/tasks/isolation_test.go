//go:build linux

package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
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
	landlock "github.com/landlock-lsm/go-landlock/landlock/syscall"

	"github.com/lanyardhq/lanyard/e2e/stack/fargate"
	"github.com/lanyardhq/lanyard/e2e/stack/lambdas"
	"github.com/lanyardhq/lanyard/e2e/stack/sigv4"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// spyRecipe is that of a hostile server which is given an access token of its own.
var spyRecipe = task.Recipe{Command: []string{"/proc/self/exe", "spy"}, Rotation: task.RotateFile,
	Files: map[string]task.File{"f": {Template: "{{.access_token}}"}}, Mapping: map[string]string{"credential_files.f": "FILE"}}

func accessOf(name string) func() token.Access {
	return func() token.Access {
		return token.Access{Tokens: map[string]token.Token{"": {AccessToken: token.Secret("canary-access-of-" + name), ExpiresAt: time.Now().Add(time.Hour)}}}
	}
}

// spying is a task with a hostile server.
type spying struct {
	t *testing.T
	c *client
	person
}

// infiltrate connects to a task when it is up.
func infiltrate(t *testing.T, c *control) *spying {
	t.Helper()
	dialled := c.dialled(t.Context(), t)
	if dialled == nil {
		t.FailNow()
	}
	s := &spying{t: t, c: dialled()}
	if err := s.c.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.tool("whoami", "", &s.person)
	return s
}

func (s *spying) tool(name, text string, out any) {
	s.t.Helper()
	said, err := s.call(name, text)
	if err == nil && out != nil {
		err = json.Unmarshal([]byte(said), out)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// call calls a tool of a server that may have succeeded in stopping its runner.
func (s *spying) call(name, text string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	return s.c.call(ctx, name, text)
}

// finds has the server spy, and wants it to get nothing but what is named.
func (s *spying) finds(q quarry, but ...string) {
	s.t.Helper()
	text, err := json.Marshal(q)
	if err != nil {
		s.t.Fatal(err)
	}
	var found map[string]string
	s.tool("spy", string(text), &found)
	for what, outcome := range found {
		if outcome != denied && !slices.Contains(but, what) {
			s.t.Errorf("%s: %s", what, outcome)
		}
	}
	s.t.Logf("%d attempts as user %d", len(found), s.UID)
	if s.NNP != "1" || s.Capabilities != "" {
		s.t.Errorf("no new privileges: %s, capabilities %s", s.NNP, s.Capabilities)
	}
	if want := []string{"0 pipe", "1 pipe", "2 pipe"}; !slices.Equal(s.Files, want) {
		s.t.Errorf("it was started with the open files %q", s.Files)
	}
}

// loots has it collect what it can, and looks for secrets in it.
func (s *spying) loots(secrets ...string) {
	s.t.Helper()
	said, err := s.call("loot", "")
	if err != nil {
		s.t.Fatal(err)
	}
	if !strings.Contains(said, fmt.Sprintf("/proc/%d/environ", s.PID)) {
		s.t.Error("it does not find its own environment, so that it proves nothing")
	}
	for line := range strings.Lines(said) {
		for _, secret := range secrets {
			if secret != "" && strings.Contains(line, secret) {
				s.t.Errorf("it found a secret at %.60s", line)
			}
		}
	}
	s.t.Logf("looked through %d bytes", len(said))
}

// TestHostileServer: a server that tries everything to learn what it was not
// given, or to become what it is not, gets nothing: as a user of its own, and,
// without root, confined by Landlock.
func TestHostileServer(t *testing.T) {
	if version, err := landlock.LandlockGetABIVersion(); err != nil || version < 6 {
		t.Skip("this kernel cannot keep a server to its own files and processes (Linux 6.12)")
	}
	if os.Getuid() != 0 {
		hostileServer(t)
		return
	}
	t.Run("with a user of its own", hostileServer)
	t.Run("without root", func(t *testing.T) {
		dir, out := open(t), new(strings.Builder)
		const somebody = 54321
		if err := os.Chown(dir, somebody, somebody); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestHostileServer$", "-test.v", "-test.count=1", "-test.timeout=2m")
		cmd.Env, cmd.Dir = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "HOME=" + dir}, dir
		cmd.Stdout, cmd.Stderr = out, out
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody}}
		if err := cmd.Run(); err != nil || !strings.Contains(out.String(), "attempts as user 54321") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

func hostileServer(t *testing.T) {
	dir := open(t)
	l := launcher(filepath.Join(dir, "tasks"))
	// What lies beside the tasks' directories, and who may read it.
	data, shared := filepath.Join(dir, "data"), filepath.Join(dir, "shared")
	key, open := filepath.Join(data, "keys"), filepath.Join(shared, "open")
	if err := errors.Join(os.Mkdir(data, 0o700), os.Mkdir(shared, 0o755), os.WriteFile(key, []byte("canary-key"), 0o600),
		os.WriteFile(open, []byte("canary-open"), 0o666), os.Chmod(open, 0o666)); err != nil {
		t.Fatal(err)
	}
	// Whoever starts us may have left a file open for us, and for all after us.
	inherited, err := syscall.Open(key, syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(inherited) })
	var controls []*control
	for _, name := range []string{"spy", "victim"} {
		c := &control{recipe: spyRecipe, access: accessOf(name)}
		c.start(t)
		c.begin(t, l, "tsk_"+name)
		controls = append(controls, c)
	}
	t.Cleanup(func() { l.Close(context.Background()) })
	spy, victim := infiltrate(t, controls[0]), infiltrate(t, controls[1])
	if os.Getuid() == 0 && (spy.UID == 0 || victim.UID == 0 || spy.UID == victim.UID) {
		t.Errorf("the servers run as %d and %d", spy.UID, victim.UID)
	}
	if spy.Runner == victim.Runner {
		t.Error("the tasks share a runner")
	}
	address := strings.TrimSuffix(victim.c.url, "/mcp")
	var remains []string
	if os.Getuid() != 0 {
		// They share a user: one may take resources from the other, and see how many
		// files it has open. That is no secret, and any other program may do it.
		remains = []string{"limit the runner", "limit the victim", "slow down the runner", "slow down the victim", "fd of the victim"}
	}
	spy.finds(quarry{
		Victim: victim.PID,
		Dirs:   []string{data, l.Dir, filepath.Join(l.Dir, "tsk_spy"), filepath.Join(l.Dir, "tsk_victim"), victim.Home, filepath.Dir(victim.Home)},
		Files:  []string{key, open, filepath.Join(victim.Home, ".lanyard/f"), filepath.Join(l.Dir, "tsk_victim.lock")},
		URLs: []string{spy.c.url, victim.c.url, address + "/healthz", address + "/debug/pprof/",
			controls[0].srv.URL + task.ClaimPath, controls[1].srv.URL + task.TokenPath},
	}, remains...)
	spy.loots(ticket, identity, bearer, "canary-key", "canary-access-of-victim")
}

// TestHostileServerOnFargate: there the way to the role's credentials is in the
// runner's environment, and whoever finds it is the task. The runner is the
// program that is deployed, started by the stand-in for ECS with what ECS gives a
// container.
func TestHostileServerOnFargate(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the runner is root on Fargate: its server is somebody else by that")
	}
	dir := open(t)
	program := filepath.Join(dir, "runner")
	build := exec.Command("go", "build", "-o", program, "github.com/lanyardhq/lanyard/cmd/runner")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	spyProgram := filepath.Join(dir, "spy")
	if err := copyProgram(spyProgram); err != nil {
		t.Fatal(err)
	}
	recipe := spyRecipe
	recipe.Command = []string{spyProgram, "spy"}
	c := &control{recipe: recipe, access: accessOf("spy")}
	p := &platform{control: c}
	p.start(t, program)

	spy := infiltrate(t, c)
	if spy.UID != 65534 {
		t.Errorf("the server runs as %d", spy.UID)
	}
	p.mu.Lock()
	secrets, paths := slices.Clone(p.secrets), p.paths
	p.mu.Unlock()
	if len(secrets) < 2 || len(paths) < 2 {
		t.Fatalf("the runner asked for %q, with %d secrets", paths, len(secrets))
	}
	urls := []string{p.srv.URL, p.srv.URL + "/", p.srv.URL + "/v2/credentials", p.srv.URL + "/v4", p.srv.URL + "/v4/", p.srv.URL + "/credentials", p.srv.URL + "/credentials/", spy.c.url}
	for _, path := range paths {
		if strings.HasPrefix(path, "/credentials/") {
			urls = append(urls, p.srv.URL+path) // even if it knew: without the token
		}
	}
	spy.finds(quarry{Victim: spy.Runner, Dirs: []string{filepath.Dir(spy.Home)}, URLs: urls})
	spy.loots(append(secrets, ticket, bearer)...)
}

// copyProgram makes a copy of this program that others can start.
func copyProgram(to string) error {
	data, err := os.ReadFile("/proc/self/exe")
	// A test that forks now would keep the file open for writing, and a program
	// that is cannot be started.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return errors.Join(err, os.WriteFile(to, data, 0o755))
}

// platform is ECS with one task, and remembers what the runner asks it for.
type platform struct {
	control *control
	cluster *fargate.Cluster
	srv     *httptest.Server

	mu             sync.Mutex
	paths, secrets []string
}

func (p *platform) start(t *testing.T, program string) {
	t.Helper()
	const mcprun = "arn:aws:sts::" + lambdas.Account + ":assumed-role/mcprun/mcprun"
	p.cluster = &fargate.Cluster{Name: "lanyard", Family: "lanyard", Servers: []string{"spy"}, Container: "runner", Command: []string{program},
		Env: []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + filepath.Dir(program)}, Allowed: mcprun, Keys: &sigv4.Keys{}, Log: t.Output(), StopGrace: 5 * time.Second}
	p.srv = httptest.NewServer(http.HandlerFunc(p.serve))
	p.cluster.URL = p.srv.URL
	t.Cleanup(p.srv.Close)
	t.Cleanup(p.cluster.Close)
	p.control.start(t)
	k := p.cluster.Keys.Issue(mcprun)
	api := ecs.New(ecs.Options{BaseEndpoint: &p.srv.URL, Region: lambdas.Region,
		Credentials: credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken)})
	var env []types.KeyValuePair
	for name, value := range map[string]string{"LANYARD_TASK_ID": "tsk_1", "LANYARD_TICKET": ticket, "LANYARD_CONTROL_URL": p.srv.URL + "/prod"} {
		env = append(env, types.KeyValuePair{Name: aws.String(name), Value: aws.String(value)})
	}
	if _, err := api.RunTask(t.Context(), &ecs.RunTaskInput{Cluster: aws.String("lanyard"), TaskDefinition: aws.String("lanyard-spy"),
		LaunchType: types.LaunchTypeFargate, Count: aws.Int32(1), StartedBy: aws.String("tsk_1"), ClientToken: aws.String("tsk_1"),
		Overrides:            &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{Name: aws.String("runner"), Environment: env}}},
		NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{"s"}, SecurityGroups: []string{"g"}}}}); err != nil {
		t.Fatal(err)
	}
}

// serve is ECS and, to whom the task's role signs for, mcprun's control routes.
func (p *platform) serve(w http.ResponseWriter, r *http.Request) {
	if path, ok := strings.CutPrefix(r.URL.Path, "/prod"); ok {
		if arn, err := p.cluster.Keys.Who(r, "execute-api"); err != nil || !strings.Contains(arn, "assumed-role/lanyard-task-spy/") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		inner := r.Clone(r.Context())
		inner.URL = &url.URL{Path: path}
		inner.Header.Set("Authorization", "Bearer "+identity)
		p.control.serve(w, inner)
		return
	}
	recorded := httptest.NewRecorder()
	p.cluster.ServeHTTP(recorded, r)
	if r.Method == http.MethodGet && recorded.Code == http.StatusOK {
		p.remember(r, recorded.Body.Bytes())
	}
	w.WriteHeader(recorded.Code)
	_, _ = w.Write(recorded.Body.Bytes())
}

// remember notes what only the runner may know.
func (p *platform) remember(r *http.Request, answer []byte) {
	var role struct{ AccessKeyId, SecretAccessKey, Token string }
	_ = json.Unmarshal(answer, &role) // the metadata has none
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paths = append(p.paths, r.URL.Path)
	p.secrets = append(p.secrets, filepath.Base(r.URL.Path), r.Header.Get("Authorization"), role.SecretAccessKey, role.Token)
}
