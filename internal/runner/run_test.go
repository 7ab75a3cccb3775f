package runner

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/build"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// The whole of one task: what the server sees, who may talk to it, and what is
// left of it.
func TestTask(t *testing.T) {
	t.Setenv("RUNNERS_OWN_SECRET", "must-not-be-inherited")
	a := access("the-access-token", time.Hour)
	a.Metadata = map[string]string{"team.id": "T1"}
	c := newControl(task.Claim{Access: a, Recipe: task.Recipe{
		Env:     map[string]string{"FIXED": "f"},
		Mapping: map[string]string{"access_token": "TOKEN", "team.id": "TEAM", "credential_files.adc": "ADC"},
		Files: map[string]task.File{
			"adc":   {Template: `{"token":{{json .access_token}},"team":{{json .team.id}}}`},
			"fixed": {Path: ".config/x/token.json", Template: `{{.expires_in}}`},
		},
		Rotation: task.RotateFile,
	}})
	u := start(t, c, func(cfg *Config) { cfg.ExtraEnv = map[string]string{"NODE_OPTIONS": "--x"} })
	u.connect()

	home := u.tool("getenv", "HOME")
	var names []string
	for _, kv := range strings.Split(u.tool("env", ""), "\n") {
		name, _, _ := strings.Cut(kv, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{"ADC", "FIXED", "HOME", "LANG", childMode, "NODE_OPTIONS", "PATH", "TEAM", "TMPDIR", "TOKEN",
		"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"}
	if !slices.Equal(names, want) {
		t.Errorf("the server's environment is %v", names)
	}
	for arg, want := range map[string]string{"TOKEN": "the-access-token", "TEAM": "T1", "ADC": home + "/.lanyard/adc", "XDG_CONFIG_HOME": home + "/.config"} {
		if got := u.tool("getenv", arg); got != want {
			t.Errorf("%s is %q", arg, got)
		}
	}
	if got := u.tool("read", "$ADC"); got != `{"token":"the-access-token","team":"T1"}` {
		t.Errorf("the file: %s", got)
	}
	for path, want := range map[string]string{"$ADC": "-rw-------", "$HOME/.config/x/token.json": "-rw-------", "$HOME": "drwx------", "$TMPDIR": "drwx------", "$XDG_STATE_HOME": "drwx------"} {
		if got := u.tool("mode", path); got != want {
			t.Errorf("%s is %s", path, got)
		}
	}
	if got := u.tool("whoami", ""); !strings.HasSuffix(got, "wd "+home+"/work") {
		t.Errorf("it starts in %s", got)
	}

	if resp, _ := u.post("another-bearer", `{}`); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("another bearer: %s", resp.Status)
	}
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: pinned("00")}}
	if _, err := stranger.Get(u.url + "/healthz"); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("another fingerprint: %v", err)
	}

	grandchild, _ := strconv.Atoi(u.tool("family", ""))
	if err := u.end(); err != nil {
		t.Error(err)
	}
	if r := u.report(); r.State != task.Stopped || r.TaskID != "task-1" || r.At.IsZero() {
		t.Errorf("report %+v", r)
	}
	eventually(t, "the grandchild is gone", func() bool { return grandchild > 0 && dead(grandchild) })
	if left, _ := os.ReadDir(u.dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	c := newControl(task.Claim{Access: access("secret-token-that-it-prints", time.Hour), Recipe: task.Recipe{
		Env: map[string]string{childMode: "die"}, Mapping: map[string]string{"access_token": "TOKEN"}, Rotation: task.RotateNone,
	}})
	u := start(t, c, nil)
	r := u.report()
	if r.State != task.Failed || !strings.Contains(r.Detail, "exit status 4") || !strings.Contains(r.Detail, "refused: [redacted]") {
		t.Errorf("%+v", r)
	}
}

