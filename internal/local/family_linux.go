package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// awaitExit waits until a child has ended, and leaves it to be waited for: its
// process id, and that of its session, is not used again before.
func awaitExit(pid int) {
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
}

// endFamily kills what is left of a task: the processes of its session, or 0 if
// that is not known, and those that work in its directory. A runner that was
// killed takes its servers along, but not what they have started.
func endFamily(session int, dir string) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		dir = "" // there is none to work in
	}
	for deadline := time.Now().Add(killGrace); killFamily(session, dir) && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond) // they take a moment, and may have forked meanwhile
	}
}

// killFamily reports whether there was anything to kill.
func killFamily(session int, dir string) (found bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// It stands for this very process, even if the id is used again.
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		if inFamily(pid, session, dir) {
			found = p.Kill() == nil || found
		}
		_ = p.Release()
	}
	return found
}

func inFamily(pid, session int, dir string) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The name, in parentheses, may hold anything; see proc_pid_stat(5).
	var state string
	var parent, group, its, terminal int
	rest := stat[bytes.LastIndexByte(stat, ')')+1:]
	if _, err := fmt.Sscan(string(rest), &state, &parent, &group, &its, &terminal); err != nil || state == "Z" || state == "X" {
		return false
	}
	if session != 0 && its == session {
		return true
	}
	// A person may be looking around there; no task has a terminal.
	if dir == "" || terminal != 0 {
		return false
	}
	work, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && (work == dir || strings.HasPrefix(work, dir+"/"))
}
