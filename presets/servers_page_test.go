package presets

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestServersPage: the table of servers has each that is installed, as it is now.
// Its figures come from a run of make servers.
func TestServersPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/servers.md")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, s := range c.Servers() {
		if !s.Server.Packaged() {
			continue
		}
		rows++
		begins := fmt.Sprintf("\n| %s | %s | %s | ", s.Name, s.Server.Package, s.Server.Version)
		_, row, found := strings.Cut(string(page), begins)
		row, _, _ = strings.Cut(row, "\n")
		tools, _ := s.ToolsCount()
		if !found || !strings.Contains(row, fmt.Sprintf(" | %d | ", tools)) {
			t.Errorf("docs/servers.md has no row of %s %s with %d tools: make servers writes it", s.Name, s.Server.Version, tools)
		}
		if s.AuthType == TypeOAuth && !strings.Contains(row, " | "+string(s.Rotation)+" | ") {
			t.Errorf("docs/servers.md says another rotation of %s than %s", s.Name, s.Rotation)
		}
	}
	if got := strings.Count(string(page), "\n| ") - 2; got != rows {
		t.Errorf("docs/servers.md has %d rows for %d servers", got, rows)
	}
}
