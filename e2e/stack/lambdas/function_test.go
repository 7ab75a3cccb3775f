package lambdas

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// build makes testdata/probe a bootstrap, once.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lambdas-")
	if err != nil {
		return "", err
	}
	bootstrap := filepath.Join(dir, "bootstrap")
	out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", bootstrap, "./testdata/probe").CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return bootstrap, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bootstrap, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(bootstrap))
	}
	os.Exit(code)
}

// log can be written to by several and read.
type log struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func probe(t *testing.T, env map[string]string) (*Function, *log) {
	t.Helper()
	bootstrap, err := build()
	if err != nil {
		t.Fatal(err)
	}
	l := &log{}
	f := &Function{Name: "probe", Bootstrap: bootstrap, Env: env, Timeout: 10 * time.Second, Memory: 256, Concurrency: 4, Log: l}
	t.Cleanup(f.Close)
	return f, l
}

func call(t *testing.T, f *Function, do string) string {
	t.Helper()
	out, err := f.Call(t.Context(), []byte(`{"do":"`+do+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestCall(t *testing.T) {
	t.Parallel()
	f, _ := probe(t, map[string]string{"SETTING": "a"})
	if got := call(t, f, "shout"); got != `"SHOUT"` {
		t.Errorf("%s", got)
	}
	var env []string
	if err := json.Unmarshal([]byte(call(t, f, "env")), &env); err != nil {
		t.Fatal(err)
	}
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		known := strings.HasPrefix(name, "AWS_LAMBDA_") || strings.HasPrefix(name, "LAMBDA_") ||
			slices.Contains([]string{"SETTING", "_HANDLER", "TZ", "LANG", "PATH", "LD_LIBRARY_PATH", "_X_AMZN_TRACE_ID"}, name)
		if !known {
			t.Errorf("it is given %s", name)
		}
	}
	if s, err := strconv.ParseFloat(call(t, f, "deadline"), 64); err != nil || s > 10 || s < 5 {
		t.Errorf("%v s to the deadline", s)
	}
	if f.Instances() != 1 || len(f.FirstTimes()) != 1 || !f.FirstTimes()[0].Ready.After(f.FirstTimes()[0].Started) {
		t.Errorf("%d instances, %v", f.Instances(), f.FirstTimes())
	}
}

// TestStandsStill: between invocations nothing of a function runs.
func TestStandsStill(t *testing.T) {
	t.Parallel()
	f, _ := probe(t, nil)
	before, err := strconv.Atoi(call(t, f, "ticks"))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond) // for which a ticker of 1 ms does not tick
	after, err := strconv.Atoi(call(t, f, "ticks"))
	if err != nil || after-before > 250 {
		t.Errorf("%d ticks while it should stand still", after-before)
	}
}

// TestConcurrency: each instance has one invocation at a time; more than there
// may be wait.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	f, _ := probe(t, nil)
	f.Concurrency = 2
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { call(t, f, "wait") })
	}
	wg.Wait()
	if n := f.Instances(); n != 2 {
		t.Errorf("%d instances", n)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	f, _ := probe(t, nil)
	f.Timeout = time.Second
	pid := call(t, f, "pid")
	for _, c := range []struct {
		do, want  string
		unhandled bool
	}{{"error", "it went wrong", false}, {"exit", "exit status 3", true}, {"hang", "timed out after 1.00 seconds", true}} {
		_, err := f.Call(t.Context(), []byte(`{"do":"`+c.do+`"}`))
		var failed *FunctionError
		if !errors.As(err, &failed) || !strings.Contains(string(failed.Payload), c.want) || failed.Unhandled != c.unhandled {
			t.Errorf("%s: %v", c.do, err)
		}
		same := call(t, f, "pid") == pid
		if same != (c.do == "error") {
			t.Errorf("%s: the same instance goes on: %v", c.do, same)
		}
		pid = call(t, f, "pid")
	}
	broken, l := probe(t, map[string]string{"PROBE": "broken"})
	if _, err := broken.Call(t.Context(), []byte(`{}`)); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("%v", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.String() != "probe | PROBE is broken\n" {
		t.Errorf("it said %q", l)
	}
}

// TestStream: what the function writes is there before it writes more.
func TestStream(t *testing.T) {
	t.Parallel()
	seen := filepath.Join(t.TempDir(), "seen")
	f, _ := probe(t, map[string]string{"PROBE": seen})
	for _, do := range []string{"stream", "break"} {
		_ = os.Remove(seen)
		r, err := f.Invoke(t.Context(), []byte(`{"do":"`+do+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		if r.ContentType != "application/vnd.awslambda.http-integration-response" {
			t.Errorf("%s", r.ContentType)
		}
		body := bufio.NewReader(r.Body)
		line, err := body.ReadString('\n')
		if err != nil || !strings.HasSuffix(line, "\x00first\n") || !strings.HasPrefix(line, `{"statusCode":207`) {
			t.Fatalf("%q %v", line, err)
		}
		if err := os.WriteFile(seen, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(body)
		var failed *FunctionError
		if string(rest) != "second\n" || errors.As(err, &failed) != (do == "break") {
			t.Errorf("%s: %q %v", do, rest, err)
		}
		r.Body.Close()
	}
	// Whoever asked may leave: the function goes on, and serves again.
	r, err := f.Invoke(t.Context(), []byte(`{"do":"stream"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if got := call(t, f, "again"); got != `"AGAIN"` {
		t.Errorf("%s", got)
	}
	if _, err := f.Invoke(canceled(t), []byte(`{}`)); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
