package presets

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestReadmeExample: what the README tells people to write is a preset.
func TestReadmeExample(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```yaml\n# my-presets/servers/(\\w+\\.yaml)\n(.*?)```").FindSubmatch(readme)
	if example == nil {
		t.Fatal("the README has no example of a server")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "servers"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "servers", string(example[1])), example[2], 0o644); err != nil {
		t.Fatal(err)
	}
	for _, f := range Lint([]string{dir}) {
		t.Errorf("%s:%d: %s", filepath.Base(f.File), f.Line, f.Message)
	}
}
