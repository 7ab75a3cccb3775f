package presets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// catalogueFile is a file of the directory catalogues: what a preset's server
// said of itself when it was started with nothing that could be used.
type catalogueFile struct {
	// Runs is [Server.Runs] of what said it.
	Runs string `json:"runs"`
	// Count is how many tools it listed; nil: it does not list tools. It stands here
	// because a list of servers wants it of all, and the rest of none.
	Count *int `json:"tools_count"`
	mcp.Catalogue
}

// Runs is what a preset runs, on one line: of another one, nothing that this one
// lists need be true.
func (s Server) Runs() string {
	p := s.Server
	parts := []string{p.Registry, p.Package + "@" + p.Version, p.Bin, p.URL}
	parts = append(append(parts, p.Command...), p.Args...)
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		parts = append(parts, name+"="+s.Env[name])
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" || s == "@" })
	return strings.Join(parts, " ")
}

func cataloguePath(server string) string { return path.Join("catalogues", server+".json") }

var errOther = errors.New("it is of another program")

// readCatalogue reads what is known of a server. A missing file is
// [fs.ErrNotExist], one of another version or environment errOther.
func readCatalogue(root fs.FS, s Server) (*mcp.Catalogue, error) {
	data, err := fs.ReadFile(root, cataloguePath(s.Name))
	if err != nil {
		return nil, err
	}
	var f catalogueFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	if f.Runs != s.Runs() {
		return nil, fmt.Errorf("%w: %s", errOther, f.Runs)
	}
	c, err := f.Tidy()
	if err != nil {
		return nil, err
	}
	if n, _ := CountTools(c); f.Count != nil && *f.Count != n {
		return nil, fmt.Errorf("it lists %d tools, and says that they are %d", n, *f.Count)
	}
	return &c, nil
}

// countOf is how many tools the beginning of the file says that the server lists.
func countOf(root fs.FS, s Server) (int, bool) {
	file, err := root.Open(cataloguePath(s.Name))
	if err != nil {
		return 0, false
	}
	defer file.Close()
	d := json.NewDecoder(file)
	var runs string
	var count int
	for _, want := range []struct {
		token json.Token
		value any
	}{{json.Delim('{'), nil}, {"runs", &runs}, {"tools_count", &count}} {
		if got, err := d.Token(); err != nil || got != want.token {
			return 0, false
		}
		if want.value != nil && d.Decode(want.value) != nil {
			return 0, false
		}
	}
	return count, runs == s.Runs()
}

// WriteCatalogue is the file for what a server said of itself: a line for each
// thing that it lists, so that changes can be read.
func WriteCatalogue(s Server, c mcp.Catalogue) ([]byte, error) {
	c, err := c.Tidy()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	runs, err := json.Marshal(s.Runs())
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(&out, "{\"runs\":%s", runs)
	if n, ok := CountTools(c); ok {
		fmt.Fprintf(&out, ",\"tools_count\":%d", n)
	}
	for _, part := range []struct {
		name string
		raw  json.RawMessage
	}{{"initialized", c.Initialized}, {"discovered", c.Discovered}, {"tools", c.Tools}, {"prompts", c.Prompts}, {"resources", c.Resources}, {"templates", c.Templates}} {
		if part.raw == nil {
			continue
		}
		fmt.Fprintf(&out, ",\n%q:", part.name)
		var list []json.RawMessage
		if part.raw[0] != '[' {
			out.Write(part.raw)
			continue
		}
		if err := json.Unmarshal(part.raw, &list); err != nil {
			return nil, err
		}
		out.WriteByte('[')
		for i, entry := range list {
			if i > 0 {
				out.WriteByte(',')
			}
			out.WriteByte('\n')
			out.Write(entry)
		}
		out.WriteByte(']')
	}
	out.WriteString("}\n")
	return out.Bytes(), nil
}

// findCatalogue reads what is known of a server: beside its preset, or where an
// earlier preset of that name has it, if that runs the same. Neither: nil.
func findCatalogue(roots []root, s Server) (*mcp.Catalogue, error) {
	for i, here := range slices.Backward(roots) {
		known, err := readCatalogue(here.fs, s)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errOther) && i < len(roots)-1 {
			continue
		}
		return known, err
	}
	return nil, nil
}

// addCatalogue has the server's catalogue read when it is first wanted: the
// shipped ones are a megabyte, of which one start of a program wants little.
func (s *Server) addCatalogue(roots []root) {
	of := *s
	s.Catalogue = sync.OnceValues(func() (*mcp.Catalogue, error) { return findCatalogue(roots, of) })
	of.Catalogue = s.Catalogue
	s.count = sync.OnceValues(func() (int, bool) {
		for _, here := range slices.Backward(roots) {
			if n, ok := countOf(here.fs, of); ok {
				return n, true
			}
		}
		return of.countTools()
	})
}

// judgeCatalogue reads it now. A server of our own that is hosted must have one;
// another one is asked when it runs.
func (r *reader) judgeCatalogue(s Server, p page, shipped bool) {
	if r.remaking {
		return
	}
	known, err := s.Catalogue()
	switch {
	case err != nil:
		r.add(Finding{p.file, p.line("$.server"), fmt.Sprintf("%s cannot be used: %v: lanyard presets catalogue %s makes it anew", cataloguePath(s.Name), err, s.Name)})
	case known == nil && shipped && s.Server.Registry == RegistryNPM:
		r.add(Finding{p.file, p.line("$.server"), fmt.Sprintf("there is no %s: lanyard presets catalogue %s makes it", cataloguePath(s.Name), s.Name)})
	}
}
