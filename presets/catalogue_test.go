package presets

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// TestCatalogues: what comes with Lanyard is known without being started, and is
// what the preset says.
func TestCatalogues(t *testing.T) {
	t.Parallel()
	c, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Servers() {
		if s.Server.Registry == RegistryRemote {
			continue
		}
		if s.Known() == nil {
			t.Errorf("%s: nothing is known of it", s.Name)
			continue
		}
		var tools []struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(s.Known().Tools, &tools); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, tool := range tools {
			names = append(names, tool.Name)
		}
		said := slices.Clone(s.Tools)
		slices.Sort(names)
		slices.Sort(said)
		if said != nil && !slices.Equal(names, said) {
			t.Errorf("%s: the preset names the tools\n%v, its catalogue\n%v", s.Name, said, names)
		}
		if n, ok := s.ToolsCount(); !ok || n != len(names) {
			t.Errorf("%s: counted %d, %v", s.Name, n, ok)
		}
		data, err := WriteCatalogue(s, *s.Known())
		if err != nil {
			t.Fatal(err)
		}
		if there, err := files.ReadFile(cataloguePath(s.Name)); err != nil || string(there) != string(data) {
			t.Errorf("%s: the file is not as it is written: %v", s.Name, err)
		}
	}
}

const plainServer = `name: s
display_name: S
description: Serves.
auth_type: none
server:
  registry: npm
  package: s
  version: 1.0.0
`

// plainRoot is a root with one server, its lock, and a catalogue of what runs.
func plainRoot(t *testing.T, catalogue string) fstest.MapFS {
	t.Helper()
	root := fstest.MapFS{
		"servers/s.yaml":            {Data: []byte(plainServer)},
		"locks/s/package.json":      {Data: []byte(`{"dependencies":{"s":"1.0.0"}}`)},
		"locks/s/package-lock.json": {Data: []byte(`{"lockfileVersion":3,"packages":{"node_modules/s":{"version":"1.0.0","integrity":"sha512-x","bin":{"s":"s.js"}}}}`)},
	}
	if catalogue != "" {
		root["catalogues/s.json"] = &fstest.MapFile{Data: []byte(catalogue)}
	}
	return root
}

func TestCatalogueIsOfThisProgram(t *testing.T) {
	t.Parallel()
	const good, other = `{"runs":"npm s@1.0.0","initialized":{"capabilities":{}},"tools":[{"name":"a"}]}`, `{"runs":"npm s@0.9.0","initialized":{},"tools":[]}`
	for name, test := range map[string]struct {
		roots   []string // catalogues, by root; the first is ours
		finding string
		known   bool
	}{
		"ours":                     {[]string{good}, "", true},
		"ours, missing":            {[]string{""}, "there is no catalogues/s.json", false},
		"ours, of another version": {[]string{other}, "another program: npm s@0.9.0", false},
		"ours, malformed":          {[]string{`{`}, "cannot be used", false},
		"ours, no catalogue":       {[]string{`{"runs":"npm s@1.0.0","tools":{}}`}, "cannot be used", false},
		"an overlay's":             {[]string{other, good}, "", true},
		"an overlay's, of another": {[]string{good, other}, "another program: npm s@0.9.0", false},
		"an overlay without":       {[]string{good, ""}, "", true},
		"an overlay of another":    {[]string{other, ""}, "", false},
	} {
		var roots []root
		for i, c := range test.roots {
			roots = append(roots, root{string(rune('0' + i)), plainRoot(t, c)})
		}
		c, findings := read(roots, false)
		// What is wrong with the first root alone is not the case.
		last := string(rune('0' + len(roots) - 1))
		findings = slices.DeleteFunc(findings, func(f Finding) bool { return !strings.HasPrefix(f.File, last) })
		var said string
		for _, f := range findings {
			said += f.String() + "\n"
		}
		s, _ := c.Server("s")
		if (said == "") != (test.finding == "") || !strings.Contains(said, test.finding) || (s.Known() != nil) != test.known {
			t.Errorf("%s: known %v, findings %s", name, s.Known() != nil, said)
		}
	}
	if _, findings := read([]root{{"0", plainRoot(t, other)}}, true); len(findings) > 0 {
		t.Errorf("whoever makes it anew is told %v", findings)
	}
}

// TestCatalogueIsReadWhenWanted: a program that starts reads none of those that it
// comes with, and judges an overlay's.
func TestCatalogueIsReadWhenWanted(t *testing.T) {
	t.Parallel()
	const good, broken = `{"runs":"npm s@1.0.0","initialized":{"capabilities":{}},"tools":[{"name":"a"}]}`, `{`
	start := func(catalogues ...string) (Server, []Finding) {
		var roots []root
		for i, c := range catalogues {
			roots = append(roots, root{string(rune('0' + i)), plainRoot(t, c)})
		}
		r := reader{linted: true}
		c, findings := r.all(roots)
		s, _ := c.Server("s")
		return s, findings
	}
	if s, findings := start(broken); len(findings) > 0 || s.Known() != nil {
		t.Errorf("it was read at once: %v", findings)
	}
	s, findings := start(good)
	first, again := s.Known(), s.Known()
	if len(findings) > 0 || first == nil || first != again {
		t.Errorf("read once, when wanted: %v %v", first, findings)
	}
	if _, findings := start(good, broken); len(findings) != 1 {
		t.Errorf("an overlay's: %v", findings)
	}
}

// TestRuns: whatever may change what a server lists is in it.
func TestRuns(t *testing.T) {
	t.Parallel()
	base := Server{Env: map[string]string{"A": "1"}, Server: Program{Registry: RegistryNPM, Package: "p", Version: "1", Args: []string{"x"}}}
	seen := map[string]bool{base.Runs(): true}
	for _, change := range []func(*Server){
		func(s *Server) { s.Server.Version = "2" }, func(s *Server) { s.Server.Package = "q" }, func(s *Server) { s.Server.Args = []string{"y"} },
		func(s *Server) { s.Env["A"] = "2" }, func(s *Server) { s.Server.Bin = "b" }, func(s *Server) { s.Server.Command = []string{"c"} },
		func(s *Server) { s.Server.Registry = RegistryPyPI }, func(s *Server) { s.Server.URL = "https://s.test" },
	} {
		s := base
		s.Env = maps.Clone(base.Env)
		if change(&s); seen[s.Runs()] {
			t.Errorf("seen before: %s", s.Runs())
		}
		seen[s.Runs()] = true
	}
}

func TestWriteCatalogueRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []mcp.Catalogue{{}, {Tools: []byte(`[]`)}, {Initialized: []byte(`{}`), Tools: []byte(`{}`)}, {Initialized: []byte(`{`)}} {
		if data, err := WriteCatalogue(Server{}, c); err == nil {
			t.Errorf("%s", data)
		}
	}
}

// read loads and judges everything.
func read(roots []root, remaking bool) (*Catalogue, []Finding) {
	r := reader{remaking: remaking}
	return r.all(roots)
}
