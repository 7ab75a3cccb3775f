//go:build unix

package nowait_test

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/lanyardhq/lanyard/internal/nowait"
)

// on calls do with the descriptor of f, a pipe's end, which does not block.
func on(t *testing.T, f *os.File, do func(fd uintptr) (int, error)) (n int, err error) {
	t.Helper()
	raw, failed := f.SyscallConn()
	if failed != nil {
		t.Fatal(failed)
	}
	if failed := raw.Control(func(fd uintptr) { n, err = do(fd) }); failed != nil {
		t.Fatal(failed)
	}
	return n, err
}

func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	got := make([]byte, 8)
	read := func(fd uintptr) (int, error) { return nowait.Read(fd, got) }

	if n, err := on(t, r, read); n != 0 || !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("an empty pipe: %d, %v, want EAGAIN", n, err)
	}
	if n, err := on(t, w, func(fd uintptr) (int, error) { return nowait.Write(fd, []byte("a word and more")) }); n != 15 || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
	if n, err := on(t, r, read); err != nil || string(got[:n]) != "a word a" {
		t.Errorf("read: %q, %v", got[:n], err)
	}
	if n, err := on(t, r, func(fd uintptr) (int, error) { return nowait.Read(fd, nil) }); n != 0 || err != nil {
		t.Errorf("into nothing: %d, %v", n, err)
	}
	full := bytes.Repeat([]byte("x"), 1<<20)
	n, err := on(t, w, func(fd uintptr) (int, error) { return nowait.Write(fd, full) })
	if err != nil || n <= 0 || n >= len(full) {
		t.Errorf("more than the pipe has room for: %d of %d, %v", n, len(full), err)
	}
	if n, err := on(t, w, func(fd uintptr) (int, error) { return nowait.Write(fd, full) }); n != 0 || !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("a full pipe: %d, %v, want EAGAIN", n, err)
	}
	r.Close()
	if n, err := on(t, w, func(fd uintptr) (int, error) { return nowait.Write(fd, full) }); n != 0 || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a pipe that nobody reads: %d, %v, want EPIPE", n, err)
	}
}

func TestEndOfFile(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w.Close()
	if n, err := on(t, r, func(fd uintptr) (int, error) { return nowait.Read(fd, make([]byte, 1)) }); n != 0 || err != nil {
		t.Errorf("%d, %v, want neither", n, err)
	}
}
