//go:build unix && !linux

package install

import "syscall"

// ownGroup makes npm the first of a process group. Only Linux can let it end
// with us.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
