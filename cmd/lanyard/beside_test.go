package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lanyardhq/lanyard/internal/build"
)

// The small program is used where it is of the same version, and a different one
// is never overlooked.
func TestBeside(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, script, path, err string }{
		{"nothing", "", "", ""},
		{"the same", "echo 'lanyard-runner " + build.Own().String() + "'", besideName, ""},
		{"another", "echo lanyard-runner v0.0.1", "", "is v0.0.1, and this lanyard is " + build.Own().String() + ": install both"},
		{"one that knows no version", "exit 1", "", "for its version: exit status 1"},
		{"without our environment", `[ -z "$HOME" ] && echo '` + build.Own().String() + "'", besideName, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if tc.script != "" {
				writeProgram(t, filepath.Join(dir, besideName), "#!/bin/sh\n"+tc.script+"\n")
			}
			path, err := besideIn(t.Context(), dir, os.Geteuid())
			if tc.path != "" {
				tc.path = filepath.Join(dir, tc.path)
			}
			if path != tc.path || tc.err == "" != (err == nil) || !strings.Contains(fmt.Sprint(err), tc.err) {
				t.Errorf("%q, %v", path, err)
			}
		})
	}
}

// What others could have put there is not started, not even to be asked.
func TestBesideIsNotAnybodys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, ran := filepath.Join(dir, besideName), filepath.Join(dir, "ran")
	writeProgram(t, path, "#!/bin/sh\ntouch "+ran+"\necho '"+build.Own().String()+"'\n")
	refused := func(want string) {
		t.Helper()
		if got, err := besideIn(t.Context(), dir, os.Geteuid()); got != "" || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := os.Stat(ran); err == nil {
			t.Error("it was started")
		}
	}
	if err := os.Chmod(path, 0o757); err != nil {
		t.Fatal(err)
	}
	refused("everybody can write")
	if os.Geteuid() != 0 {
		return // nobody else's file can be made
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	refused("belongs to another user")
	if got, err := besideIn(t.Context(), dir, 65534); got != path || err != nil {
		t.Errorf("of the owner of this program: %q, %v", got, err)
	}
	if err := os.Remove(ran); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "real")
	if err := os.Rename(path, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(link, path); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	refused("belongs to another user")
}

// writeProgram writes while nobody forks: a program that is open for writing
// anywhere cannot be started.
func writeProgram(t *testing.T, path, content string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}
