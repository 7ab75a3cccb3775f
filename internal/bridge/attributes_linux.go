package bridge

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes give a server its own process group and user, and let it end with
// us.
func attributes(uid, gid uint32) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if uid != 0 {
		a.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return a
}

// bound takes from this thread, and so from what it starts, every capability
// that a program could be given at its start. That wants CAP_SETPCAP: who lacks
// it, as a task on Fargate does, leaves in the set the few that it has itself,
// and that none is gained is then the shim's promise alone.
func bound() error {
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EPERM) {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINVAL) { // an older kernel has fewer
			return fmt.Errorf("bound the server's capabilities: %w", err)
		}
	}
	return nil
}
