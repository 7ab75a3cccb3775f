package refresher

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// roleVariable is set in the processes that the tests start.
const roleVariable = "LANYARD_PROOF_CHILD"

func TestMain(m *testing.M) {
	if err := os.Setenv("AWS_REGION", "eu-central-1"); err != nil {
		panic(err)
	}
	if os.Getenv(roleVariable) != "" {
		os.Exit(child())
	}
	code := m.Run()
	endAuthServers()
	os.Exit(code)
}

// lacking skips a test that cannot run here, and says how it can. With CI set
// that is a failure: it would have proven nothing.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s: run `make e2e-refresher`", what)
	}
	t.Skipf("%s: run `make e2e-refresher`, which installs it or says how to", what)
}

// needNode skips a test where there is no authorization server to be had.
func needNode(t *testing.T) {
	t.Helper()
	out, err := exec.Command("node", "--version").Output()
	major, _, _ := bytes.Cut(bytes.TrimPrefix(out, []byte("v")), []byte("."))
	if n, convErr := strconv.Atoi(string(major)); err != nil || convErr != nil || n < 20 {
		lacking(t, "the authorization server needs Node.js 20 or newer")
	}
	if _, err := os.Stat("../node_modules/oidc-provider"); err != nil {
		lacking(t, "the authorization server is not installed in e2e/node_modules")
	}
}

// setting is a number from the environment.
func setting(name string, standard int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return standard
}

// These are by how much the clocks of the processes are moved for a token that
// lives an hour to be due, and for a dead process's lease to run out.
const (
	nextHour = time.Hour
	leaseOut = 2 * time.Minute
)
