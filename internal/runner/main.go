package runner

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/build"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Order is the line of JSON by which a parent on the same machine starts a
// runner: over standard input, because arguments and environments can be read
// by others. The parent then holds standard input open; when it closes, the
// task ends.
type Order struct {
	// Version is the parent's, see [build.Version.Source]. A runner of another one
	// takes no order.
	Version    string       `json:"version"`
	TaskID     string       `json:"task_id"`
	Ticket     token.Secret `json:"ticket"`
	ControlURL string       `json:"control_url"`
	// Secret is presented to ControlURL as a bearer.
	Secret token.Secret `json:"secret"`
	// Dir, UID, GID, Read and ExtraEnv are those of [Config].
	Dir      string            `json:"dir,omitempty"`
	UID      uint32            `json:"uid,omitempty"`
	GID      uint32            `json:"gid,omitempty"`
	Read     []string          `json:"read,omitempty"`
	ExtraEnv map[string]string `json:"extra_env,omitempty"`
}

const (
	maxOrder = 1 << 20
	// controlTimeout leaves a slow provider time to renew a token.
	controlTimeout = time.Minute
)

// Main runs a task as a process of its own: it reads an [Order] from stdin and
// runs it by [RunConfined].
func Main(ctx context.Context, stdin io.Reader, environ []string, logger *slog.Logger) error {
	if err := Harden(); err != nil { // before a secret is in this process
		return fmt.Errorf("keep other processes out of this one: %w", err)
	}
	in := bufio.NewReader(stdin)
	order, err := readOrder(in)
	if err != nil {
		return err
	}
	return RunConfined(ctx, Config{
		TaskID: order.TaskID, Ticket: order.Ticket,
		Control: &task.HTTPControl{
			URL: order.ControlURL,
			// No proxy: the control routes are on this machine.
			Client: &http.Client{Timeout: controlTimeout, Transport: &http.Transport{ResponseHeaderTimeout: controlTimeout}},
			Sign: func(r *http.Request, _ []byte) error {
				r.Header.Set("Authorization", "Bearer "+order.Secret.Reveal())
				return nil
			},
		},
		Dir: order.Dir, UID: order.UID, GID: order.GID, Read: order.Read, ExtraEnv: order.ExtraEnv,
		Lifeline: in, Logger: logger,
	}, environ)
}

// RunConfined is [Run] in a process that is the task's alone: others are kept
// out of it, and the server is confined. Of environ it takes PATH and LANG for
// the server, and nothing else. The running program must answer to "sandbox"
// with [SandboxMain].
func RunConfined(ctx context.Context, cfg Config, environ []string) error {
	if err := Harden(); err != nil {
		return fmt.Errorf("keep other processes out of this one: %w", err)
	}
	if cfg.UID == 0 && !landlocked() {
		cfg.Logger.WarnContext(ctx, "this kernel cannot confine the server to its own files: it can read what this user can")
	}
	self, err := executable()
	if err != nil {
		return err
	}
	cfg.Sandbox = []string{self, "sandbox"}
	cfg.Path, cfg.Lang = variable(environ, "PATH"), variable(environ, "LANG")
	return Run(ctx, cfg)
}

func readOrder(in *bufio.Reader) (Order, error) {
	var o Order
	var line []byte
	for !bytes.HasSuffix(line, []byte("\n")) {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxOrder {
			return o, errors.New("read the order: the line is too long")
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return o, fmt.Errorf("read the order: one line of JSON must come on standard input: %w", err)
		}
	}
	// The version first: what else an order says, another version could take for
	// something else.
	var from struct{ Version string }
	if json.Unmarshal(line, &from) == nil && from.Version != build.Own().Source() {
		return o, fmt.Errorf("read the order: it is of lanyard %.200q, and this is %s: was one of them replaced while lanyard runs? Install both of one version and start lanyard again",
			from.Version, build.Own().Source())
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if dec.Decode(&o) != nil {
		return o, errors.New("read the order: it is not the JSON that was expected") // the cause could quote a secret
	}
	if o.TaskID == "" || o.ControlURL == "" || o.Ticket == "" {
		return o, errors.New("read the order: task_id, ticket and control_url are needed")
	}
	return o, nil
}

// executable is this program, in a form that another user can start as well,
// even from a directory that is closed to it.
func executable() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

func variable(environ []string, name string) string {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}
