package presets

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

// TestRecords: what is written for the MCP Registry says of each server all that
// its preset does, and keeps to the schema where that bounds a value.
func TestRecords(t *testing.T) {
	t.Parallel()
	c, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "servers"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Servers() {
		if s.Server.Registry == RegistryCommand {
			continue
		}
		record, err := s.Record("io.github.ada/" + s.Name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		if n := utf8.RuneCountInString(record.Description); n > maxRecordDescription {
			t.Errorf("%s: the description has %d characters", s.Name, n)
		}
		read, err := ReadRecord(data)
		if err != nil {
			t.Fatal(err)
		}
		draft, open, err := read.Draft()
		if err != nil || len(open) > 0 {
			t.Fatalf("%s: %v, and it asks for %v", s.Name, err, open)
		}
		// The name is the record's, without what most of them end in.
		draft.Name = s.Name
		text, err := draft.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "servers", s.Name+".yaml"), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// As overlays they are the same servers: with the locks that come with Lanyard
	// and what is known of them.
	again, err := Load([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Servers() {
		got, _ := again.Server(s.Name)
		if got.Runs() != s.Runs() || got.Rotation != s.Rotation || len(got.OAuthScopes) != len(s.OAuthScopes) ||
			len(got.OAuthToEnvMapping) != len(s.OAuthToEnvMapping) || len(got.CredentialFiles) != len(s.CredentialFiles) {
			t.Errorf("%s came back as another one: %s", s.Name, got.Runs())
		}
	}
}

func TestNameFor(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{
		"@notionhq/notion-mcp-server": "notion", "io.github.ada/weather-mcp": "weather", "mcp-server": "mcp-server", "a.b/Big_Engine": "big-engine",
	} {
		if got := NameFor(from); got != want {
			t.Errorf("%s: %q", from, got)
		}
	}
}

// TestCheckPackage: a record is anybody's, and a package manager takes more than
// names for names.
func TestCheckPackage(t *testing.T) {
	t.Parallel()
	for _, good := range []Program{
		{Registry: "npm", Package: "@acme/notes", Version: "1.2.3"}, {Registry: "pypi", Package: "acme-notes", Version: "1.2"},
	} {
		if err := good.CheckPackage(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []Program{
		{Registry: "pypi", Package: "notes\n--index-url https://evil.example\nnotes", Version: "1.2"},
		{Registry: "pypi", Package: "notes", Version: "1.2 --index-url https://evil.example"},
		{Registry: "pypi", Package: "notes @ https://evil.example/notes.whl", Version: "1.2"},
		{Registry: "npm", Package: "notes", Version: "git+https://evil.example/notes.git"},
		{Registry: "npm", Package: "notes", Version: "latest"},
		{Registry: "npm", Package: "../notes", Version: "1.2.3"},
		{Registry: "npm", Package: "--registry=https://evil.example", Version: "1.2.3"},
		{Registry: "npm"},
	} {
		if err := bad.CheckPackage(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestTextsOfARecord: none of them ends the file before its end, or says more in it
// than it did in the record.
func TestTextsOfARecord(t *testing.T) {
	t.Parallel()
	plain := Draft{Name: "weather", DisplayName: "Weather", Description: "Says how it is", AuthType: TypeAPIKey, Server: DraftProgram{Registry: RegistryNPM, Package: "weather", Version: "1.0.0"}}
	if _, err := plain.YAML(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"It is\r---\rname: other", "It is\r...\r", "a\n---\nb", "x: y # z", "| \n  a", "\u2028---\u2028a", "\u0085---\u0085b", "*a &b !c"} {
		d := plain
		d.Description = text
		file, err := d.YAML()
		if err != nil {
			continue // refused
		}
		var back Draft
		if err := yaml.Unmarshal(file, &back); err != nil || back.Description != text || back.Server.Package != "weather" {
			t.Errorf("%q comes back as %+v, %v", text, back, err)
		}
	}
}
