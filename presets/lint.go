package presets

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Finding is one thing that is wrong with a preset file.
type Finding struct {
	File    string
	Line    int
	Message string
}

// String is file:line: message, as editors and CI annotate it.
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message)
}

// Lint reports everything that is wrong with the embedded presets overlaid by
// dirs, by file and line. None means that [Load] accepts them.
func Lint(dirs []string) []Finding {
	r := reader{linted: len(dirs) > 0}
	_, findings := r.all(roots(dirs))
	return findings
}

// compareFindings orders by file, line and message.
func compareFindings(a, b Finding) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
}

// page is a preset file as it was parsed, kept to find lines by.
type page struct {
	file string
	root ast.Node
}

// parse reads one YAML document.
func parse(file string, data []byte) (page, []Finding) {
	p := page{file: file}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		return p, []Finding{p.failure(err)}
	}
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		if p.root != nil {
			return p, []Finding{{file, doc.Body.GetToken().Position.Line, "a second document: a file holds one preset"}}
		}
		p.root = doc.Body
	}
	if p.root == nil {
		return p, []Finding{{file, 1, "the file is empty"}}
	}
	return p, nil
}

// decode fills v, and reports whether v can be judged further: it can when
// nothing but unknown keys was found. The decoder stops at the first unknown
// key, in no certain order, so each is taken out before the next try.
func (p page) decode(v any) ([]Finding, bool) {
	var findings []Finding
	for {
		err := yaml.NewDecoder(strings.NewReader(""), yaml.Strict()).DecodeFromNode(p.root, v)
		if err == nil {
			return findings, true
		}
		findings = append(findings, p.failure(err))
		var unknown *yaml.UnknownFieldError
		if !errors.As(err, &unknown) || !dropKey(p.root, unknown.Token) {
			return findings, false
		}
	}
}

// failure places an error of the YAML library.
func (p page) failure(err error) Finding {
	f := Finding{File: p.file, Line: 1, Message: err.Error()}
	var placed yaml.Error
	if errors.As(err, &placed) {
		f.Message = placed.GetMessage()
		var mistyped *yaml.TypeError
		if errors.As(err, &mistyped) {
			f.Message = "does not fit here: " + wanted(mistyped.DstType.String())
		}
		if t := placed.GetToken(); t != nil && t.Position != nil {
			f.Line = t.Position.Line
		}
	}
	return f
}

// wanted says in words what a Go type holds.
func wanted(goType string) string {
	switch {
	case strings.HasPrefix(goType, "[]"):
		return "a list is wanted"
	case strings.HasPrefix(goType, "float"), strings.HasPrefix(goType, "int"):
		return "a number is wanted"
	case goType == "bool":
		return "true or false is wanted"
	case strings.HasPrefix(goType, "map["), strings.HasPrefix(goType, "presets.") && goType != "presets.AuthType" && goType != "presets.Duration":
		return "a mapping is wanted"
	}
	return "text is wanted"
}

// problems places what Check found.
func (p page) problems(found []Problem) []Finding {
	var out []Finding
	for _, problem := range found {
		out = append(out, Finding{p.file, p.line(problem.Path), problem.Message})
	}
	return out
}

// line is where a path like $.parameters.'a.b'.list[2] stands: that of its
// key, or of the nearest thing above it when it is missing.
func (p page) line(path string) int {
	node, line := p.root, 1
	for _, name := range segments(path) {
		below, at := step(node, name)
		if below == nil {
			return line
		}
		node, line = below, at
	}
	return line
}

// unquoted reports values of the mapping at a path that YAML reads as something
// other than the text that is there: 1.50 as 1.5, 0x10 as 16, ~ as nothing.
func (p page) unquoted(path string, read map[string]string) []Finding {
	node, _ := step(p.root, path)
	m, ok := node.(*ast.MappingNode)
	if !ok {
		return nil
	}
	var out []Finding
	for _, entry := range m.Values {
		switch entry.Value.(type) {
		case *ast.FloatNode, *ast.IntegerNode, *ast.BoolNode, *ast.NullNode:
			name, text := entry.Key.GetToken(), entry.Value.GetToken().Value
			if got, ok := read[name.Value]; ok && got != text {
				out = append(out, Finding{p.file, name.Position.Line, fmt.Sprintf("YAML reads %s as %q: quote it", text, got)})
			}
		}
	}
	return out
}

// step goes from a node to what name means in it: a key or an index.
func step(node ast.Node, name string) (below ast.Node, line int) {
	switch n := node.(type) {
	case *ast.AnchorNode:
		return step(n.Value, name)
	case *ast.MappingNode:
		for _, entry := range n.Values {
			if key := entry.Key.GetToken(); key.Value == name {
				return entry.Value, key.Position.Line
			}
		}
	case *ast.SequenceNode:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(n.Values) {
			return n.Values[i], n.Values[i].GetToken().Position.Line
		}
	}
	return nil, 0
}

// segments splits a path: names after a dot, quoted where they hold dots, and
// indices in brackets.
func segments(path string) []string {
	var out []string
	rest := strings.TrimPrefix(path, "$")
	for rest != "" {
		var name string
		switch {
		case strings.HasPrefix(rest, ".'"):
			name, rest, _ = strings.Cut(rest[2:], "'")
		case rest[0] == '[':
			name, rest, _ = strings.Cut(rest[1:], "]")
		default:
			rest = strings.TrimPrefix(rest, ".")
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			name, rest = rest[:end], rest[end:]
		}
		out = append(out, name)
	}
	return out
}

// dropKey takes the entry whose key is the token out of the tree.
func dropKey(root ast.Node, key *token.Token) bool {
	d := &dropper{key: key}
	ast.Walk(d, root)
	return d.done
}

type dropper struct {
	key  *token.Token
	done bool
}

// Visit implements [ast.Visitor].
func (d *dropper) Visit(node ast.Node) ast.Visitor {
	if m, ok := node.(*ast.MappingNode); ok {
		before := len(m.Values)
		m.Values = slices.DeleteFunc(m.Values, func(v *ast.MappingValueNode) bool {
			return v.Key.GetToken() == d.key
		})
		d.done = d.done || len(m.Values) < before
	}
	if d.done {
		return nil
	}
	return d
}
