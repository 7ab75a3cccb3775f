package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/presets"
)

// patience is for a machine that is busy with other things.
const patience = 60 * time.Second

// acme is a server whose lock the fake npm does not look at.
func acme(name string) presets.Server {
	return presets.Server{
		Name:   name,
		Server: presets.Program{Registry: presets.RegistryNPM, Package: "@acme/server", Version: "1.2.3"},
		Lock:   presets.Lock{Manifest: []byte(`{"dependencies": {}}`), Lockfile: []byte(`{"lockfileVersion": 3}`)},
	}
}

// fake returns an installer whose node and npm are shell scripts. The npm
// script finds the file named log beside itself as $LOG.
func fake(t *testing.T, node, npm string) (in *Installer, log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\nLOG='"+log+"'\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return &Installer{
		Dir:     filepath.Join(dir, "packages"),
		Node:    script("node", node),
		NPM:     script("npm", npm),
		Environ: append(os.Environ(), "ACME_CLIENT_SECRET=hush", "npm_config_color=false"),
	}, log
}

const (
	goodNode = "echo v22.1.0"
	goodNPM  = `echo run >> "$LOG"; mkdir -p node_modules/@acme/server && echo "{}" > node_modules/@acme/server/package.json`
)

func context60(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestEnsure(t *testing.T) {
	t.Parallel()
	in, log := fake(t, goodNode, goodNPM+`; pwd >> "$LOG"; echo "$@" >> "$LOG"; env >> "$LOG"; cat package.json package-lock.json >> "$LOG"; echo >> "$LOG"`)
	var told []string
	in.Progress = func(server, line string) { told = append(told, server+": "+line) }
	s := acme("acme")
	dir, err := in.Ensure(context60(t), s)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(in.Dir, "acme-1.2.3-"+s.Lock.Hash()[:12]); dir != want {
		t.Errorf("installed in %s, want %s", dir, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules/@acme/server/package.json")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("another uid cannot read the installation: %v %v", info.Mode(), err)
	}
	data, _ := os.ReadFile(log)
	said := string(data)
	for _, want := range []string{"ci --ignore-scripts", "npm_config_color=false", string(s.Lock.Manifest), string(s.Lock.Lockfile), "/.new-acme."} {
		if !strings.Contains(said, want) {
			t.Errorf("npm did not get %q:\n%s", want, said)
		}
	}
	if strings.Contains(said, "hush") {
		t.Error("npm gets the secrets of our environment")
	}
	if len(told) != 2 || !strings.HasPrefix(told[0], "acme: installing @acme/server 1.2.3") || !strings.HasPrefix(told[1], "acme: installed") {
		t.Errorf("progress: %q", told)
	}

	again, err := in.Ensure(context60(t), s)
	if err != nil || again != dir || runs(t, log) != 1 {
		t.Errorf("a second Ensure installs again: %s %v", again, err)
	}
	s.Lock.Lockfile = []byte(`{"lockfileVersion": 3, "packages": {}}`)
	other, err := in.Ensure(context60(t), s)
	if err != nil || other == dir || runs(t, log) != 2 {
		t.Errorf("another lock is not another installation: %s %v", other, err)
	}
	if leftovers := unfinished(t, in.Dir); len(leftovers) > 0 {
		t.Errorf("left behind: %v", leftovers)
	}
}

func runs(t *testing.T, log string) int {
	t.Helper()
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count("\n"+string(data), "\nrun\n")
}

func unfinished(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, ".new-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestEnsureConcurrently: however many want a server at once, through one
// installer or several (as several processes have), npm runs once, and nobody
// is given a directory that is not complete.
func TestEnsureConcurrently(t *testing.T) {
	t.Parallel()
	in, log := fake(t, goodNode, goodNPM)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			mine := in
			if i%2 == 0 {
				mine = &Installer{Dir: in.Dir, Node: in.Node, NPM: in.NPM}
			}
			dir, err := mine.Ensure(context60(t), acme("acme"))
			if err != nil {
				t.Error(err)
			} else if !complete(dir, acme("acme").Lock.Hash()) {
				t.Error("the directory is not complete")
			}
		})
	}
	wg.Wait()
	if n := runs(t, log); n != 1 {
		t.Errorf("npm ran %d times", n)
	}
}

