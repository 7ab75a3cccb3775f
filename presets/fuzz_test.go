package presets

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// FuzzServer: whatever a preset file holds, it is judged without a panic and
// within its own lines, and what passes makes a recipe or a plain error.
func FuzzServer(f *testing.F) {
	for _, seed := range []string{"", "-", "\x00", "name: s\n", "&a [*a]", "name: &x {a: *x}", "<<: *a", "name: s\n<<: {a: b}\n",
		"? [a]\n: b\n", "name: !!binary x\n", "name: s\nname: t\n", "tools: {a: b}\n", "oauth_scopes:\n  - a\n  - {scope: b, whi: c}\n",
		"credential_files:\n  a: |\n    {{template \"x\"}}\n", "---\n---\na: b\n---\n"} {
		f.Add([]byte(seed))
	}
	entries, err := files.ReadDir("servers")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		data, err := files.ReadFile("servers/" + e.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	google, err := os.ReadFile("providers/google.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			return
		}
		c, findings := read([]root{{"mem", fstest.MapFS{
			"servers/s.yaml":        {Data: data},
			"providers/google.yaml": {Data: google},
		}}}, false)
		lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
		for _, found := range findings {
			if found.Line < 1 || found.Line > lines+1 || found.Message == "" {
				t.Errorf("%s (of %d lines)", found, lines)
			}
		}
		s, ok := c.Server("s")
		if !ok && len(findings) == 0 {
			t.Fatal("a file without findings is not loaded")
		}
		_, _ = s.Recipe("nowhere", Inputs{User: map[string]string{"mode": "a"}})
	})
}
