package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// shipped is the deployment of settings.yaml as it is, with a few of its servers,
// which are all deployed alike; full has every option.
const (
	shipped = "testdata/few.yaml"
	full    = "testdata/full.yaml"
)

// assembly is what a settings file is synthesized to.
type assembly struct {
	dir           string
	settings      Settings
	data, service template
}

// synthesized keeps assemblies: the CDK takes its seconds.
var synthesized sync.Map

func synth(t *testing.T, file string) assembly {
	t.Helper()
	once, _ := synthesized.LoadOrStore(file, sync.OnceValues(func() (assembly, error) { return synthesize(file) }))
	a, err := once.(func() (assembly, error))()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// one at a time: they share Node.
var synthesizing sync.Mutex

func synthesize(file string) (a assembly, err error) {
	synthesizing.Lock()
	defer synthesizing.Unlock()
	if a.settings, err = LoadSettings(file); err != nil {
		return a, err
	}
	dist := filepath.Join(temporary, "dist")
	for _, name := range []string{"connect/bootstrap", "callback/bootstrap", "refresh/bootstrap", "mcprun/bootstrap", "runner/runner", "server/server"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dist, name)), 0o755); err != nil {
			return a, err
		}
		if err := os.WriteFile(filepath.Join(dist, name), []byte(name), 0o755); err != nil {
			return a, err
		}
	}
	a.dir = filepath.Join(temporary, strings.ReplaceAll(file, "/", "-"))
	if err = Synth(a.settings, &Assets{Dist: dist, Image: "../image"}, a.dir); err != nil {
		return a, err
	}
	for name, into := range map[string]*template{"data": &a.data, "service": &a.service} {
		data, err := os.ReadFile(filepath.Join(a.dir, a.settings.Name+"-"+name+".template.json"))
		if err != nil {
			return a, err
		}
		if err := json.Unmarshal(data, into); err != nil {
			return a, err
		}
	}
	return a, nil
}

var temporary string

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if temporary, err = os.MkdirTemp("", "lanyard-infra-test-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(temporary)
	os.Exit(code)
}

type template struct {
	Resources map[string]resource
	Outputs   map[string]struct{ Value any }
}

type resource struct {
	Type       string
	Properties map[string]any
	Metadata   map[string]any
	// What stays when the resource, or its stack, goes.
	DeletionPolicy, UpdateReplacePolicy string
}

// of returns the logical ids of a type of resource, sorted.
func (t template) of(kind string) (ids []string) {
	for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
		if t.Resources[id].Type == kind {
			ids = append(ids, id)
		}
	}
	return ids
}

// at finds a value below a resource's properties; nil if there is none.
func (r resource) at(path ...string) any {
	var v any = r.Properties
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

var (
	hash     = regexp.MustCompile(`\b([A-Za-z][A-Za-z0-9]*?)[0-9A-F]{8}\b`)
	exported = regexp.MustCompile(`(lanyard-data|full-data):ExportsOutput(Ref|FnGetAtt)([A-Za-z]+?)[0-9A-F]{8}(Arn)?[0-9A-F]{8}`)
	assetID  = regexp.MustCompile(`[0-9a-f]{64}`)
)

// plain is a logical id, or a text with some, without CDK's hashes.
func plain(s string) string {
	s = exported.ReplaceAllString(s, "data.$3$4")
	return assetID.ReplaceAllString(hash.ReplaceAllString(s, "$1"), "…")
}

// flat is a value with its references as text.
func flat(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool, float64:
		return fmt.Sprint(v)
	case []any:
		var out []string
		for _, x := range v {
			out = append(out, flat(x))
		}
		return strings.Join(out, " ")
	case map[string]any:
		if len(v) == 1 {
			for name, arg := range v {
				switch name {
				case "Ref":
					return "${" + plain(arg.(string)) + "}"
				case "Fn::GetAtt":
					return "${" + plain(strings.ReplaceAll(flat(arg), " ", ".")) + "}"
				case "Fn::ImportValue":
					return "${" + plain(flat(arg)) + "}"
				case "Fn::Sub":
					return plain(flat(arg))
				case "Fn::Join":
					parts := arg.([]any)
					var out []string
					for _, x := range parts[1].([]any) {
						out = append(out, flat(x))
					}
					return strings.Join(out, flat(parts[0]))
				}
			}
		}
		data, _ := json.Marshal(v)
		return string(data)
	}
	return fmt.Sprint(v)
}

// golden compares lines with testdata/NAME; -update writes it.
func golden(t *testing.T, name string, lines []string) {
	t.Helper()
	file, got := filepath.Join("testdata", name), strings.Join(lines, "\n")+"\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	before := strings.Split(string(want), "\n")
	for _, line := range lines {
		if !slices.Contains(before, line) {
			t.Errorf("+ %s", line)
		}
	}
	for _, line := range before {
		if !slices.Contains(strings.Split(got, "\n"), line) {
			t.Errorf("- %s", line)
		}
	}
	t.Errorf("%s differs. If that is meant: go test . -update, and read the difference", file)
}
