package presets

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestServersPage: the table of servers has each that is started here, as it is now,
// and the other one each that runs elsewhere. The figures come from a run of make
// servers.
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
	here, elsewhere, _ := strings.Cut(string(page), "<!-- its end -->")
	rows, remote := 0, 0
	for _, s := range c.Servers() {
		if s.Remote() {
			remote++
			// What the page says of them holds for this shape.
			row := fmt.Sprintf("\n| %s | %s | %s |\n", s.Name, s.Description, s.Server.URL)
			if !s.Discovers() || len(s.OAuthScopes) > 0 || len(s.Parameters) > 0 || !strings.Contains(elsewhere, row) {
				t.Errorf("docs/servers.md does not have, or says what is not true of: %s", row)
			}
			continue
		}
		program, version := s.Server.Package, s.Server.Version
		if s.Own() {
			program, version = "part of Lanyard", saidVersion(t, s)
		} else if !s.Server.Packaged() {
			continue // the demo
		}
		rows++
		begins := fmt.Sprintf("\n| %s | %s | %s | ", s.Name, program, version)
		_, row, found := strings.Cut(here, begins)
		row, _, _ = strings.Cut(row, "\n")
		tools, _ := s.ToolsCount()
		if !found || !strings.Contains(row, fmt.Sprintf(" | %d | ", tools)) {
			t.Errorf("docs/servers.md has no row of %s %s with %d tools: E2E_PRESETS=%[1]s make servers writes it", s.Name, version, tools)
		}
		if s.AuthType == TypeOAuth && !strings.Contains(row, " | "+string(s.Rotation)+" | ") {
			t.Errorf("docs/servers.md says another rotation of %s than %s", s.Name, s.Rotation)
		}
		proven := "called, renewed, called again"
		if s.AuthType != TypeOAuth {
			proven = "called"
		}
		if found && !strings.HasSuffix(row, " | "+proven+" |") {
			t.Errorf("docs/servers.md does not say of %s that it was %s", s.Name, proven)
		}
	}
	// Each table has two lines above its rows.
	if got, want := [2]int{strings.Count(here, "\n| ") - 2, strings.Count(elsewhere, "\n| ") - 2}, [2]int{rows, remote}; got != want {
		t.Errorf("docs/servers.md has %v rows for %v servers", got, want)
	}
}

// saidVersion is the version that a server says it is of.
func saidVersion(t *testing.T, s Server) string {
	t.Helper()
	var said struct{ ServerInfo struct{ Version string } }
	if err := json.Unmarshal(s.Known().Initialized, &said); err != nil {
		t.Fatal(err)
	}
	return said.ServerInfo.Version
}
