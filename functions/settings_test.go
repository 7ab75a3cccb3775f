package functions_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBadSettings: a function with a bad or missing setting ends at once, with
// one line that names it; with good ones it asks for work.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	asked := make(chan bool, 16)
	runtimeAPI := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		<-r.Context().Done()
	}))
	defer runtimeAPI.Close()
	aws := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = w.Write([]byte(`{"Name":"n","SecretString":"` + strings.Repeat("k", 64) + `"}`))
	}))
	defer aws.Close()
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}`))
	}))
	defer empty.Close()
	broken := t.TempDir()
	if err := os.MkdirAll(filepath.Join(broken, "servers"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(broken, "servers", "x.yaml"), []byte("nam: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	programs := t.TempDir()
	for _, name := range []string{"connect", "callback", "refresh", "mcprun"} {
		if out, err := goCommand("build", "-tags", "lambda.norpc", "-o", filepath.Join(programs, name), "./functions/"+name); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	good := map[string]string{"AWS_LAMBDA_RUNTIME_API": strings.TrimPrefix(runtimeAPI.URL, "http://"), "AWS_REGION": "eu-central-1",
		"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "canary", "AWS_ENDPOINT_URL": aws.URL, "LANYARD_BASE_URL": "https://d1.cloudfront.net",
		"LANYARD_TABLE": "t", "LANYARD_KMS_KEY": "k", "LANYARD_QUEUE_URL": "q", "LANYARD_REFRESH_FUNCTION": "refresh", "LANYARD_CONTROL_URL": "https://api.example/live",
		"LANYARD_CLUSTER": "c", "LANYARD_SUBNETS": "s", "LANYARD_TASK_SECURITY_GROUP": "sg", "LANYARD_TASK_FAMILY": "f"}
	for _, c := range []struct{ function, set, want string }{
		{"connect", "", ""}, {"callback", "", ""}, {"refresh", "", ""}, {"mcprun", "", ""},
		{"connect", "LANYARD_KMS_KEY=", ""}, // it needs none
		{"connect", "LANYARD_BASE_URL=", "LANYARD_BASE_URL"},
		{"connect", "LANYARD_BASE_URL=http://d1.cloudfront.net", "LANYARD_BASE_URL"},
		{"connect", "LANYARD_TABLE=", "LANYARD_TABLE"},
		{"connect", "LANYARD_SERVERS=slack,nothing", `LANYARD_SERVERS names "nothing"`},
		{"connect", "LANYARD_PRESETS=" + broken, "LANYARD_PRESETS"},
		{"connect", "AWS_REGION=", "AWS_REGION"},
		{"callback", "LANYARD_KMS_KEY=", "LANYARD_KMS_KEY"},
		{"callback", "LANYARD_VAULT_STORE=s3", "LANYARD_VAULT_STORE"},
		{"refresh", "LANYARD_QUEUE_URL=", "LANYARD_QUEUE_URL"},
		{"mcprun", "LANYARD_CLUSTER=", "LANYARD_CLUSTER"},
		{"mcprun", "LANYARD_START_ON=never", "LANYARD_START_ON"},
		{"mcprun", "LANYARD_IDLE_STOP=soon", "LANYARD_IDLE_STOP"},
		{"mcprun", "AWS_ENDPOINT_URL=" + empty.URL, "lanyard/task-bearers"},
	} {
		name, value, _ := strings.Cut(c.set, "=")
		cmd := exec.Command(filepath.Join(programs, c.function))
		cmd.Env = []string{name + "=" + value}
		for k, v := range good {
			if k != name {
				cmd.Env = append(cmd.Env, k+"="+v)
			}
		}
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-asked:
			_ = cmd.Process.Kill()
			<-ended
			if c.want != "" {
				t.Errorf("%s with %s asks for work", c.function, c.set)
			}
		case err := <-ended:
			line := said.String()
			if c.want == "" || err == nil || !strings.HasPrefix(line, c.function+": ") || !strings.Contains(line, c.want) || strings.Count(line, "\n") != 1 || strings.Contains(line, "canary") {
				t.Errorf("%s with %s: %v %q", c.function, c.set, err, line)
			}
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Errorf("%s with %s does nothing", c.function, c.set)
		}
	}
}
