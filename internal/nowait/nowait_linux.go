package nowait

import (
	"syscall"
	"unsafe"
)

// Read reads once from a file that does not block. Like read(2), it returns 0 and no
// error at the file's end; where there is nothing yet, the error is [syscall.EAGAIN].
func Read(fd uintptr, p []byte) (int, error) { return call(syscall.SYS_READ, fd, p) }

// Write writes once to a file that does not block: as much as it takes now. Where it
// takes nothing, the error is [syscall.EAGAIN].
func Write(fd uintptr, p []byte) (int, error) { return call(syscall.SYS_WRITE, fd, p) }

func call(number, fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, err := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // as package syscall has it
		switch err {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}

// Yield lets others have this processor, if any wait for it.
func Yield() { _, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }
