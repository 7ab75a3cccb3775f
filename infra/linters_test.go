package main

import (
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool finds a linter that `scripts/emulators.sh install` has installed. With CI
// set a missing one is a failure: nothing would have been proven.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{os.Getenv("LANYARD_TOOLS"), "../.tools/venv/bin"} {
		if path, err := filepath.Abs(filepath.Join(dir, name)); dir != "" && err == nil {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not there: run scripts/emulators.sh install", name)
	}
	t.Skipf("%s is not there: scripts/emulators.sh install installs it", name)
	return ""
}

func templates(a assembly) []string {
	return []string{filepath.Join(a.dir, a.settings.Name+"-data.template.json"), filepath.Join(a.dir, a.settings.Name+"-service.template.json")}
}

// TestCfnLint: AWS's own linter, which knows the schema of every resource.
func TestCfnLint(t *testing.T) {
	t.Parallel()
	program := tool(t, "cfn-lint")
	args := []string{"--config-file", "cfnlint.yaml"}
	for _, file := range []string{shipped, full} {
		args = append(args, templates(synth(t, file))...)
	}
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestCheckov: the templates and the Dockerfiles. checkov.yaml says for each
// check that is skipped why.
func TestCheckov(t *testing.T) {
	t.Parallel()
	program := tool(t, "checkov")
	args := []string{"--config-file", "checkov.yaml", "-f", "../image/npm/Dockerfile", "-f", "../image/pypi/Dockerfile", "-f", "../image/command/Dockerfile"}
	for _, file := range []string{shipped, full} {
		for _, tpl := range templates(synth(t, file)) {
			args = append(args, "-f", tpl)
		}
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "LOG_LEVEL=ERROR")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// What cannot be read is passed over in silence otherwise.
	for _, framework := range []string{"cloudformation scan results", "dockerfile scan results"} {
		if !strings.Contains(string(out), framework) {
			t.Errorf("no %s:\n%s", framework, out)
		}
	}
}

// TestNag: the AWS Solutions pack has nothing to say that nag.go does not
// answer, and nag.go answers nothing that is not said.
func TestNag(t *testing.T) {
	t.Parallel()
	for _, file := range []string{shipped, full} {
		a := synth(t, file)
		rules := 0
		for _, stack := range []string{"data", "service"} {
			f, err := os.Open(filepath.Join(a.dir, "AwsSolutions-"+a.settings.Name+"-"+stack+"-NagReport.csv"))
			if err != nil {
				t.Fatal(err)
			}
			rows, err := csv.NewReader(f).ReadAll()
			f.Close()
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows[1:] {
				rules++
				if row[2] != "Compliant" && row[2] != "Suppressed" {
					t.Errorf("%s: %s %s: %s", file, row[0], row[1], row[5])
				}
			}
		}
		if rules < 100 {
			t.Errorf("%s: only %d findings of any kind: did the pack run?", file, rules)
		}
	}
}
