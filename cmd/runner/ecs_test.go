package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lanyardhq/lanyard/e2e/stack/sigv4"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// testMode in the environment makes the test binary the runner; as the MCP
// server it has no such environment, and is told by its arguments.
const testMode = "LANYARD_RUNNER_TEST"

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "tell-env":
		tellEnv()
	case os.Getenv(testMode) != "" || len(os.Args) > 1 && os.Args[1] == "sandbox":
		main()
	default:
		os.Exit(m.Run())
	}
}

// tellEnv is an MCP server whose every tool returns its environment.
func tellEnv() {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		if json.Unmarshal(in.Bytes(), &m) != nil || len(m.ID) == 0 {
			continue
		}
		result := `{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"t","version":"1"}}`
		if m.Method == "tools/call" {
			text, _ := json.Marshal(strings.Join(os.Environ(), "\n"))
			result = fmt.Sprintf(`{"content":[{"type":"text","text":%s}]}`, text)
		}
		fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", m.ID, result)
	}
}

// ecs plays what a task finds around it on ECS, and the control routes.
type ecs struct {
	*httptest.Server
	t      *testing.T
	role   aws.Credentials
	claims chan task.ClaimRequest
	states chan task.State
}

const credentialsToken = "Basic of-the-endpoint"

func newECS(t *testing.T) *ecs {
	e := &ecs{t: t, claims: make(chan task.ClaimRequest, 1), states: make(chan task.State, 8),
		role: aws.Credentials{AccessKeyID: "ASIATASK", SecretAccessKey: "canary-secret-key", SessionToken: "canary-session"}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /credentials", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != credentialsToken {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"AccessKeyId": e.role.AccessKeyID, "SecretAccessKey": e.role.SecretAccessKey,
			"Token": e.role.SessionToken, "Expiration": time.Now().Add(time.Hour)})
	})
	mux.HandleFunc("GET /v4/container", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"DockerId":"d","Networks":[{"NetworkMode":"awsvpc","IPv4Addresses":["127.0.0.1"]}]}`)
	})
	mux.HandleFunc("POST /prod/tasks/v1/{what}", e.control)
	e.Server = httptest.NewServer(mux)
	t.Cleanup(e.Close)
	return e
}

func (e *ecs) control(w http.ResponseWriter, r *http.Request) {
	if err := sigv4.Verify(r, e.role, "execute-api"); err != nil {
		e.t.Errorf("%s: %v", r.URL.Path, err)
		w.WriteHeader(http.StatusForbidden)
		return
	}
	switch r.PathValue("what") {
	case "claim":
		var in task.ClaimRequest
		_ = json.NewDecoder(r.Body).Decode(&in)
		e.claims <- in
		_ = json.NewEncoder(w).Encode(task.Claim{Connection: "con_1", Generation: 1, Bearer: "the-bearer",
			Recipe: task.Recipe{Server: "t", Command: []string{"/proc/self/exe", "tell-env"}, Rotation: task.RotateNone,
				Env: map[string]string{"FIXED": "yes"}, Mapping: map[string]string{"access_token": "TOKEN"}},
			Access: token.Access{Tokens: map[string]token.Token{"": {AccessToken: "tok"}}}})
	case "report":
		var in task.Report
		_ = json.NewDecoder(r.Body).Decode(&in)
		if in.Catalogue == nil {
			e.states <- in.State
		}
		_, _ = io.WriteString(w, "{}")
	}
}

// environment is what ECS and RunTask give the task.
func (e *ecs) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LANYARD_TASK_ID=tsk_1", "LANYARD_TICKET=canary-ticket", "LANYARD_CONTROL_URL=" + e.URL + "/prod",
		"AWS_REGION=eu-central-1", "AWS_CONTAINER_CREDENTIALS_FULL_URI=" + e.URL + "/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN=" + credentialsToken,
		"ECS_CONTAINER_METADATA_URI_V4=" + e.URL + "/v4/container", "AWS_EXECUTION_ENV=AWS_ECS_FARGATE"}
}

// TestECSTask: told by its environment alone, the runner claims by its role,
// serves, reports and ends by a signal; the server learns nothing of all that.
func TestECSTask(t *testing.T) {
	t.Parallel()
	e := newECS(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(e.environment(), testMode+"=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	var claim task.ClaimRequest
	select {
	case claim = <-e.claims:
	case err := <-ended:
		t.Fatalf("%v: %s", err, &out)
	}
	if claim.TaskID != "tsk_1" || claim.Ticket.Reveal() != "canary-ticket" || !strings.HasPrefix(claim.Address, "127.0.0.1:") {
		t.Errorf("%+v", claim)
	}
	if state := <-e.states; state != task.Ready {
		t.Errorf("reported %s: %s", state, &out)
	}
	saw := callTool(t, claim)
	if !strings.Contains(saw, "FIXED=yes") || !strings.Contains(saw, "TOKEN=tok") {
		t.Errorf("the server's environment: %s", saw)
	}
	for _, kv := range strings.Split(saw, "\n") {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "LANYARD") || strings.HasPrefix(name, "AWS") || strings.HasPrefix(name, "ECS") || strings.Contains(kv, "canary") {
			t.Errorf("the server was given %s", name)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("%v: %s", err, &out)
	}
	state := <-e.states
	if state == task.Ready { // once more, with what the server offers
		state = <-e.states
	}
	if state != task.Stopped {
		t.Errorf("reported %s", state)
	}
	if strings.Contains(out.String(), "canary") {
		t.Errorf("a secret is in the log: %s", &out)
	}
}

// callTool calls the task as mcprun does: by the key that it registered.
func callTool(t *testing.T, claim task.ClaimRequest) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			sum := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if hex.EncodeToString(sum[:]) != claim.KeyFingerprint {
				return fmt.Errorf("another key")
			}
			return nil
		}}}}
	session, said := "", ""
	for _, message := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"any","arguments":{}}}`,
	} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+claim.Address+"/mcp", strings.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer the-bearer")
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		if session != "" {
			req.Header.Set("Mcp-Session-Id", session)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode >= 300 {
			t.Fatalf("%d %s %v", resp.StatusCode, data, err)
		}
		if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
			session = id
		}
		said = string(data)
	}
	_, text, _ := strings.Cut(said, `"text":`)
	var out string
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&out); err != nil {
		t.Fatalf("%s: %v", said, err)
	}
	return out
}

