package runner

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// childMode in the environment makes the test binary a server or a runner.
const childMode = "LANYARD_RUNNER_TEST_CHILD"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sandbox" {
		fmt.Fprintln(os.Stderr, SandboxMain(os.Args[2:]))
		os.Exit(126)
	}
	switch os.Getenv(childMode) {
	case "":
		os.Exit(m.Run())
	case "server":
		serve()
	case "api":
		serveAPI()
	case "die":
		fmt.Fprintln(os.Stderr, "refused:", os.Getenv("TOKEN"))
		os.Exit(4)
	case "sleep":
		time.Sleep(10 * time.Minute)
	case "main":
		if err := Main(context.Background(), os.Stdin, os.Environ(), slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// serve is an MCP server whose tools tell what it can see.
func serve() {
	r := bufio.NewReader(os.Stdin)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		var m struct {
			ID     json.RawMessage
			Method string
			Params struct {
				Name      string
				Arguments struct{ Text string }
			}
		}
		if json.Unmarshal(line, &m) != nil || len(m.ID) == 0 {
			continue
		}
		result := `{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"t","version":"1"}}`
		if m.Method == "tools/call" {
			text, _ := json.Marshal(tool(m.Params.Name, m.Params.Arguments.Text))
			result = fmt.Sprintf(`{"content":[{"type":"text","text":%s}]}`, text)
		}
		fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", m.ID, result)
	}
}

func tool(name, arg string) string {
	switch name {
	case "env":
		return strings.Join(os.Environ(), "\n")
	case "pid":
		return fmt.Sprint(os.Getpid())
	case "getenv":
		return os.Getenv(arg)
	case "read":
		data, err := os.ReadFile(os.ExpandEnv(arg))
		if err != nil {
			return "error: " + err.Error()
		}
		return string(data)
	case "mode":
		info, err := os.Stat(os.ExpandEnv(arg))
		if err != nil {
			return "error: " + err.Error()
		}
		return info.Mode().String()
	case "write":
		if err := os.WriteFile(os.ExpandEnv(arg), []byte("x"), 0o600); err != nil {
			return "error: " + err.Error()
		}
		return "written"
	case "signal":
		return fmt.Sprint(syscall.Kill(os.Getppid(), 0))
	case "whoami":
		wd, _ := os.Getwd()
		groups, _ := os.Getgroups()
		status, _ := os.ReadFile("/proc/self/status")
		_, nnp, _ := strings.Cut(string(status), "NoNewPrivs:\t")
		return fmt.Sprintf("uid %d gid %d groups %v nnp %.1s ppid %d wd %s", os.Getuid(), os.Getgid(), groups, nnp, os.Getppid(), wd)
	case "family":
		c := exec.Command("/proc/self/exe")
		c.Env = []string{childMode + "=sleep"}
		c.Stdout = os.Stdout
		if err := c.Start(); err != nil {
			return err.Error()
		}
		return fmt.Sprint(c.Process.Pid)
	}
	return name + " " + arg
}

// control is a [task.Control] in this process.
type control struct {
	mu      sync.Mutex
	claim   task.Claim
	claimed []task.ClaimRequest
	asked   []task.TokenRequest
	// reports are those without a catalogue.
	reports, catalogues chan task.Report
	// next answers the next requests for a token.
	next func(task.TokenRequest) (token.Access, error)
}

func newControl(claim task.Claim) *control {
	if claim.Bearer == "" {
		claim.Bearer = "bearer-of-the-task"
	}
	if claim.Recipe.Command == nil {
		claim.Recipe.Command = []string{os.Args[0]}
	}
	if claim.Recipe.Env == nil {
		claim.Recipe.Env = map[string]string{}
	}
	if claim.Recipe.Env[childMode] == "" {
		claim.Recipe.Env[childMode] = "server"
	}
	return &control{claim: claim, reports: make(chan task.Report, 64), catalogues: make(chan task.Report, 64), next: func(task.TokenRequest) (token.Access, error) {
		return token.Access{}, errors.New("there is no token")
	}}
}

func (c *control) Claim(_ context.Context, r task.ClaimRequest) (task.Claim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claimed = append(c.claimed, r); r.Ticket != "ticket" || len(c.claimed) > 1 {
		return task.Claim{}, task.ErrRefused
	}
	return c.claim, nil
}

func (c *control) Token(_ context.Context, r task.TokenRequest) (token.Access, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, r)
	return c.next(r)
}

