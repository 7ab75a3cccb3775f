package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/presets"
)

// TestShippedSettings: the file says the defaults, so that leaving a line out
// changes nothing.
func TestShippedSettings(t *testing.T) {
	t.Parallel()
	got, err := LoadSettings("settings.yaml")
	if err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty.yaml")
	if err := os.WriteFile(empty, []byte("# nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := LoadSettings(empty)
	if err != nil {
		t.Fatal(err)
	}
	got.Presets, got.OAuthRedirects = nil, nil
	got.enabled, want.enabled, got.offered, want.offered = nil, nil, nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the file\n%+v\nthe defaults\n%+v", got, want)
	}
	if len(got.Servers) < 20 || !slices.Contains(got.Servers, "google-sheets") || !slices.Contains(got.Servers, "slack") {
		t.Errorf("servers %v", got.Servers)
	}
}

// TestBadSettings: one line, with the file, the line and the key.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	mine, err := filepath.Abs("testdata/presets")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ text, where, says string }{
		{"name: lanyard\nwarm_pools: 3\n", ":2:", "warm_pools"},
		{"name: lanyard\n\nwaf: sometimes\n", ":3:", "bool"},
		{"name: [\n", ":1:", ""},
		{"name: Lanyard\n", ":1:", "name"},
		{"name: lanyard-with-a-very-long-name\n", ":1:", "name"},
		{"waf: true\ndomain: connect.example.com\n", ":2:", "certificate"},
		{"domain: https://connect.example.com\ncertificate: arn:aws:acm:us-east-1:123456789012:certificate/0b2a1e34\n", ":1:", "domain"},
		{"domain: connect.example.com\ncertificate: arn:aws:acm:eu-west-1:123456789012:certificate/0b2a1e34\n", ":2:", "us-east-1"},
		{"vault_store: s3\n", ":1:", "dynamodb"},
		{"table: a/b\n", ":1:", "table"},
		{"start_on: never\n", ":1:", "list or call"},
		{"idle_stop: 10\n", ":1:", "duration"},
		{"idle_stop: 1s\n", ":1:", "minute"},
		{"presets: [" + mine + "]\nservers: [tracker]\nwarm_pool: {tracker: 1}\n", ":3:", "run in tasks"},
		{"max_life: 12\n", ":1:", "duration"},
		{"max_life: 5m\n", ":1:", "hour"},
		{"log_retention_days: 31\n", ":1:", "CloudWatch"},
		{"audit_days: 0\n", ":1:", "audit_days"},
		{"keep_fresh: a week\n", ":1:", "keep_fresh"},
		{"alarm_email: ops\n", ":1:", "alarm_email"},
		{"throttle: {rate: 0, burst: 1}\n", ":1:", "throttle"},
		{"throttle: {rate: 1, burst: 1, quota: 1}\n", ":1:", "quota"},
		{"reserved_concurrency: {conect: 1}\n", ":1:", "conect"},
		{"reserved_concurrency: {connect: -1}\n", ":1:", "-1"},
		{"name: lanyard\nwarm_pool: 3\n", ":2:", ""},
		{"warm_pool: {demo: 1}\n", ":1:", "demo"},
		{"servers: [slack]\nwarm_pool: {google-drive: 1}\n", ":2:", "google-drive"},
		{"warm_pool: {slack: -1}\n", ":1:", "-1"},
		{"warm_pool: {slack: 21}\n", ":1:", "20"},
		{"presets: [nowhere]\n", ":1:", "nowhere"},
		{"servers: [slack, slack]\n", ":1:", "twice"},
		{"servers: [demo]\n", ":1:", "npm"},
		{"servers: [unheard-of]\n", ":1:", "unheard-of"},
	} {
		file := filepath.Join(t.TempDir(), "settings.yaml")
		if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadSettings(file)
		text := fmt.Sprint(err)
		if !errors.Is(err, errSettings) || !strings.Contains(text, file+test.where) || !strings.Contains(text, test.says) || strings.Contains(text, "\n") {
			t.Errorf("%q: %v", test.text, err)
		}
	}
	if _, err := LoadSettings("nowhere.yaml"); !errors.Is(err, errSettings) || strings.Contains(err.Error(), "\n") {
		t.Errorf("no file: %v", err)
	}
}

// TestBadPresets: what `lanyard presets lint` finds stops a deployment, too.
func TestBadPresets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "mine", "servers"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"mine/servers/notes.yaml": "name: other\n", "settings.yaml": "presets: [mine]\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := LoadSettings(filepath.Join(dir, "settings.yaml"))
	if !errors.Is(err, errSettings) || !strings.Contains(err.Error(), "notes.yaml") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}

// TestNotBuilt: what is missing is named, with how to make it.
func TestNotBuilt(t *testing.T) {
	t.Parallel()
	a := &Assets{Dist: t.TempDir(), Image: "../image", Work: t.TempDir()}
	if _, err := a.Function(connect); err == nil || !strings.Contains(err.Error(), "make dist") {
		t.Errorf("%v", err)
	}
	if _, err := a.ImageOf(synth(t, shipped).settings.enabled[0]); err == nil || !strings.Contains(err.Error(), "make dist") {
		t.Errorf("%v", err)
	}
}

// TestAssets: a function takes the overlays along, an image the server's lock.
func TestAssets(t *testing.T) {
	t.Parallel()
	a := synth(t, full)
	assets := &Assets{Dist: filepath.Join(temporary, "dist"), Image: "../image", Presets: a.settings.Presets, Work: t.TempDir()}
	function, err := assets.Function(connect)
	if err != nil {
		t.Fatal(err)
	}
	image, err := assets.ImageOf(a.settings.enabled[0])
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(synth(t, shipped).settings.enabled, func(s presets.Server) bool { return s.Server.Registry == presets.RegistryPyPI })
	pypi, err := assets.ImageOf(synth(t, shipped).settings.enabled[i])
	if err != nil {
		t.Fatal(err)
	}
	i = slices.IndexFunc(synth(t, shipped).settings.enabled, presets.Server.Own)
	own, err := assets.ImageOf(synth(t, shipped).settings.enabled[i])
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{own + "/runner", own + "/server", own + "/Dockerfile", pypi + "/runner", pypi + "/Dockerfile", pypi + "/requirements.in", pypi + "/requirements.txt",
		function + "/bootstrap", function + "/presets/0/servers/slack.yaml", function + "/presets/0/locks/slack/package-lock.json",
		image + "/runner", image + "/Dockerfile", image + "/package.json", image + "/package-lock.json"} {
		info, err := os.Stat(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if program := strings.HasSuffix(file, "bootstrap") || strings.HasSuffix(file, "runner") || strings.HasSuffix(file, "/server"); program != (info.Mode()&0o111 != 0) {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
	}
	for dir, base := range map[string]string{image: "FROM docker.io/library/node:", pypi: "FROM docker.io/library/python:"} {
		if text, err := os.ReadFile(dir + "/Dockerfile"); err != nil || !strings.Contains(string(text), base) {
			t.Errorf("%s does not begin with %s: %v", dir, base, err)
		}
	}
	if got := assets.PresetsInBundle(); got != "/var/task/presets/0" {
		t.Errorf("%s", got)
	}
}
