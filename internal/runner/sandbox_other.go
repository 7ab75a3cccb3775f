//go:build unix && !linux

package runner

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// systemDirs is empty: nothing is confined to them.
var systemDirs []string

// SandboxMain becomes the program after "--". Only Linux has something to
// confine it with.
func SandboxMain(args []string) error {
	for i, a := range args {
		if a == "--" && i+1 < len(args) {
			err := syscall.Exec(args[i+1], args[i+1:], os.Environ())
			return fmt.Errorf("sandbox: start %s: %w", args[i+1], err)
		}
	}
	return errors.New("sandbox: there is no program to become")
}

func landlocked() bool { return false }

func Harden() error { return nil }
