package local_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/local"
)

// The tests here start this test program again, as processes that share a data
// directory. The child waits for a line, so that all begin at once, and writes
// a line for each thing that it was told is done.
const (
	roleVariable = "LANYARD_LOCAL_TEST_ROLE"
	dirVariable  = "LANYARD_LOCAL_TEST_DIR"
	rounds       = 8
)

type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func start(t *testing.T, role, dir string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcess$")
	cmd.Env = append(os.Environ(), roleVariable+"="+role, dirVariable+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &process{cmd, stdin, bufio.NewScanner(stdout)}
}

// next returns the next line of the child that is one of its reports.
func (p *process) next() (string, bool) {
	for p.lines.Scan() {
		if line, ok := strings.CutPrefix(p.lines.Text(), "> "); ok {
			return line, true
		}
	}
	return "", false
}

// TestProcess is what a child runs.
func TestProcess(t *testing.T) {
	role, dir := os.Getenv(roleVariable), os.Getenv(dirVariable)
	if role == "" {
		return // runs in a process of its own
	}
	fmt.Println("> ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	report := func(format string, args ...any) { fmt.Printf("> "+format+"\n", args...) }
	if role == "keys" {
		keys, err := local.OpenKeys(filepath.Join(dir, "key"))
		if err != nil {
			t.Fatal(err)
		}
		report("key %x", keys.Derive("test"))
		return
	}
	db, err := local.Open(t.Context(), dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	switch role {
	case "opener":
		report("opened")
		return
	case "writer":
		for i := 0; ; i++ {
			c := connection.Connection{Key: connection.Key{Tenant: "default", ID: fmt.Sprint("con_", i)}, Label: strings.Repeat("x", 5000)}
			if err := db.Create(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			report("%s", c.ID)
		}
	}
	for i := range rounds {
		raceRound(t, db, i, report)
	}
}

// raceRound tries what only one of all processes may succeed in.
func raceRound(t *testing.T, db *local.DB, i int, report func(string, ...any)) {
	k := connection.Key{Tenant: "default", ID: fmt.Sprint("con_", i)}
	tries := map[string]func() (error, error){
		"create": func() (error, error) {
			return db.Create(t.Context(), connection.Connection{Key: k}), connection.ErrExists
		},
		"acquire": func() (error, error) {
			_, err := db.Update(t.Context(), k, func(c *connection.Connection) error {
				_, err := c.Acquire(fmt.Sprint(os.Getpid()), clock(), time.Minute)
				return err
			})
			return err, connection.ErrLeased
		},
		"take": func() (error, error) {
			_, err := db.TakeState(t.Context(), fmt.Sprint("state", i), "mine", clock())
			return err, flow.ErrStateUsed
		},
		"begin": func() (error, error) {
			task := host.Task{ID: fmt.Sprint("tsk_", os.Getpid(), "_", i), Connection: k, State: host.TaskStarting}
			_, err := db.BeginTask(t.Context(), task)
			return err, host.ErrRunning
		},
	}
	for _, name := range []string{"create", "acquire", "take", "begin"} {
		if err, lost := tries[name](); err == nil {
			report("%s %d", name, i)
		} else if !errors.Is(err, lost) {
			t.Errorf("%s: lost with %v, want %v", name, err, lost)
		}
	}
}

func TestProcessesRace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, dir)
	for i := range rounds {
		s := flow.State{Hash: fmt.Sprint("state", i), Browser: "mine", ExpiresAt: clock().Add(time.Minute)}
		if err := db.PutState(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	won := map[string]int{}
	for _, line := range together(t, "race", dir) {
		won[line]++
	}
	for i := range rounds {
		for _, name := range []string{"create", "acquire", "take", "begin"} {
			if n := won[fmt.Sprint(name, " ", i)]; n != 1 {
				t.Errorf("%s %d was won by %d processes, want one", name, i, n)
			}
		}
	}
}

// TestProcessesCreate: several processes open a directory that is not there.
func TestProcessesCreate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, line := range together(t, "keys", dir) {
		keys[line] = true
	}
	if len(keys) != 1 {
		t.Errorf("%d different keys were made", len(keys))
	}
	db := filepath.Join(dir, "db")
	if opened := together(t, "opener", db); len(opened) != 3 {
		t.Errorf("opened %d times, want 3", len(opened))
	}
}

// together runs three children at once and returns what they report.
func together(t *testing.T, role, dir string) []string {
	t.Helper()
	var children []*process
	for range 3 {
		p := start(t, role, dir)
		if _, ok := p.next(); !ok {
			t.Fatal("the child did not start")
		}
		children = append(children, p)
	}
	for _, p := range children {
		_, _ = io.WriteString(p.stdin, "go\n")
	}
	var out []string
	for _, p := range children {
		for line, ok := p.next(); ok; line, ok = p.next() {
			out = append(out, line)
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("a child of role %s: %v", role, err)
		}
	}
	return out
}

// TestKilledWhileWriting: what was acknowledged before a kill -9 is there.
func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, "writer", dir)
	p.next()
	_, _ = io.WriteString(p.stdin, "go\n")
	var acknowledged []string
	for len(acknowledged) < 50 {
		id, ok := p.next()
		if !ok {
			t.Fatal("the child ended by itself")
		}
		acknowledged = append(acknowledged, id)
	}
	if err := p.cmd.Process.Kill(); err != nil { // SIGKILL, in the middle of a write
		t.Fatal(err)
	}
	for id, ok := p.next(); ok; id, ok = p.next() {
		acknowledged = append(acknowledged, id)
	}
	_ = p.cmd.Wait()
	db := open(t, dir)
	for _, id := range acknowledged {
		if _, err := db.Get(t.Context(), connection.Key{Tenant: "default", ID: id}); err != nil {
			t.Errorf("%s was acknowledged and is lost: %v", id, err)
		}
	}
	if err := db.Create(t.Context(), connection.Connection{Key: connection.Key{Tenant: "default", ID: "con_after"}}); err != nil {
		t.Errorf("the database cannot be written any more: %v", err)
	}
}
