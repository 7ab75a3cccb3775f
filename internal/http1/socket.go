package http1

import (
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/lanyardhq/lanyard/internal/nowait"
)

// socket is a connection whose reads and writes cost no leave of Go's scheduler; see
// [nowait]. One goroutine at a time reads, and one writes.
type socket struct {
	net.Conn
	raw syscall.RawConn
	// in and out are what is read into and written; try… work on them. They are
	// fields, because a closure for each call would be garbage of each call.
	in, out           []byte
	n, written        int
	failed, refused   error
	tryRead, tryWrite func(fd uintptr) bool
}

// newSocket returns c itself where there is no file behind it.
func newSocket(c net.Conn) net.Conn {
	f, ok := c.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return c
	}
	s := &socket{Conn: c, raw: raw}
	s.tryRead = func(fd uintptr) bool {
		s.n, s.failed = nowait.Read(fd, s.in)
		return !errors.Is(s.failed, syscall.EAGAIN)
	}
	s.tryWrite = func(fd uintptr) bool {
		for len(s.out) > 0 {
			var n int
			if n, s.refused = nowait.Write(fd, s.out); s.refused != nil {
				return !errors.Is(s.refused, syscall.EAGAIN)
			}
			s.written += n
			s.out = s.out[n:]
		}
		return true
	}
	return s
}

func (s *socket) Read(p []byte) (int, error) {
	s.in = p
	err := s.raw.Read(s.tryRead)
	s.in = nil
	switch {
	case err != nil:
		return 0, err
	case s.failed != nil:
		return 0, s.failed
	case s.n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return s.n, nil
}

func (s *socket) Write(p []byte) (int, error) {
	s.out, s.written, s.refused = p, 0, nil
	err := s.raw.Write(s.tryWrite)
	s.out = nil
	if err == nil {
		err = s.refused
	}
	return s.written, err
}

// CloseWrite tells the client that nothing follows, if its connection can.
func (s *socket) CloseWrite() error {
	half, ok := s.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
