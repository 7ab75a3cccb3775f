package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestAlarms: the deploy page says for each alarm, and for no other, what to do.
func TestAlarms(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(string(page), -1) {
		said = append(said, m[1])
	}
	a := synth(t, shipped)
	var made []string
	for _, id := range a.service.of("AWS::CloudWatch::Alarm") {
		r := a.service.Resources[id]
		made = append(made, strings.TrimPrefix(flat(r.at("AlarmName")), a.settings.Name+"-"))
		if r.at("AlarmActions") != nil {
			t.Errorf("%s tells somebody, and nobody is named", id)
		}
	}
	slices.Sort(said)
	slices.Sort(made)
	if !slices.Equal(said, made) {
		t.Errorf("docs/deploy.md has %v, the deployment %v", said, made)
	}
	for _, id := range synth(t, full).service.of("AWS::CloudWatch::Alarm") {
		if synth(t, full).service.Resources[id].at("AlarmActions") == nil {
			t.Errorf("%s tells nobody", id)
		}
	}
}

// TestLinesAreWritten: what the filters look for is what the code logs.
func TestLinesAreWritten(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	for _, dir := range []string{"host", "refresh", "provider"} {
		files, err := filepath.Glob("../internal/" + dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil && !strings.HasSuffix(file, "_test.go") {
				code.Write(data)
			}
		}
	}
	for _, lines := range []string{linesOfFailedRenewals, linesOfStuckTasks} {
		for _, m := range regexp.MustCompile(`\$\.(?:msg|verdict) !?= ("[^"]+")`).FindAllStringSubmatch(lines, -1) {
			if !strings.Contains(code.String(), m[1]) {
				t.Errorf("nothing writes %s", m[1])
			}
		}
	}
}
