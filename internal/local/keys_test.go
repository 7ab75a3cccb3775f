package local_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lanyardhq/lanyard/internal/local"
)

func openKeys(t *testing.T, path string) *local.KeyFile {
	t.Helper()
	keys, err := local.OpenKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestKeyFileIsMadeOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "made", "key")
	derived := make([][]byte, 16)
	var openers sync.WaitGroup
	for i := range derived {
		openers.Go(func() {
			if keys, err := local.OpenKeys(path); err != nil {
				t.Error(err)
			} else {
				derived[i] = keys.Derive("test")
			}
		})
	}
	openers.Wait()
	for _, d := range derived {
		if !bytes.Equal(d, derived[0]) {
			t.Error("two openers have different keys")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 32 {
		t.Errorf("the file: %v %v", info, err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}

func TestKeyFileOpensWhatItWrapped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, wrapped, err := openKeys(t, filepath.Join(dir, "key")).DataKey(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	got, err := openKeys(t, filepath.Join(dir, "key")).Unwrap(t.Context(), "default", wrapped)
	if err != nil || !bytes.Equal(got, key) {
		t.Errorf("after reopening: %v", err)
	}
	if _, err := openKeys(t, filepath.Join(dir, "other")).Unwrap(t.Context(), "default", wrapped); err == nil {
		t.Error("another machine's key opened it")
	}
}

func TestKeyFileRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		size int
		mode os.FileMode
		want string
	}{
		"group may read":  {32, 0o640, "chmod 600"},
		"world may read":  {32, 0o604, "chmod 600"},
		"group may write": {32, 0o620, "chmod 600"},
		"empty":           {0, 0o600, "0 bytes"},
		"short":           {31, 0o600, "31 bytes"},
		"long":            {33, 0o600, "33 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "key")
			content := bytes.Repeat([]byte{'k'}, test.size)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, test.mode); err != nil {
				t.Fatal(err)
			}
			_, err := local.OpenKeys(path)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("error %v, want one with %q and the path", err, test.want)
			}
			if strings.Contains(err.Error(), "kkkk") {
				t.Error("the error holds the key")
			}
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(after, content) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
	if _, err := local.OpenKeys(t.TempDir()); err == nil {
		t.Error("a directory was accepted")
	}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	a, b := openKeys(t, path).Derive("a"), openKeys(t, path).Derive("b")
	if len(a) != 32 || bytes.Equal(a, b) {
		t.Errorf("%d bytes; different labels give different keys: %v", len(a), !bytes.Equal(a, b))
	}
	root, err := os.ReadFile(path)
	if err != nil || bytes.Equal(a, root) {
		t.Errorf("a derived key is the file itself (%v)", err)
	}
	if !bytes.Equal(a, openKeys(t, path).Derive("a")) {
		t.Error("the same label gives another key after reopening")
	}
}