// TestEnsureInterrupted: what a killed installation left is removed, and what
// another server is being installed in, though its name begins alike, is not.
func TestEnsureInterrupted(t *testing.T) {
	t.Parallel()
	in, _ := fake(t, goodNode, goodNPM)
	s := acme("acme")
	half := filepath.Join(in.Dir, "acme-1.2.3-"+s.Lock.Hash()[:12])
	mine, theirs := filepath.Join(in.Dir, ".new-acme.1"), filepath.Join(in.Dir, ".new-acme-two.1")
	for _, dir := range []string{half, mine, theirs} {
		if err := os.MkdirAll(filepath.Join(dir, "node_modules"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(half, "rest"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dir, err := in.Ensure(context60(t), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "rest")); err == nil {
		t.Error("an incomplete directory was added to")
	}
	if left := unfinished(t, in.Dir); !slices.Equal(left, []string{theirs}) {
		t.Errorf("left: %v", left)
	}
}

// TestEnsureCancelled: a caller that gives up ends npm, and leaves nothing.
func TestEnsureCancelled(t *testing.T) {
	t.Parallel()
	in, log := fake(t, goodNode, `sleep 600 & echo $! > "$LOG"; echo $$ >> "$LOG"; wait`)
	ctx, cancel := context.WithCancel(context60(t))
	result := make(chan error, 1)
	go func() {
		_, err := in.Ensure(ctx, acme("acme"))
		result <- err
	}()
	var pids []string
	waitFor(t, func() bool {
		data, _ := os.ReadFile(log)
		pids = strings.Fields(string(data))
		return len(pids) == 2
	})
	waiting := make(chan error, 1)
	told := make(chan string, 2)
	second := &Installer{Dir: in.Dir, Node: in.Node, NPM: in.NPM, Progress: func(_, line string) { told <- line }}
	waitCtx, stopWaiting := context.WithCancel(context60(t))
	go func() {
		_, err := second.Ensure(waitCtx, acme("acme"))
		waiting <- err
	}()
	if line := <-told; !strings.Contains(line, "already being installed") {
		t.Errorf("the one that waits is told %q", line)
	}
	stopWaiting()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that waits: %v", err)
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that installs: %v", err)
	}
	for _, pid := range pids {
		waitFor(t, func() bool { return dead(pid) }) // npm, and what it has started
	}
	if left := unfinished(t, in.Dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// dead reports whether no process with this id runs; a zombie is dead.
func dead(pid string) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", pid).Output()
	return err != nil || strings.HasPrefix(string(out), "Z")
}

// TestEnsureBoundsOutput: a talkative npm costs no memory, and its error is
// still understood.
func TestEnsureBoundsOutput(t *testing.T) {
	t.Parallel()
	in, _ := fake(t, goodNode, "yes 'npm warn and so on' | head -c 3000000; echo; echo 'npm error code EINTEGRITY'; echo 'npm error the end'; exit 1")
	_, err := in.Ensure(context60(t), acme("acme"))
	if !errors.Is(err, ErrNotInstallable) || !strings.Contains(err.Error(), "its lock names") || !strings.HasSuffix(err.Error(), "the end") {
		t.Errorf("got %v", err)
	}
	kept := &ending{}
	for range 50 {
		if n, err := kept.Write([]byte(strings.Repeat("x", maxOutput/3) + "y")); n != maxOutput/3+1 || err != nil {
			t.Fatal(n, err)
		}
	}
	_, _ = kept.Write([]byte(strings.Repeat("z", 2*maxOutput) + "!"))
	if s := kept.String(); len(s) != maxOutput || s != strings.Repeat("z", maxOutput-1)+"!" {
		t.Errorf("kept %d bytes that end in %q", len(s), s[len(s)-3:])
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited too long")
		}
	}
}

// TestEnsureFails: what a person reads, by what went wrong.
func TestEnsureFails(t *testing.T) {
	t.Parallel()
	npmFails := func(code string) string {
		return fmt.Sprintf("echo 'npm error code %s' >&2; echo 'npm error see https://u:hush@registry.example/x?token=hush //r/:_authToken=hush' >&2; exit 1", code)
	}
	tests := map[string]struct {
		node, npm string
		is        error
		says      string
	}{
		"no node":     {"exit 127", goodNPM, ErrNotInstallable, "acme needs Node.js 20 or newer with npm, and there is no node that runs: install it from"},
		"old node":    {"echo v18.19.0", goodNPM, ErrNotInstallable, `this is "v18.19.0"`},
		"odd node":    {"echo hello", goodNPM, ErrNotInstallable, `this is "hello"`},
		"integrity":   {goodNode, npmFails("EINTEGRITY"), ErrNotInstallable, "not the one that its lock names"},
		"no network":  {goodNode, npmFails("ENOTFOUND"), ErrFetch, "Check the network"},
		"old npm":     {goodNode, "echo 'npm ERR! code ECONNREFUSED'; exit 1", ErrFetch, "(ECONNREFUSED)"},
		"refused":     {goodNode, npmFails("E403"), ErrFetch, "registry setting"},
		"other":       {goodNode, npmFails("ENOSPC"), ErrNotInstallable, "npm failed on acme (exit status 1)"},
		"says little": {goodNode, "exit 3", ErrNotInstallable, "exit status 3"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, _ := fake(t, test.node, test.npm)
			_, err := in.Ensure(context60(t), acme("acme"))
			if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v", err)
			}
			if errors.Is(err, ErrFetch) && errors.Is(err, ErrNotInstallable) {
				t.Error("both sentinels")
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("a credential shows: %v", err)
			}
			if left := unfinished(t, in.Dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	t.Run("no npm", func(t *testing.T) {
		t.Parallel()
		in, _ := fake(t, goodNode, goodNPM)
		in.NPM += "-missing"
		if _, err := in.Ensure(context60(t), acme("acme")); !errors.Is(err, ErrNotInstallable) || !strings.Contains(err.Error(), "there is no npm") {
			t.Errorf("got %v", err)
		}
	})
}

func TestEnsureOtherRegistries(t *testing.T) {
	t.Parallel()
	in := &Installer{Dir: filepath.Join(t.TempDir(), "never made")}
	for _, registry := range []string{presets.RegistryCommand, presets.RegistryRemote} {
		s := presets.Server{Name: "acme", Server: presets.Program{Registry: registry}}
		if dir, err := in.Ensure(t.Context(), s); dir != "" || err != nil {
			t.Errorf("%s: %q %v", registry, dir, err)
		}
	}
	noLock := acme("acme")
	noLock.Lock = presets.Lock{}
	outside := acme("../acme")
	for name, s := range map[string]presets.Server{"no lock": noLock, "outside": outside} {
		if _, err := in.Ensure(t.Context(), s); !errors.Is(err, ErrNotInstallable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(in.Dir); err == nil {
		t.Error("a directory was made for nothing")
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ output, want string }{
		"plain":         {"npm error code X\n", "npm error code X"},
		"control":       {"a\x1b[31mred\x07\r\nb", "a[31mred\nb"},
		"user in URL":   {"GET https://ann:hush@r.example/p - 403", "GET https://[redacted]@r.example/p - 403"},
		"query":         {"GET https://r.example/p?sig=hush - 403", "GET https://r.example/p?[redacted] - 403"},
		"setting":       {"//r.example/:_authToken=hush", "//r.example/:_authToken=[redacted]"},
		"header":        {"Authorization: Bearer hush", "Authorization: [redacted]"},
		"npm's token":   {"x npm_" + strings.Repeat("a", 36) + " y", "x [redacted] y"},
		"not UTF-8":     {"a\xffb", "ab"},
		"long":          {strings.Repeat("x", 5000) + "\nend", "end"},
		"long one line": {strings.Repeat("y", 5000), strings.Repeat("y", maxTail)},
	}
	for name, test := range tests {
		if got := tail(test.output); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
