//go:build unix && !linux

package nowait

import (
	"errors"
	"runtime"
	"syscall"
)

// Read reads once from a file that does not block. Like read(2), it returns 0 and no
// error at the file's end; where there is nothing yet, the error is [syscall.EAGAIN].
func Read(fd uintptr, p []byte) (int, error) { return call(syscall.Read, fd, p) }

// Write writes once to a file that does not block: as much as it takes now. Where it
// takes nothing, the error is [syscall.EAGAIN].
func Write(fd uintptr, p []byte) (int, error) { return call(syscall.Write, fd, p) }

func call(do func(int, []byte) (int, error), fd uintptr, p []byte) (int, error) {
	for {
		n, err := do(int(fd), p)
		if !errors.Is(err, syscall.EINTR) {
			return max(n, 0), err
		}
	}
}

// Yield lets others have this processor, if any wait for it.
func Yield() { runtime.Gosched() }