func TestClaimFaults(t *testing.T) {
	t.Parallel()
	for name, recipe := range map[string]task.Recipe{
		"rotation \"\"":               {},
		"the connection has no":       {Rotation: task.RotateNone, Mapping: map[string]string{"team.id": "TEAM"}},
		"map has no entry for key":    {Rotation: task.RotateFile, Files: map[string]task.File{"a": {Template: "{{.refresh_token}}"}}},
		"the template of the":         {Rotation: task.RotateFile, Files: map[string]task.File{"a": {Template: "{{"}}},
		"credential file's path":      {Rotation: task.RotateFile, Files: map[string]task.File{"a": {Path: "../x"}}},
		"no entry for key \"broker\"": {Rotation: task.RotateFile, Files: map[string]task.File{"a": {Template: "{{.broker.token_url}}"}}},
	} {
		u := start(t, newControl(task.Claim{Access: access("x", time.Hour), Recipe: recipe}), nil)
		if r := u.report(); r.State != task.Failed || !strings.Contains(r.Detail, name) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	u := start(t, newControl(task.Claim{}), func(cfg *Config) { cfg.Ticket = "spent" })
	if err := <-u.ended; !errors.Is(err, task.ErrRefused) {
		t.Errorf("a spent ticket: %v", err)
	}
	u.ended <- nil
}

// renewing hands out tokens t1, t2, … that live for d.
func renewing(c *control, d time.Duration) {
	n := 0
	c.next = func(task.TokenRequest) (token.Access, error) {
		n++
		return access(fmt.Sprintf("token-%d", n), d), nil
	}
}

func TestRotateFile(t *testing.T) {
	t.Parallel()
	c := newControl(task.Claim{Access: access("token-0", 2*time.Second), Recipe: task.Recipe{
		Mapping: map[string]string{"credential_files.f": "FILE"}, Rotation: task.RotateFile,
		Files: map[string]task.File{"f": {Template: "{{.access_token}}"}},
	}})
	renewing(c, 2*time.Second)
	u := start(t, c, nil)
	u.connect()
	pid := u.tool("whoami", "")
	for _, want := range []string{"token-1", "token-2"} {
		eventually(t, want+" is in the file", func() bool { return u.tool("read", "$FILE") >= want })
	}
	if got := u.tool("whoami", ""); got != pid {
		t.Errorf("another process answers: %s, then %s", pid, got)
	}
	if r := c.requests()[0]; r.TaskID != "task-1" || r.Suspect || r.MinTTL < 1 || r.MinTTL > 2 {
		t.Errorf("asked %+v", r)
	}
	// Two seconds of life renewed at most every second or so, not all the time.
	if n := len(c.requests()); n > 30 {
		t.Errorf("asked %d times", n)
	}
}

// A restart brings the new token while callers call, and none of them notices.
func TestRotateRestart(t *testing.T) {
	t.Parallel()
	for _, clients := range []string{task.ClientsShared, task.ClientsEach} {
		t.Run(clients, func(t *testing.T) {
			t.Parallel()
			c := newControl(task.Claim{Access: access("token-0", 4*time.Second), Recipe: task.Recipe{
				Mapping: map[string]string{"access_token": "TOKEN"}, Rotation: task.RotateRestart, Clients: clients,
			}})
			renewing(c, 4*time.Second)
			u := start(t, c, nil)
			u.connect()
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					eventually(t, "token-2 arrives", func() bool {
						got := u.tool("getenv", "TOKEN")
						if !strings.HasPrefix(got, "token-") {
							t.Errorf("a call failed: %q", got)
						}
						return got >= "token-2"
					})
				})
			}
			wg.Wait()
		})
	}
}

