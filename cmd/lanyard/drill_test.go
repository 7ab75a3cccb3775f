package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/demo"
	"github.com/lanyardhq/lanyard/presets"
)

var update = flag.Bool("update", false, "write the tables of docs/drill.md")

// TestRehearsal: on SQLite, by the planned renewals, each behaviour has the
// outcome that docs/drill.md says; no secret is logged, and it takes seconds.
func TestRehearsal(t *testing.T) {
	t.Parallel()
	var log lockedLog
	began := time.Now()
	all, err := rehearse(t.Context(), demo.Behaviours(), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*rehearsalTimeout {
		t.Errorf("it took %s", took)
	}
	for _, o := range all {
		if !o.Expected {
			t.Errorf("not as expected: %+v", o)
		}
	}
	for _, secret := range []string{"demo_rt_", "demo_at_", "demo_code_"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %s…", secret)
		}
	}
	if !strings.Contains(log.String(), "behaviour=cut-off") || !strings.Contains(log.String(), `msg="token not renewed"`) {
		t.Error("the log does not say what was rehearsed")
	}
	checkPage(t, "../../docs/drill.md", "outcomes", outcomeTable(all))
	var shown bytes.Buffer
	if err := (&cli{}).printOutcomes(&shown, pick(all, "rotates", "grace-same", "rate-limited", "timeout", "cut-off", "invalid-client")); err != nil {
		t.Error(err)
	}
	checkPage(t, "../../docs/drill.md", "rehearsal", "```\n"+shown.String()+"```\n")
}

func pick(all []outcome, names ...string) (out []outcome) {
	for _, name := range names {
		for _, o := range all {
			if o.Behaviour == name {
				out = append(out, o)
			}
		}
	}
	return out
}

// outcomeTable is the table of docs/drill.md.
func outcomeTable(all []outcome) string {
	var b strings.Builder
	b.WriteString("| behaviour | the provider | verdict | maybe spent | health | exchanges | afterwards |\n|---|---|---|---|---|---|---|\n")
	for i, o := range all {
		end := "survives"
		if !o.Survived {
			end = "**reconnect needed**"
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s | `%s` | %s | %s |\n", o.Behaviour, demo.Behaviours()[i].Does, o.Verdict, maybe(o.Ambiguous), o.Health,
			strconv.Itoa(o.Exchanges), end)
	}
	return b.String()
}

// checkPage compares what is between the page's marks of that name.
func checkPage(t *testing.T, path, name, want string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), "<!-- "+name+" -->\n")
	got, after, closed := strings.Cut(rest, "<!-- end of "+name+" -->\n")
	if !ok || !closed {
		t.Fatalf("%s has no marks of %s", path, name)
	}
	if *update {
		page := before + "<!-- " + name + " -->\n" + want + "<!-- end of " + name + " -->\n" + after
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s: %s is not what a rehearsal shows: go test ./cmd/lanyard -run TestRehearsal -update\n%s", path, name, want)
	}
}

// TestDrillPresets: the files that docs/drill.md tells to make are valid.
func TestDrillPresets(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/drill.md")
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := os.ReadFile("../../presets/providers/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	server, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("the page shows no server")
	}
	before, rest, _ := strings.Cut(string(shipped), "parameters:\n")
	_, after, ok := strings.Cut(rest, "issuer:")
	if !ok {
		t.Fatal("the demo's file has other keys")
	}
	demos := strings.Replace(before+"issuer:"+after, "id: demo", "id: drill", 1)
	dir := t.TempDir()
	for path, text := range map[string]string{
		"providers/drill.yaml": strings.ReplaceAll(demos, "{base}", "https://drill.example.com"), "servers/drill.yaml": server,
	} {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range presets.Lint([]string{dir}) {
		t.Error(f)
	}
}

// TestOddOutcomes: an outcome that is not the expected one is said, and is the
// command's failure.
func TestOddOutcomes(t *testing.T) {
	t.Parallel()
	odd := outcome{Behaviour: "cut-off", Verdict: "ok", Health: connection.Healthy, Exchanges: 2, Survived: true}
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		c := &cli{json: asJSON, started: true}
		err := c.printOutcomes(&out, []outcome{{Behaviour: "rotates", Expected: true}, odd})
		if err == nil || !strings.Contains(err.Error(), "1 of 2") || exitCode(err) != exitFailed {
			t.Errorf("%v", err)
		}
		if !strings.Contains(out.String(), map[bool]string{false: "NOT AS EXPECTED: survives", true: `"expected":false`}[asJSON]) {
			t.Error(out.String())
		}
	}
}

// TestExpected: the outcomes that differ from what is expected are noticed.
func TestExpected(t *testing.T) {
	t.Parallel()
	for _, b := range demo.Behaviours() {
		want := expected(b)
		if want.Exchanges < 1 || want.Exchanges > 3 || want.Survived == b.Ends {
			t.Errorf("%+v", want)
		}
	}
	// A play of one behaviour measured by what another is to have.
	b := demo.Behaviours()[0]
	b.Verdict = "provider_down"
	all, err := rehearse(t.Context(), []demo.Behaviour{b}, nil)
	if err != nil || all[0].Expected || all[0].Verdict != "ok" {
		t.Errorf("%+v, %v", all, err)
	}
}

type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
