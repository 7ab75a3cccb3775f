package main

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/e2e/stack/lambdas"
)

// TestSettingsAreTheDeployments: a function is given here what infra gives it,
// by the golden file of its synthesized template, and what stands for AWS.
func TestSettingsAreTheDeployments(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("../../infra/testdata/environment.txt")
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{res: &resources{}, functions: map[string]*lambdas.Function{}}
	s.makeFunctions()
	// What the deployment sets and is the same as not set, or not played here.
	unset := map[string]bool{"LANYARD_AUDIT_DAYS": true, "LANYARD_SERVERS": true, "AWS_USE_DUALSTACK_ENDPOINT": true}
	var f *lambdas.Function
	given := map[string]bool{}
	end := func() {
		for name := range given {
			if !strings.HasPrefix(name, "AWS_") && name != "LANYARD_PRESETS" {
				t.Errorf("%s is given %s here alone", f.Name, name)
			}
		}
		delete(s.functions, f.Name)
		f, given = nil, map[string]bool{}
	}
	_, shipped, _ := strings.Cut(string(golden), "\n") // after the name of the settings
	for line := range strings.SplitSeq(shipped, "\n") {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "    ") && f != nil:
			name, _, _ := strings.Cut(fields[0], "=")
			if !given[name] && !unset[name] {
				t.Errorf("%s is not given %s", f.Name, name)
			}
			delete(given, name)
		case strings.HasPrefix(line, "lanyard-") && len(s.functions) > 0: // lanyard-NAME arm64 256 MiB 10 s …
			if f != nil {
				end()
			}
			if f = s.functions[strings.TrimPrefix(fields[0], "lanyard-")]; f == nil {
				continue // a task
			}
			if strconv.Itoa(f.Memory) != fields[2] || strconv.Itoa(int(f.Timeout.Seconds())) != fields[4] {
				t.Errorf("%s has %d MiB and %v, not %s", f.Name, f.Memory, f.Timeout, line)
			}
			for name := range f.Env {
				given[name] = true
			}
		case f != nil:
			end()
		}
	}
	for name := range s.functions {
		t.Errorf("%s is not deployed", name)
	}
}
