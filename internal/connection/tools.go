package connection

import (
	"fmt"
	"slices"
	"strings"
)

// ToolFilter says which of its server's tools a connection offers to MCP
// clients. A name that ends in * stands for all that begin so.
type ToolFilter struct {
	// Allow, unless it is empty, are the only ones.
	Allow []string `json:"allow,omitempty"`
	// Deny are never offered, whatever Allow says.
	Deny []string `json:"deny,omitempty"`
}

// Bounds of a filter, which lies in the connection's row.
const (
	maxFilterNames = 500
	maxFilterBytes = 16 << 10
)

// NewToolFilter checks what a person or a backend sent. The error is for them.
func NewToolFilter(allow, deny []string) (ToolFilter, error) {
	f := ToolFilter{Allow: tidyNames(allow), Deny: tidyNames(deny)}
	bytes := 0
	for _, name := range slices.Concat(f.Allow, f.Deny) {
		bytes += len(name)
		if i := strings.IndexByte(name, '*'); i >= 0 && i < len(name)-1 {
			return ToolFilter{}, fmt.Errorf("%q: a * stands at the end of a name only", name)
		}
	}
	if bytes > maxFilterBytes || len(f.Allow)+len(f.Deny) > maxFilterNames {
		return ToolFilter{}, fmt.Errorf("there are more than %d tools or %d bytes: name them by their beginning and a *", maxFilterNames, maxFilterBytes)
	}
	return f, nil
}

// tidyNames sorts the names and drops empty and repeated ones.
func tidyNames(names []string) []string {
	var out []string
	for _, name := range names {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Offers reports whether the filter lets a tool through.
func (f ToolFilter) Offers(tool string) bool {
	return (len(f.Allow) == 0 || anyNames(f.Allow, tool)) && !anyNames(f.Deny, tool)
}

// All reports whether the filter lets every tool through.
func (f ToolFilter) All() bool { return len(f.Allow) == 0 && len(f.Deny) == 0 }

func anyNames(patterns []string, tool string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		beginning, open := strings.CutSuffix(p, "*")
		return p == tool || open && strings.HasPrefix(tool, beginning)
	})
}
