package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/presets"
)

func (c *cli) presetsTryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "try NAME",
		Short: "Start a preset's server and say what it offers and what it reads",
		Long: `Install the server of the named preset and start it as a task would, with
credentials that nothing accepts. Say how long that takes, how much memory it
needs, what tools it lists, and what it read of what the preset gives it.

What it reads is noted in servers that run on Node.js or Python, from their
start until they have said what they offer. What they read only when a tool is
called is not seen, so that "not read" does not mean that it is of no use. Of
other programs nothing is said.`,
		Example: `  lanyard presets try notion
  LANYARD_PRESETS=./ours lanyard presets try weather`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(c.getenv)
			if err != nil {
				return err
			}
			return c.tryPreset(cmd, cfg, args[0])
		},
	}
}

func (c *cli) tryPreset(cmd *cobra.Command, cfg config.Config, name string) error {
	loaded, err := presets.LoadForCatalogues(cfg.Presets)
	if err != nil {
		return err
	}
	s, ok := loaded.Server(name)
	switch {
	case !ok:
		return noPreset(name)
	case s.Server.Registry == presets.RegistryRemote:
		return fmt.Errorf("the server of %q runs elsewhere and cannot be started here", name)
	}
	t, err := try(cmd.Context(), cfg, loaded, s, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if c.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(t)
	}
	return t.print(cmd.OutOrStdout())
}

// trial is what was seen of a server that was tried.
type trial struct {
	Server  string   `json:"server"`
	Package string   `json:"package,omitempty"`
	Version string   `json:"version,omitempty"`
	Tools   []string `json:"tools"`
	// StartMS is from the start of its process to its answer to initialize.
	StartMS int64 `json:"start_ms"`
	// MemoryMB is of its processes, once its tools were listed; 0: not known here.
	MemoryMB int64 `json:"memory_mb,omitempty"`
	// Observed says that reads were noted at all. Read and Unread are of what the
	// preset gives it: variables, and credential files as credential_files.NAME.
	Observed bool     `json:"observed"`
	Read     []string `json:"read"`
	Unread   []string `json:"unread"`
}

func try(ctx context.Context, cfg config.Config, loaded *presets.Catalogue, s presets.Server, logger *slog.Logger) (trial, error) {
	notes, err := newNotes(s)
	if err != nil {
		return trial{}, err
	}
	defer notes.remove()
	var t trial
	seen := func(started time.Duration, tasks string) {
		t = trial{Server: s.Name, Package: s.Server.Package, Version: s.Server.Version, StartMS: started.Milliseconds(), MemoryMB: memoryBelow() >> 20}
		notes.fill(&t, tasks)
	}
	known, err := startServer(ctx, cfg, loaded, s, notes.environment(cfg.ServerEnv), notes.dir, seen, logger)
	if err != nil {
		return trial{}, err
	}
	var tools []struct{ Name string }
	if err := json.Unmarshal(known.Tools, &tools); known.Tools != nil && err != nil {
		return trial{}, errors.New("what the server lists as its tools cannot be read")
	}
	t.Tools = []string{}
	for _, tool := range tools {
		t.Tools = append(t.Tools, tool.Name)
	}
	return t, nil
}

func (t trial) print(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s", t.Server)
	if t.Package != "" {
		fmt.Fprintf(&out, " (%s %s)", t.Package, t.Version)
	}
	fmt.Fprintf(&out, " started in %d ms", t.StartMS)
	if t.MemoryMB > 0 {
		fmt.Fprintf(&out, ", needs %d MB", t.MemoryMB)
	}
	fmt.Fprintf(&out, " and lists tools: %d\n", len(t.Tools))
	for _, tool := range t.Tools {
		fmt.Fprintf(&out, "  %s\n", printable(tool))
	}
	switch {
	case !t.Observed:
		out.WriteString("what it read cannot be seen from here\n")
	default:
		fmt.Fprintf(&out, "read: %s\n", printable(listOr(t.Read, "nothing")))
		fmt.Fprintf(&out, "not read before a tool is called: %s\n", printable(listOr(t.Unread, "nothing")))
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func listOr(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ", ")
}
