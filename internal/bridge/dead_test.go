package bridge

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// dead reports whether no process with this id runs. A zombie that nobody has
// collected is dead enough: its new parent is not ours.
func dead(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}