// TestECSTaskSettings: what is missing or wrong is said by its name.
func TestECSTaskSettings(t *testing.T) {
	t.Parallel()
	e := newECS(t)
	for set, want := range map[string]string{
		"":                                     "",
		"LANYARD_TICKET=":                      "LANYARD_TICKET",
		"LANYARD_CONTROL_URL=":                 "LANYARD_CONTROL_URL",
		"LANYARD_CONTROL_URL=http://a.example": "LANYARD_CONTROL_URL",
		"AWS_REGION=":                          "AWS_REGION",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI=":  "no role",
		"ECS_CONTAINER_METADATA_URI_V4=":       "ECS_CONTAINER_METADATA_URI_V4",
		"ECS_CONTAINER_METADATA_URI_V4=" + e.URL + "/nothing":     "answered 404",
		"ECS_CONTAINER_METADATA_URI_V4=" + e.URL + "/credentials": "answered 403",
	} {
		env := append(slices.Clone(e.environment()), set)
		getenv := func(name string) (value string) {
			for _, kv := range env {
				if v, ok := strings.CutPrefix(kv, name+"="); ok {
					value = v
				}
			}
			return value
		}
		cfg, err := ecsTask(t.Context(), getenv, slog.New(slog.DiscardHandler))
		if want == "" {
			if err != nil || cfg.Advertise != "127.0.0.1" || cfg.Listen != "127.0.0.1:0" || os.Geteuid() == 0 && cfg.UID != nobody {
				t.Errorf("%+v %v", cfg, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", set, err)
		}
	}
}

// TestECSTaskWarm: a warm task has no ticket, whatever else its environment says.
func TestECSTaskWarm(t *testing.T) {
	t.Parallel()
	e := newECS(t)
	for set, warm := range map[string]bool{"LANYARD_WARM=1": true, "LANYARD_WARM=0": false, "LANYARD_WARM=": false} {
		getenv := func(name string) string {
			for _, kv := range append([]string{set}, e.environment()...) {
				if v, ok := strings.CutPrefix(kv, name+"="); ok {
					return v
				}
			}
			return ""
		}
		cfg, err := ecsTask(t.Context(), getenv, slog.New(slog.DiscardHandler))
		if err != nil || (cfg.Register != nil) != warm || (cfg.Ticket == "") != warm {
			t.Errorf("%s: %v, registers %v, ticket %v", set, err, cfg.Register != nil, cfg.Ticket != "")
		}
	}
}

func TestRegionOf(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"abc.execute-api.eu-west-1.amazonaws.com": "eu-west-1", "abc.execute-api.cn-north-1.amazonaws.com.cn": "cn-north-1",
		"127.0.0.1": "else", "connect.example.com": "else",
	} {
		if got := regionOf(host, "else"); got != want {
			t.Errorf("%s: %s", host, got)
		}
	}
}
