package tokenfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lanyardhq/lanyard/internal/tokenfile"
)

func source(t *testing.T, value, file string) (func() (string, error), error) {
	t.Helper()
	set := map[string]string{"VALUE": value, "FILE": file}
	return tokenfile.Source(func(name string) string { return set[name] }, "VALUE", "FILE")
}

func TestSource(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token.json")
	token, err := source(t, "", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token(); err == nil {
		t.Error("a missing file has a token")
	}
	for _, want := range []string{"first", "second"} {
		if err := os.WriteFile(path, []byte(`{"access_token":"`+want+`"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := token(); got != want || err != nil {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
	const canary = "canary-secret"
	for _, content := range []string{"", canary, `{"refresh_token":"` + canary + `"}`, `{"access_token":7,"x":"` + canary + `"}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := token(); got != "" || err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %q %v", content, got, err)
		}
	}
	if token, err := source(t, "plain", ""); err != nil {
		t.Error(err)
	} else if got, err := token(); got != "plain" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	for _, both := range [][2]string{{"", ""}, {canary, path}} {
		if _, err := source(t, both[0], both[1]); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%v", err)
		}
	}
}
