package install

import (
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"text/template"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/presets"
)

// needRegistry skips a test that fetches packages, with -short. In CI nothing
// is skipped.
func needRegistry(t *testing.T) context.Context {
	if testing.Short() && os.Getenv("CI") == "" {
		t.Skip("fetches packages from their registries")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func shipped(t *testing.T, name string) presets.Server {
	t.Helper()
	c, err := presets.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := c.Server(name)
	if !ok {
		t.Fatalf("there is no server %s", name)
	}
	return s
}

// TestShippedServers installs a server of each registry from the lock that comes
// with Lanyard, starts it as its preset says with a made-up token, and compares
// its tools with those of the catalogue. e2e/presets does it with all of them.
func TestShippedServers(t *testing.T) {
	t.Parallel()
	ctx := needRegistry(t)
	c, err := presets.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	in := &Installer{Dir: t.TempDir(), Progress: func(server, line string) { t.Logf("%s: %s", server, line) }}
	for _, name := range []string{"slack", "google-sheets"} {
		s, ok := c.Server(name)
		if !ok {
			t.Fatalf("there is no server %s", name)
		}
		// One after the other: each fetches and unpacks up to 200 packages.
		t.Run(s.Name, func(t *testing.T) {
			dir, err := in.Ensure(ctx, s)
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.Recipe(dir, presets.Inputs{})
			if err != nil {
				t.Fatal(err)
			}
			broker := newBroker(t)
			mcpClient := start(ctx, t, r, broker.data())
			list, err := mcpClient.ListTools(ctx, mcp.ListToolsRequest{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, tool := range list.Tools {
				got = append(got, tool.Name)
			}
			var known []struct{ Name string }
			if err := json.Unmarshal(s.Known().Tools, &known); err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, tool := range known {
				want = append(want, tool.Name)
			}
			slices.Sort(want)
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("the server has the tools\n%s\nits preset\n%s", strings.Join(got, ", "), strings.Join(want, ", "))
			}
			if s.Rotation == task.RotateBroker {
				broker.prove(ctx, t, mcpClient, s)
			}
		})
	}
}

// start runs a recipe in a home of its own, with nothing of our environment
// but PATH, and initializes it.
func start(ctx context.Context, t *testing.T, r task.Recipe, broker map[string]any) *client.Client {
	t.Helper()
	home := t.TempDir()
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home, "NO_PROXY=127.0.0.1"}
	for name, value := range r.Env {
		env = append(env, name+"="+value)
	}
	for field, variable := range r.Mapping {
		value := "made-up-" + field
		if name, ok := strings.CutPrefix(field, "credential_files."); ok {
			value = filepath.Join(home, name+".json")
			writeCredential(t, value, r.Files[name].Template, map[string]any{"access_token": "made-up", "broker": broker})
		}
		env = append(env, variable+"="+value)
	}
	mcpClient, err := client.NewStdioMCPClientWithOptions(r.Command[0], env, r.Command[1:],
		transport.WithCommandFunc(func(_ context.Context, command string, env, args []string) (*exec.Cmd, error) {
			cmd := exec.Command(command, args...)
			cmd.Env, cmd.Dir = env, home
			return cmd, nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mcpClient.Close() })
	init := mcp.InitializeRequest{}
	init.Params.ProtocolVersion = mcp.LATEST_PROTOCOL_VERSION
	init.Params.ClientInfo = mcp.Implementation{Name: "lanyard-test", Version: "1"}
	if _, err := mcpClient.Initialize(ctx, init); err != nil {
		t.Fatal(err)
	}
	return mcpClient
}

func writeCredential(t *testing.T, path, text string, data any) {
	t.Helper()
	tmpl, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{"json": func(v any) (string, error) {
		b, err := json.Marshal(v)
		return string(b), err
	}}).Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tmpl.Execute(f, data), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// fakeBroker is a token endpoint as a task's runner has, with a dead grant.
type fakeBroker struct {
	*httptest.Server
	asked atomic.Int64
}

func newBroker(t *testing.T) *fakeBroker {
	b := &fakeBroker{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if r.URL.Path != "/token" || id != "id" || secret != "per-child" || r.PostFormValue("refresh_token") != "handle" || r.PostFormValue("grant_type") != "refresh_token" {
			t.Errorf("the broker was asked wrongly: %s %s %s", r.Method, r.URL.Path, id)
		}
		b.asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error": "invalid_grant", "error_description": "gone"}`)
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *fakeBroker) data() map[string]any {
	return map[string]any{"token_url": b.URL + "/token", "introspect_url": b.URL + "/introspect",
		"client_id": "id", "client_secret": "per-child", "refresh_token": "handle"}
}

// brokered are the tools that the servers with rotation broker are tried by.
var brokered = map[string]struct {
	tool      string
	arguments map[string]any
}{
	"google-drive":  {"search", map[string]any{"query": "anything"}},
	"google-sheets": {"search_spreadsheets", map[string]any{"query": "anything"}},
}

// prove calls a tool: the server must come to the broker for its token, and
// what it then says of the dead grant must be what auth_failure looks for.
func (b *fakeBroker) prove(ctx context.Context, t *testing.T, c *client.Client, s presets.Server) {
	t.Helper()
	call := mcp.CallToolRequest{}
	call.Params.Name, call.Params.Arguments = brokered[s.Name].tool, brokered[s.Name].arguments
	result, err := c.CallTool(ctx, call)
	said := fmt.Sprint(err)
	if err == nil {
		text, _ := json.Marshal(result.Content)
		said = string(text)
	}
	if b.asked.Load() == 0 {
		t.Errorf("the server did not ask the broker for a token; it said: %s", said)
	}
	if !slices.ContainsFunc(s.AuthFailure, func(hint string) bool { return strings.Contains(said, hint) }) {
		t.Errorf("auth_failure does not find the dead grant in: %s", said)
	}
}

// TestPyPIImage runs what the Dockerfile of PyPI servers runs, and finds what an
// image on arm64 starts: the interpreter's link, the program, native code for
// arm64 and for nothing else.
func TestPyPIImage(t *testing.T) {
	t.Parallel()
	ctx := needRegistry(t)
	text, err := os.ReadFile("../../image/pypi/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	s := shipped(t, "google-sheets")
	dir := t.TempDir()
	for name, data := range s.LockFiles() {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	commands := 0
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		command, ok := strings.CutPrefix(line, "RUN ")
		if !ok {
			continue
		}
		commands++
		cmd := exec.CommandContext(ctx, "sh", "-c", command)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "SERVER="+s.Name)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s\n%v %s", command, err, out)
		}
	}
	if commands != 2 {
		t.Errorf("the Dockerfile runs %d commands", commands)
	}
	r, err := s.Recipe(dir, presets.Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range r.Command {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
	native := 0
	err = filepath.WalkDir(filepath.Join(dir, "lib"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".so") {
			return err
		}
		native++
		f, err := elf.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if f.Machine != elf.EM_AARCH64 {
			t.Errorf("%s is for %v", path, f.Machine)
		}
		return nil
	})
	if err != nil || native == 0 {
		t.Errorf("native code: %d files, %v", native, err)
	}
}

// TestTamperedLock: npm refuses a package that is not the one in the lock.
func TestTamperedLock(t *testing.T) {
	t.Parallel()
	ctx := needRegistry(t)
	s := shipped(t, "slack")
	hash := regexp.MustCompile(`(node_modules/@zencoderai/slack-mcp-server": \{\s+"version": "[^"]+",\s+"integrity": "sha512-)[A-Za-z0-9+/]{8}`)
	tampered := hash.ReplaceAll(s.Lock.Lockfile, []byte("${1}AAAAAAAA"))
	if string(tampered) == string(s.Lock.Lockfile) {
		t.Fatal("the hash to change is not in the lock")
	}
	s.Lock.Lockfile = tampered
	in := &Installer{Dir: t.TempDir()}
	dir, err := in.Ensure(ctx, s)
	if !errors.Is(err, ErrNotInstallable) || !strings.Contains(err.Error(), "not the one that its lock names") {
		t.Errorf("got %v", err)
	}
	if complete(dir, s.Lock.Hash()) {
		t.Error("it is installed")
	}
}

// TestNoRegistry: npm's own words for a registry that is not there are
// understood.
func TestNoRegistry(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("npm"); err != nil {
		if os.Getenv("CI") == "" {
			t.Skip("npm is not installed")
		}
		t.Fatal(err)
	}
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	home := t.TempDir()
	in := &Installer{Dir: t.TempDir(), Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home,
		"npm_config_cache=" + home, "npm_config_registry=" + closed.URL, "npm_config_fetch_retries=0"}}
	_, err := in.Ensure(context60(t), shipped(t, "slack"))
	if !errors.Is(err, ErrFetch) || !strings.Contains(err.Error(), "ECONNREFUSED") {
		t.Errorf("got %v", err)
	}
}
