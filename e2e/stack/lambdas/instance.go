package lambdas

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// instance is one execution environment: a process and its Runtime API.
type instance struct {
	f    *Function
	cmd  *exec.Cmd
	http *http.Server
	jobs chan *job
	// gone is closed when the process has ended.
	gone chan struct{}

	mu      sync.Mutex
	current *job
	begun   bool // it was given work
	frozen  bool
	ended   bool
	times   Times
}

// Times are when a process was started, when it first asked for work, and when
// it first began to answer.
type Times struct{ Started, Ready, Answered time.Time }

// job is one invocation.
type job struct {
	id       string
	payload  []byte
	deadline time.Time
	answered chan answer
	once     sync.Once
	// ended is closed when the instance is free again, or gone.
	ended   chan struct{}
	endOnce sync.Once
}

type answer struct {
	contentType string
	body        io.ReadCloser
	err         error
}

func (j *job) answer(a answer) bool {
	first := false
	j.once.Do(func() {
		first = true
		j.answered <- a
	})
	return first
}

func (j *job) fail(err error) { j.answer(answer{err: err}) }

func (j *job) end() { j.endOnce.Do(func() { close(j.ended) }) }

func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (f *Function) start() (*instance, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	in := &instance{f: f, jobs: make(chan *job, 1), gone: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", in.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", in.response)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", in.error)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", in.error)
	in.http = &http.Server{Handler: mux}
	go func() { _ = in.http.Serve(ln) }()

	out := &lines{prefix: f.Name + " | ", to: f.Log}
	in.cmd = exec.Command(f.Bootstrap)
	in.cmd.Env = f.environment(ln.Addr().String())
	in.cmd.Dir = "/"
	in.cmd.Stdout, in.cmd.Stderr = out, out
	in.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in.mu.Lock() // until there is a process for next to stop
	in.times.Started = time.Now()
	err = in.cmd.Start()
	in.mu.Unlock()
	if err != nil {
		_ = in.http.Close()
		return nil, fmt.Errorf("start %s: %w", f.Name, err)
	}
	go in.wait()
	return in, nil
}

// environment is all that a function finds in its environment.
func (f *Function) environment(api string) []string {
	env := map[string]string{
		"AWS_LAMBDA_RUNTIME_API": api, "AWS_LAMBDA_FUNCTION_NAME": f.Name, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(f.Memory), "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/" + f.Name, "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
		"LAMBDA_TASK_ROOT": "/var/task", "LAMBDA_RUNTIME_DIR": "/var/runtime", "_HANDLER": "bootstrap", "TZ": ":UTC",
		"LANG": "en_US.UTF-8", "PATH": "/usr/local/bin:/usr/bin/:/bin:/opt/bin", "LD_LIBRARY_PATH": "/lib64:/usr/lib64:/var/runtime:/var/task:/opt/lib",
	}
	for name, value := range f.Env {
		env[name] = value
	}
	out := make([]string, 0, len(env))
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	return out
}

func (in *instance) wait() {
	err := in.cmd.Wait()
	in.mu.Lock()
	in.ended = true
	j := in.current
	in.mu.Unlock()
	_ = in.http.Close()
	close(in.gone)
	select {
	case j = <-in.jobs: // it ended before it asked for work
	default:
	}
	if j != nil {
		j.fail(&FunctionError{Payload: fmt.Appendf(nil, `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: %s Error: Runtime exited: %v"}`, j.id, err), Unhandled: true})
		j.end()
	}
}

func (in *instance) dead() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.ended
}

func (in *instance) kill() { _ = in.cmd.Process.Kill() }

// begin hands the instance its next job, and lets it run.
func (in *instance) begin(j *job) {
	in.mu.Lock()
	if in.ended {
		in.mu.Unlock()
		j.fail(&FunctionError{Payload: []byte(`{"errorType":"Runtime.ExitError","errorMessage":"Runtime exited"}`), Unhandled: true})
		j.end()
		return
	}
	in.jobs <- j
	in.begun = true
	if in.frozen {
		in.frozen = false
		_ = in.cmd.Process.Signal(syscall.SIGCONT)
	}
	in.mu.Unlock()
}

// next is asked when the function has done with the invocation before. Without
// another one the process stands still, as Lambda's do: whatever it left
// running in the background does not run.
func (in *instance) next(w http.ResponseWriter, r *http.Request) {
	in.mu.Lock()
	if in.times.Ready.IsZero() {
		in.times.Ready = time.Now()
	}
	if j := in.current; j != nil {
		in.current = nil
		j.end()
	}
	if len(in.jobs) == 0 && in.begun { // a new instance is about to be given work
		in.frozen = true
		_ = in.cmd.Process.Signal(syscall.SIGSTOP)
	}
	in.mu.Unlock()
	var j *job
	select {
	case j = <-in.jobs:
	case <-r.Context().Done():
		return
	}
	in.mu.Lock()
	in.current = j
	ended := in.ended
	in.mu.Unlock()
	if ended { // meanwhile, and nobody else has seen the job
		j.fail(&FunctionError{Payload: []byte(`{"errorType":"Runtime.ExitError","errorMessage":"Runtime exited"}`), Unhandled: true})
		j.end()
		return
	}
	h := w.Header()
	h.Set("Lambda-Runtime-Aws-Request-Id", j.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(j.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", ARN(in.f.Name))
	h.Set("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Sampled=0")
	h.Set("Content-Type", "application/json")
	_, _ = w.Write(j.payload)
}

// job returns the current one if it has that id.
func (in *instance) job(id string) *job {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.current != nil && in.current.id == id {
		return in.current
	}
	return nil
}

// response passes the answer on while it comes in. When whoever asked has gone
// the function still goes on: API Gateway does not stop it either.
func (in *instance) response(w http.ResponseWriter, r *http.Request) {
	j := in.job(r.PathValue("id"))
	if j == nil {
		http.Error(w, `{"errorType":"InvalidRequestID"}`, http.StatusBadRequest)
		return
	}
	in.mu.Lock()
	if in.times.Answered.IsZero() {
		in.times.Answered = time.Now()
	}
	in.mu.Unlock()
	reader, writer := io.Pipe()
	if !j.answer(answer{contentType: r.Header.Get("Content-Type"), body: reader}) {
		_ = reader.Close()
	}
	_, err := io.Copy(writer, r.Body)
	if errors.Is(err, io.ErrClosedPipe) {
		_, err = io.Copy(io.Discard, r.Body)
	}
	if kind := r.Trailer.Get("Lambda-Runtime-Function-Error-Type"); err == nil && kind != "" {
		payload, _ := base64.StdEncoding.DecodeString(r.Trailer.Get("Lambda-Runtime-Function-Error-Body"))
		err = &FunctionError{Payload: payload}
	}
	_ = writer.CloseWithError(err)
	w.WriteHeader(http.StatusAccepted)
}

func (in *instance) error(w http.ResponseWriter, r *http.Request) {
	payload, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	in.mu.Lock()
	j := in.current
	in.mu.Unlock()
	if j != nil {
		j.fail(&FunctionError{Payload: payload})
	}
	w.WriteHeader(http.StatusAccepted)
}

// Region and Account are those of everything that is not there.
const (
	Region  = "eu-central-1"
	Account = "123456789012"
)

// ARN is that of a function.
func ARN(name string) string { return "arn:aws:lambda:" + Region + ":" + Account + ":function:" + name }

// NameOf is a function's name, given that or its ARN.
func NameOf(nameOrARN string) string {
	return nameOrARN[strings.LastIndexByte(nameOrARN, ':')+1:]
}
