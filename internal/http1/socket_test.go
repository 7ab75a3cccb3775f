package http1

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestSlowReader: what a client does not read ends the write at its deadline, and
// only then.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	theirs, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	raw, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	s, all := newSocket(raw), bytes.Repeat([]byte("x"), 64<<20)
	if err := s.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := s.Write(all)
	if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.EAGAIN) || n == 0 || n == len(all) {
		t.Fatalf("%d of %d bytes, %v", n, len(all), err)
	}
	got := make(chan int64)
	go func() {
		read, _ := io.Copy(io.Discard, theirs)
		got <- read
	}()
	if err := s.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	rest, err := s.Write(all[n:])
	if err != nil || n+rest != len(all) {
		t.Errorf("the rest: %d of %d bytes, %v", rest, len(all)-n, err)
	}
	raw.Close()
	if read := <-got; read != int64(len(all)) {
		t.Errorf("%d bytes came, of %d", read, len(all))
	}
}
