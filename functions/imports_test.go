// Package functions_test checks what the functions, and what is below them, are
// made of: who may import what, and what a function's program can do at all.
package functions_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/lanyardhq/lanyard/"

// list runs go list; each line is one package's answer.
func list(t *testing.T, format string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-f", format}, args...)...)
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// below is everything that a package is made of, by package.
func below(t *testing.T, patterns ...string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, line := range list(t, `{{.ImportPath}} {{join .Deps " "}}`, patterns...) {
		fields := strings.Fields(line)
		out[strings.TrimPrefix(fields[0], module)] = fields[1:]
	}
	return out
}

// rule: what of the packages must not be made of what, and why.
type rule struct {
	packages  []string // as go list takes them
	except    []string
	forbidden []string // package paths, and what is below them
	why       string
}

var rules = []rule{
	{packages: []string{"./internal/...", "./presets/..."}, except: []string{"internal/cloud", "internal/cloud/emulate", "internal/gateway"},
		forbidden: []string{"github.com/aws"},
		why:       "the domain knows no cloud: its interfaces are its own, and a machine without an account links no SDK"},
	{packages: []string{"./internal/gateway"}, forbidden: []string{"github.com/aws/aws-sdk-go-v2", "github.com/aws/aws-lambda-go/lambda", module + "internal/cloud"},
		why: "the adapter turns events into requests; it calls nobody, and mains start it"},
	{packages: []string{"./internal/...", "./presets/..."}, except: []string{"internal/cloud", "internal/cloud/emulate"},
		forbidden: []string{module + "internal/cloud"},
		why:       "only mains choose an adapter"},
	{packages: []string{"./internal/...", "./presets/..."}, except: []string{"internal/local"},
		forbidden: []string{module + "internal/local", "modernc.org/sqlite"},
		why:       "only mains choose an adapter"},
	{packages: []string{"./functions/..."}, forbidden: []string{module + "internal/local", "modernc.org/sqlite", module + "internal/demo", module + "internal/install"},
		why: "a function keeps nothing on its disk and installs nothing: it would be gone with the process"},
	{packages: []string{"./functions/..."}, forbidden: []string{"github.com/spf13/cobra", "github.com/joho/godotenv"},
		why: "a function has no command line and reads no files of settings"},
	{packages: []string{"./functions/...", "./cmd/...", "./internal/..."}, forbidden: []string{"github.com/aws/jsii-runtime-go", "github.com/aws/aws-cdk-go"},
		why: "jsii wants Node: it is infra's alone, in a module of its own"},
	{packages: []string{"./functions/...", "./cmd/...", "./internal/..."}, forbidden: []string{module + "e2e", module + "internal/fake", module + "internal/conformance"},
		why: "what stands in for something in tests is in no program"},
	{packages: []string{"./internal/runner", "./cmd/runner", "./cmd/server"}, forbidden: []string{module + "internal/vault", module + "internal/refresh", module + "internal/cloud", module + "internal/local"},
		why: "a task has access tokens of one connection, and no code that could open more"},
	{packages: []string{"./cmd/runner"}, forbidden: []string{"github.com/aws/aws-sdk-go-v2/service", "github.com/aws/aws-sdk-go-v2/config"},
		why: "a task signs its calls to us and calls no service of AWS"},
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, r := range rules {
		checked := 0
		for pkg, deps := range below(t, r.packages...) {
			if slices.Contains(r.except, pkg) {
				continue
			}
			checked++
			for _, d := range deps {
				for _, f := range r.forbidden {
					if d == f || strings.HasPrefix(d, f+"/") {
						t.Errorf("%s is made of %s: %s", pkg, d, r.why)
					}
				}
			}
		}
		if checked == 0 {
			t.Errorf("%v names no package", r.packages)
		}
	}
}

// can is what must, and what must not, be in a function's program: methods of
// types, as the linker names them. A program has what it can come to.
var can = []struct {
	function string
	has      []string
	hasNot   []string
	why      string
}{
	{"connect", []string{"service/dynamodb.(*Client).GetItem"},
		[]string{"service/kms.(*Client)", "service/secretsmanager.(*Client)", "service/sqs.(*Client)", "service/ecs.(*Client)", "service/lambda.(*Client)",
			"service/eventbridge.(*Client)", "internal/vault.(*Vault)", "internal/vault.(*Sealer)", "internal/cloud.(*ClientSecrets)", "internal/cloud.(*Webhooks)"},
		"connect can read no secret at all"},
	{"callback", []string{"service/kms.(*Client).GenerateDataKey", "internal/vault.(*Vault).Seal"},
		[]string{"internal/refresh.(*Service)", "service/sqs.(*Client)", "service/ecs.(*Client)", "service/lambda.(*Client)",
			"service/eventbridge.(*Client)", "internal/cloud.(*Webhooks)"},
		"callback seals what a person gave, and renews nothing"},
	{"refresh", []string{"service/kms.(*Client).Decrypt", "internal/vault.(*Vault).Grant", "service/sqs.(*Client).SendMessageBatch",
		"service/eventbridge.(*Client).PutEvents", "internal/notify.(*Service).Deliver"},
		[]string{"service/ecs.(*Client)", "service/lambda.(*Client)", "internal/flow.(*Finisher)"},
		"refresh neither runs servers nor finishes flows"},
	{"mcprun", []string{"service/ecs.(*Client).RunTask", "service/lambda.(*Client).Invoke"},
		[]string{"service/kms.(*Client)", "service/sqs.(*Client)", "internal/vault.(*Vault)", "internal/vault.(*Sealer)", "internal/refresh.(*Service)",
			"internal/cloud.(*ClientSecrets)", "internal/cloud.(*SecretGrants)", "internal/cloud.(*Webhooks)", "service/eventbridge.(*Client)"},
		"mcprun gets access tokens from refresh, and no refresh token ever"},
}

// TestPrograms looks into the linked programs.
func TestPrograms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range can {
		program := filepath.Join(dir, c.function)
		if out, err := goCommand("build", "-tags", "lambda.norpc", "-o", program, "./functions/"+c.function); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		symbols, err := goCommand("tool", "nm", program)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range c.has {
			if !bytes.Contains(symbols, []byte(name)) {
				t.Errorf("%s has no %s: this test looks for what is not there", c.function, name)
			}
		}
		for _, name := range c.hasNot {
			if found := regexp.MustCompile(regexp.QuoteMeta(name) + `[.\w-]*`).Find(symbols); found != nil {
				t.Errorf("%s has %s: %s", c.function, found, c.why)
			}
		}
	}
}

func goCommand(args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.CombinedOutput()
}

// TestMains: a main is wiring, and short.
func TestMains(t *testing.T) {
	t.Parallel()
	mains, err := filepath.Glob("*/main.go")
	if err != nil || len(mains) != 4 {
		t.Fatalf("%v %v", mains, err)
	}
	for _, file := range mains {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(data, []byte("\n")); n > 40 {
			t.Errorf("%s has %d lines", file, n)
		}
	}
}
