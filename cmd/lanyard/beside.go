package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lanyardhq/lanyard/internal/build"
)

// besideName is the small program, cmd/runner, which does what is done beside a
// server with a third of the memory.
const besideName = "lanyard-runner"

// besidePatience is for a machine that is busy with other things.
const besidePatience = 20 * time.Second

// beside returns the path of the small program in the directory of this one;
// empty: there is none, and this one does its work by itself. One that was built
// from something else is an error: who replaced one of the two must hear of it
// before anything is served.
func beside(ctx context.Context) (string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", nil // this file was replaced or removed: there is nothing beside it
	}
	return besideIn(ctx, filepath.Dir(self), ownerOf(self))
}

// besideIn is beside for a program of this owner in dir. Anybody may put a file
// into a directory such as /tmp: one is used only where those who can write it can
// write this program, too, or are this user.
func besideIn(ctx context.Context, dir string, owner int) (string, error) {
	path := filepath.Join(dir, besideName)
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("look for %s: %w", path, err)
	case !slices.Contains([]int{0, os.Geteuid(), owner}, ownerOf(path)):
		return "", fmt.Errorf("%s belongs to another user than this lanyard, which would run it: remove it, or install both", path)
	case info.Mode().IsRegular() && info.Mode().Perm()&0o002 != 0:
		return "", fmt.Errorf("everybody can write %s, which this lanyard would run: chmod o-w, or remove it", path)
	}
	ctx, cancel := context.WithTimeout(ctx, besidePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Env = []string{} // not ours, which may hold secrets
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	theirs := strings.TrimSpace(strings.TrimPrefix(string(out), besideName))
	if ours := build.Own().String(); theirs != ours {
		return "", fmt.Errorf("%s is %.200s, and this lanyard is %s: install both of one version (make program builds both), or remove that one", path, theirs, ours)
	}
	return path, nil
}

// ownerOf is the user to whom a file, or a link itself, belongs; -1: that cannot
// be told.
func ownerOf(path string) int {
	info, err := os.Lstat(path)
	if err != nil {
		return -1
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(stat.Uid)
}
