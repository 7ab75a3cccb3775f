package presets

import (
	"fmt"
	"testing"
	"testing/fstest"
)

// TestCountIsReadAlone: a list of servers wants how many tools each has, and reads
// no more of its catalogue.
func TestCountIsReadAlone(t *testing.T) {
	t.Parallel()
	s := Server{Name: "s", Server: Program{Registry: RegistryNPM, Package: "s", Version: "1.0.0"}}
	for name, test := range map[string]struct {
		file  string
		count int
		ok    bool
	}{
		"of this program":    {`{"runs":"npm s@1.0.0","tools_count":7,and no more`, 7, true},
		"of another program": {`{"runs":"npm s@2.0.0","tools_count":7}`, 0, false},
		"without it":         {`{"runs":"npm s@1.0.0","tools":[{"name":"a"}]}`, 0, false},
		"no number":          {`{"runs":"npm s@1.0.0","tools_count":"7"}`, 0, false},
		"no object":          {`[]`, 0, false},
		"nothing":            {``, 0, false},
	} {
		root := fstest.MapFS{cataloguePath("s"): {Data: []byte(test.file)}}
		if n, ok := countOf(root, s); ok != test.ok || ok && n != test.count {
			t.Errorf("%s: %d, %v", name, n, ok)
		}
	}
	if _, ok := countOf(fstest.MapFS{}, s); ok {
		t.Error("there is no file")
	}
	for said, ok := range map[int]bool{1: true, 2: false} {
		file := fmt.Sprintf(`{"runs":"npm s@1.0.0","tools_count":%d,"initialized":{"capabilities":{}},"tools":[{"name":"a"}]}`, said)
		if _, err := readCatalogue(fstest.MapFS{cataloguePath("s"): {Data: []byte(file)}}, s); (err == nil) != ok {
			t.Errorf("one tool, said to be %d: %v", said, err)
		}
	}
}

// TestShippedCounts: what stands at the beginning of the shipped catalogues is what
// they list, and is there.
func TestShippedCounts(t *testing.T) {
	t.Parallel()
	c, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Servers() {
		if s.Known() == nil {
			continue
		}
		quick, ok := s.ToolsCount()
		whole, listed := s.countTools()
		read, _ := countOf(files, s)
		if ok != listed || quick != whole || listed && read != whole {
			t.Errorf("%s: %d at the beginning, %d in all, counted %d", s.Name, read, whole, quick)
		}
	}
}
