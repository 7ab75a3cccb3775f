package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// number gives every call of a run an id and a text of its own.
var number uint64

// appendCall appends a call of the tool, whose id is n.
func appendCall(to []byte, n uint64) []byte {
	to = append(to, `{"jsonrpc":"2.0","id":`...)
	to = strconv.AppendUint(to, n, 10)
	to = append(to, `,"method":"tools/call","params":{"name":"echo","arguments":{"text":"`...)
	to = appendText(to, n)
	return append(to, `"}}}`...)
}

// appendText appends what is said in that call.
func appendText(to []byte, n uint64) []byte {
	return strconv.AppendUint(append(to, "0x"...), n, 16)
}

// session is a session of legacy Streamable HTTP at a bridge.
type session struct{ addr, id string }

// open initializes a session.
func open(addr string) (session, error) {
	s := session{addr: addr}
	c, err := s.dial()
	if err != nil {
		return s, err
	}
	defer c.close()
	_, err = c.post([]byte(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`))
	if s.id = c.session; err != nil || s.id == "" {
		return s, fmt.Errorf("initialize: no session: %w", err)
	}
	c.head = s.head()
	_, err = c.post([]byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
	return s, err
}

// load has that many callers call, each the next when it has the answer to the
// one before.
func (s session) load(callers int, length time.Duration) (sample, error) {
	var took []time.Duration
	all, ready := make([]*caller, callers), make([]unix.PollFd, callers)
	for i := range all {
		c, err := s.dial()
		if err != nil {
			return sample{}, err
		}
		defer c.close()
		all[i], ready[i] = c, unix.PollFd{Fd: int32(c.fd), Events: unix.POLLIN}
	}
	began := time.Now()
	end := began.Add(length)
	for _, c := range all {
		if err := c.call(began); err != nil {
			return sample{}, err
		}
	}
	for calling := callers; calling > 0; {
		if callers > 1 { // a single one waits for its answer where it reads it
			if n, err := unix.Poll(ready, int(patience.Milliseconds())); n == 0 || err != nil && !errors.Is(err, unix.EINTR) {
				return sample{}, fmt.Errorf("no answer within %s: %w", patience, err)
			}
		}
		for i, c := range all {
			if callers > 1 && ready[i].Revents == 0 {
				continue
			}
			ready[i].Revents = 0
			answer, err := c.receive()
			if err != nil {
				return sample{}, err
			}
			if answer == nil {
				continue // it is not all there yet
			}
			if !bytes.Contains(answer, c.want) {
				return sample{}, fmt.Errorf("a wrong answer: %s", answer)
			}
			now := time.Now()
			took = append(took, now.Sub(c.asked))
			if now.After(end) {
				ready[i].Fd = -1 // poll(2): is not looked at
				calling--
				continue
			}
			if err := c.call(now); err != nil {
				return sample{}, err
			}
		}
	}
	return newSample(took, time.Since(began)), nil
}

// caller is an HTTP client with one connection that is kept open. All callers
// are served by one thread, which waits for them with poll(2) and makes two more
// system calls for each call: an HTTP client of Go's takes as much of the
// processor as the server that it calls, and there would be less left for what is
// measured.
type caller struct {
	fd            int
	session       string
	head, out, in []byte
	want          []byte
	asked         time.Time
}

// patience bounds one call.
const patience = 30 * time.Second

const sessionHeader = "Mcp-Session-Id"

// head is what all requests of a session begin with.
func (s session) head() []byte {
	head := "POST /mcp HTTP/1.1\r\nHost: " + s.addr + "\r\nContent-Type: application/json\r\n" +
		"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n"
	if s.id != "" {
		head += sessionHeader + ": " + s.id + "\r\n"
	}
	return []byte(head + "Content-Length: ")
}

func (s session) dial() (*caller, error) {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	fd, err := unix.Dup(int(file.Fd())) // Fd makes it a blocking one
	if err != nil {
		return nil, err
	}
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &caller{fd: fd, session: s.id, head: s.head(), in: make([]byte, 0, 64<<10)}, nil
}

func (c *caller) close() { _ = unix.Close(c.fd) }

// call sends the next call.
func (c *caller) call(now time.Time) error {
	number++
	c.asked, c.want = now, append(appendText(append(c.want[:0], '"'), number), '"')
	var body [256]byte
	return c.send(appendCall(body[:0], number))
}

func (c *caller) send(body []byte) error {
	c.out = strconv.AppendInt(append(c.out[:0], c.head...), int64(len(body)), 10)
	c.out, c.in = append(append(c.out, "\r\n\r\n"...), body...), c.in[:0]
	for out := c.out; len(out) > 0; {
		n, err := unix.Write(c.fd, out)
		if err != nil {
			return fmt.Errorf("send a call: %w", err)
		}
		out = out[n:]
	}
	return nil
}

// post returns the body of the answer, which is valid until the next call.
func (c *caller) post(body []byte) ([]byte, error) {
	if err := c.send(body); err != nil {
		return nil, err
	}
	for {
		if answer, err := c.receive(); answer != nil || err != nil {
			return answer, err
		}
	}
}

// receive reads once, and returns the body of the answer if that is all there.
func (c *caller) receive() ([]byte, error) {
	if len(c.in) == cap(c.in) {
		return nil, fmt.Errorf("an answer of more than %d bytes", cap(c.in))
	}
	n, err := unix.Read(c.fd, c.in[len(c.in):cap(c.in)])
	switch {
	case errors.Is(err, unix.EINTR):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read an answer: %w", err)
	case n == 0:
		return nil, errors.New("the connection was closed before the answer was all there")
	}
	c.in = c.in[:len(c.in)+n]
	head, rest, ok := bytes.Cut(c.in, []byte("\r\n\r\n"))
	if !ok {
		return nil, nil
	}
	answer, err := c.body(head, rest)
	if answer != nil && err == nil && !bytes.HasPrefix(head, []byte("HTTP/1.1 2")) {
		err = fmt.Errorf("the answer is no success: %s", answer)
	}
	return answer, err
}

// body is the body of an answer with that head, nil while more of it is to come.
func (c *caller) body(head, rest []byte) ([]byte, error) {
	length, chunked := 0, false
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			var err error
			if length, err = strconv.Atoi(string(value)); err != nil {
				return nil, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = string(value) == "chunked"
		case c.session == "" && bytes.EqualFold(name, []byte(sessionHeader)):
			c.session = string(value)
		}
	}
	if chunked {
		return unchunked(rest)
	}
	if len(rest) < length {
		return nil, nil
	}
	return rest[:length], nil
}

// unchunked is what chunks hold together (RFC 9112 §7.1), nil while the last of
// them is to come.
func unchunked(rest []byte) ([]byte, error) {
	body := []byte{}
	for {
		line, after, ok := bytes.Cut(rest, []byte("\r\n"))
		if !ok {
			return nil, nil
		}
		size, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return nil, err
		}
		if uint64(len(after)) < size+2 {
			return nil, nil
		}
		if size == 0 {
			return body, nil
		}
		body, rest = append(body, after[:size]...), after[size+2:]
	}
}
