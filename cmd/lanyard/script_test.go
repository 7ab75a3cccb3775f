package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts run this very binary as lanyard, and as a tiny MCP server.
// What runs a server confined starts itself again, and finds this binary under its
// own name.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sandbox" {
		main()
		return
	}
	testscript.Main(m, map[string]func(){"lanyard": main, "tiny-server": tinyServer})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			api := &fakeAPI{answers: map[string]answer{}}
			srv := httptest.NewServer(api)
			env.Defer(srv.Close)
			env.Values["api"] = api
			env.Setenv("LANYARD_URL", srv.URL)
			env.Setenv("LANYARD_API_KEY", testKey)
			env.Setenv("KEY", testKey)
			env.Setenv("TZ", "UTC")
			// A program under the race detector sleeps a second at its end otherwise.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"answer": answerCmd, "requested": requestedCmd, "exits": exitsCmd, "freeport": freePortCmd, "post": postCmd,
		},
	})
}

const testKey = "lyk_the-key-of-the-scripts"

// fakeAPI answers as its script told it to, and remembers what it was asked.
type fakeAPI struct {
	mu      sync.Mutex
	answers map[string]answer
	asked   []string
}

type answer struct {
	status int
	body   string
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r.Method+" "+r.RequestURI+" "+string(body))
	a, ok := f.answers[r.Method+" "+r.URL.Path]
	switch {
	case r.Header.Get("Authorization") != "Bearer "+testKey:
		a = answer{401, `{"error":"unauthorized","error_description":"this call needs an API key","hint":"It lies in the data directory."}`}
	case !ok:
		a = answer{404, `{"error":"not_found","error_description":"there is nothing at this address"}`}
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// answer METHOD PATH STATUS FILE: what the API answers from now on.
func answerCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: answer METHOD PATH STATUS FILE")
	}
	status, err := strconv.Atoi(args[2])
	ts.Check(err)
	f := ts.Value("api").(*fakeAPI)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[args[0]+" "+args[1]] = answer{status, ts.ReadFile(args[3])}
}

// requested REGEXP...: the API's last requests were these, or with "!" there were
// none.
func requestedCmd(ts *testscript.TestScript, neg bool, args []string) {
	f := ts.Value("api").(*fakeAPI)
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	if neg && len(asked) > 0 || !neg && len(asked) < len(args) {
		ts.Fatalf("the requests were: %q", asked)
	}
	for i, want := range args {
		if got := strings.TrimSpace(asked[len(asked)-len(args)+i]); !regexp.MustCompile("^" + want + "$").MatchString(got) {
			ts.Fatalf("a request was: %s", got)
		}
	}
}

// exits CODE COMMAND...: the command ends with that very code, and shows its
// API key nowhere.
func exitsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
	if strings.Contains(ts.ReadFile("stdout")+ts.ReadFile("stderr"), testKey) {
		ts.Fatalf("the API key was printed")
	}
}

// freeport NAME: sets the variable to a port of loopback on which nobody listens.
func freePortCmd(ts *testscript.TestScript, neg bool, args []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
	ts.Check(ln.Close())
}

// post URL FILE: posts the file as JSON, as soon as somebody listens there, with
// the API key of the real server if one made data/api-key. The file answer then
// holds the status and what was answered.
func postCmd(ts *testscript.TestScript, neg bool, args []string) {
	body := ts.ReadFile(args[1])
	for deadline := time.Now().Add(time.Minute); ; {
		r, err := http.NewRequest(http.MethodPost, args[0], strings.NewReader(body))
		ts.Check(err)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		key, err := os.ReadFile(ts.MkAbs("data/api-key"))
		if err == nil {
			r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			if time.Now().After(deadline) {
				ts.Fatalf("nobody answers: %v", err)
			}
			time.Sleep(20 * time.Millisecond)
			continue
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs("answer"), []byte(fmt.Sprintf("%d %s\n", res.StatusCode, text)), 0o600))
		return
	}
}

// tinyServer is as little as can be called an MCP server over stdio.
func tinyServer() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		if json.Unmarshal(in.Bytes(), &m) == nil && m.Method == "initialize" {
			fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":%q,"version":"1"}}}`+"\n",
				m.ID, "tiny "+strings.Join(os.Args[1:], " "))
		}
	}
}