// A result that smells of a dead credential makes the runner ask, and a new
// token is brought to the server; a second one soon after does not.
func TestHint(t *testing.T) {
	t.Parallel()
	c := newControl(task.Claim{Access: access("token-0", time.Hour), Recipe: task.Recipe{
		Mapping: map[string]string{"access_token": "TOKEN"}, Rotation: task.RotateRestart, AuthFailure: []string{`"invalid_grant"`},
	}})
	renewing(c, time.Hour)
	u := start(t, c, nil)
	u.connect()
	if got := u.tool("say", `error: "invalid_grant"`); !strings.Contains(got, "invalid_grant") {
		t.Errorf("the result came as %q", got)
	}
	eventually(t, "the server has the new token", func() bool { return u.tool("getenv", "TOKEN") == "token-1" })
	u.tool("say", `error: "invalid_grant"`)
	u.tool("say", "invalid_grant without the quotes")
	if got := c.requests(); len(got) != 1 || !got[0].Suspect {
		t.Errorf("asked %+v", got)
	}
}

func TestRefusedTaskEnds(t *testing.T) {
	t.Parallel()
	c := newControl(task.Claim{Access: access("token-0", 2*time.Second), Recipe: task.Recipe{Rotation: task.RotateFile}})
	c.next = func(task.TokenRequest) (token.Access, error) { return token.Access{}, task.ErrRefused }
	u := start(t, c, nil)
	select {
	case err := <-u.ended:
		u.ended <- err
		if !errors.Is(err, task.ErrRefused) {
			t.Error(err)
		}
	case <-time.After(60 * time.Second):
		t.Error("it goes on")
	}
}

// A runner process ends, with all that it started, when its parent does; no
// secret stands in its arguments or environment.
func TestMainEndsWithItsParent(t *testing.T) {
	t.Parallel()
	c := newControl(task.Claim{Access: access("token-0", time.Hour), Recipe: task.Recipe{Rotation: task.RotateNone}})
	srv := serveControl(t, c, "the-secret")
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{childMode + "=main", "PATH=" + os.Getenv("PATH"), "AWS_SECRET_ACCESS_KEY=parents"}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	order, _ := json.Marshal(Order{Version: build.Own().Source(), TaskID: "task-1", Ticket: "ticket", ControlURL: srv, Secret: "the-secret", Dir: dir})
	fmt.Fprintf(stdin, "%s\n", order)
	u := &underway{t: t, control: c}
	u.connect()
	if got := u.tool("env", ""); strings.Contains(got, "AWS") {
		t.Errorf("inherited: %s", got)
	}
	if os.Getuid() != 0 {
		// A process that shares our user cannot look into the runner's.
		if _, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid)); err == nil {
			t.Error("the runner's environment can be read")
		}
	}
	grandchild, _ := strconv.Atoi(u.tool("family", ""))
	_ = stdin.Close() // what a killed parent leaves behind
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	eventually(t, "the grandchild is gone", func() bool { return grandchild > 0 && dead(grandchild) })
	if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// An order of another version is refused, whatever else it says, and without a
// word of that.
func TestOrderOfAnotherVersion(t *testing.T) {
	t.Parallel()
	own := build.Own().Source()
	for order, want := range map[string]string{
		fmt.Sprintf(`{"version":%q,"task_id":"t","ticket":"hunter2","control_url":"u"}`, own):             "",
		`{"version":"v0.0.1","task_id":"t","ticket":"hunter2","control_url":"u"}`:                         `it is of lanyard "v0.0.1", and this is ` + own,
		`{"task_id":"t","ticket":"hunter2","control_url":"u"}`:                                            `it is of lanyard "", and this is ` + own,
		`{"version":"v0.0.1","new":"hunter2"}`:                                                            `it is of lanyard "v0.0.1"`,
		fmt.Sprintf(`{"version":%q,"task_id":"t","ticket":"hunter2","control_url":"u","unknown":1}`, own): "not the JSON",
		fmt.Sprintf(`{"version":%q,"ticket":"hunter2"}`, own):                                             "are needed",
	} {
		_, err := readOrder(bufio.NewReader(strings.NewReader(order + "\n")))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v", order, err)
		}
	}
}
