//go:build unix && !linux

package bridge

import "syscall"

// attributes give a server its own process group and user. Only Linux can let
// it end with us.
func attributes(uid, gid uint32) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if uid != 0 {
		a.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return a
}

// bound does nothing: only Linux has capabilities.
func bound() error { return nil }
