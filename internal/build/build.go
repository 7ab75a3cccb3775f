// Package build tells what a program was built from. Programs that are used
// together compare it, because they are made and tested together alone.
package build

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// source is a checksum of the source, where the linker was told one: of what
// was built beside each other without a commit between, nothing else tells.
var source string

// Version is what a program was built from.
type Version struct {
	Version string `json:"version"`
	// Revision is the commit; empty for a build outside of a checkout.
	Revision string `json:"revision,omitempty"`
	// Modified says that the checkout differed from it.
	Modified bool `json:"modified,omitempty"`
	// Checksum is of the source; empty: nobody made one.
	Checksum string `json:"checksum,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Own is the running program's.
func Own() Version {
	info, ok := debug.ReadBuildInfo()
	if !ok { // built without modules
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	v := of(info)
	v.Checksum = source
	return v
}

func of(info *debug.BuildInfo) Version {
	v := Version{Version: info.Main.Version, Go: info.GoVersion, Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if v.Version == "" {
		v.Version = "(devel)"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// Source is the version without what it was built by and for.
func (v Version) Source() string {
	parts := []string{v.Version}
	if v.Revision != "" {
		parts = append(parts, v.Revision)
	}
	if v.Modified {
		parts = append(parts, "(modified)")
	}
	if v.Checksum != "" {
		parts = append(parts, "source "+v.Checksum)
	}
	return strings.Join(parts, " ")
}

// String is for people.
func (v Version) String() string { return strings.Join([]string{v.Source(), v.Go, v.Platform}, " ") }
