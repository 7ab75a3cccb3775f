package install

import "syscall"

// ownGroup makes npm the first of a process group, and lets it end with us.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