func (c *control) Report(_ context.Context, r task.Report) error {
	if r.Catalogue != nil {
		c.catalogues <- r
		return nil
	}
	c.reports <- r
	return nil
}

func (c *control) requests() []task.TokenRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]task.TokenRequest{}, c.asked...)
}

// access is a set with one token.
func access(secret string, lives time.Duration) token.Access {
	t := token.Token{AccessToken: token.Secret(secret), Scopes: []string{"read"}}
	if lives > 0 {
		t.ExpiresAt = time.Now().Add(lives)
	}
	return token.Access{Tokens: map[string]token.Token{"": t}}
}

// underway is a running task as mcprun sees it.
type underway struct {
	t       *testing.T
	control *control
	url     string
	http    *http.Client
	session string
	stop    context.CancelFunc
	ended   chan error
	dir     string
}

func start(t *testing.T, c *control, edit func(*Config)) *underway {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cfg := Config{TaskID: "task-1", Ticket: "ticket", Control: c, Dir: t.TempDir(), Path: os.Getenv("PATH"), Lang: "C.UTF-8"}
	if edit != nil {
		edit(&cfg)
	}
	u := &underway{t: t, control: c, stop: cancel, ended: make(chan error, 1), dir: cfg.Dir}
	go func() { u.ended <- Run(ctx, cfg) }()
	t.Cleanup(func() { u.end() })
	return u
}

// end stops the task and returns what Run said.
func (u *underway) end() error {
	u.stop()
	select {
	case err := <-u.ended:
		u.ended <- err
		return err
	case <-time.After(60 * time.Second):
		u.t.Error("the task does not end")
		return nil
	}
}

func (u *underway) report() task.Report {
	u.t.Helper()
	return receive(u.t, u.control.reports)
}

func receive(t *testing.T, reports <-chan task.Report) task.Report {
	t.Helper()
	select {
	case r := <-reports:
		return r
	case <-time.After(60 * time.Second):
		t.Fatal("no report")
		return task.Report{}
	}
}

// connect waits for ready, pins the key and initializes a session.
func (u *underway) connect() {
	u.t.Helper()
	if r := u.report(); r.State != task.Ready {
		u.t.Fatalf("report %+v", r)
	}
	u.control.mu.Lock()
	claim := u.control.claimed[0]
	u.control.mu.Unlock()
	u.url = "https://" + claim.Address
	u.http = &http.Client{Transport: &http.Transport{TLSClientConfig: pinned(claim.KeyFingerprint)}}
	u.t.Cleanup(u.http.CloseIdleConnections)
	u.initialize()
}

// initialize begins a session.
func (u *underway) initialize() {
	u.t.Helper()
	resp, body := u.post(u.control.claim.Bearer.Reveal(), `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`)
	if u.session = resp.Header.Get("Mcp-Session-Id"); u.session == "" {
		u.t.Fatalf("%s %s", resp.Status, body)
	}
}

func pinned(fingerprint string) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			cert, err := x509.ParseCertificate(raw[0])
			if err != nil {
				return err
			}
			if sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo); hex.EncodeToString(sum[:]) != fingerprint {
				return errors.New("another key")
			}
			return nil
		},
	}
}

func (u *underway) post(bearer, body string) (*http.Response, string) {
	u.t.Helper()
	req, _ := http.NewRequest("POST", u.url+"/mcp", strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+bearer)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Mcp-Session-Id", u.session)
	resp, err := u.http.Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	return resp, string(data)
}

// tool calls a tool and returns its text.
func (u *underway) tool(name, arg string) string {
	u.t.Helper()
	quoted, _ := json.Marshal(arg)
	_, body := u.post(u.control.claim.Bearer.Reveal(), fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":%q,"arguments":{"text":%s}}}`, name, quoted))
	var m struct {
		Result struct{ Content []struct{ Text string } }
	}
	if json.NewDecoder(bytes.NewReader([]byte(body))).Decode(&m) != nil || len(m.Result.Content) != 1 {
		u.t.Errorf("tool %s: %s", name, body)
		return ""
	}
	return m.Result.Content[0].Text
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// dead reports whether no process with this id runs; a zombie is dead.
func dead(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}
