package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// numbers gives every call of a run an id and a text of its own.
var numbers atomic.Uint64

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
	defer c.conn.Close()
	_, err = c.post([]byte(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`))
	if s.id = c.session; err != nil || s.id == "" {
		return s, fmt.Errorf("initialize: no session: %w", err)
	}
	c.session = s.id
	_, err = c.post([]byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
	return s, err
}

// load has that many callers call, each the next when it has the answer to the
// one before.
func (s session) load(callers int, length time.Duration) (sample, error) {
	each, errs := make([][]time.Duration, callers), make([]error, callers)
	began := time.Now()
	end := began.Add(length)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { each[i], errs[i] = s.call(end) })
	}
	wg.Wait()
	return newSample(each, time.Since(began)), errors.Join(errs...)
}

func (s session) call(end time.Time) (took []time.Duration, err error) {
	c, err := s.dial()
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	var body, want []byte
	for now := time.Now(); now.Before(end); {
		n := numbers.Add(1)
		body, want = appendCall(body[:0], n), append(appendText(append(want[:0], '"'), n), '"')
		answer, err := c.post(body)
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(answer, want) {
			return nil, fmt.Errorf("a wrong answer: %s", answer)
		}
		then := now
		now = time.Now()
		took = append(took, now.Sub(then))
	}
	return took, nil
}

// caller is an HTTP client with one connection that is kept open. Go's own takes
// as much of the processor as the server that it calls, and there would be less
// left for what is measured.
type caller struct {
	conn    net.Conn
	r       *bufio.Reader
	host    string
	session string
	out, in []byte
}

func (s session) dial() (*caller, error) {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	return &caller{conn: conn, r: bufio.NewReader(conn), host: s.addr, session: s.id}, nil
}

const sessionHeader = "Mcp-Session-Id"

// patience bounds one call.
const patience = 30 * time.Second

// post returns the body of the answer, which is valid until the next call.
func (c *caller) post(body []byte) ([]byte, error) {
	c.out = fmt.Appendf(c.out[:0], "POST /mcp HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"+
		"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n", c.host)
	if c.session != "" {
		c.out = fmt.Appendf(c.out, sessionHeader+": %s\r\n", c.session)
	}
	c.out = append(fmt.Appendf(c.out, "Content-Length: %d\r\n\r\n", len(body)), body...)
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return nil, err
	}
	return c.read()
}

func (c *caller) read() ([]byte, error) {
	status, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	ok := bytes.HasPrefix(status, []byte("HTTP/1.1 2"))
	length, chunked := 0, false
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == 0:
			c.in, err = c.body(length, chunked)
			if err == nil && !ok {
				err = fmt.Errorf("the answer is no success: %s", c.in)
			}
			return c.in, err
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return nil, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = string(value) == "chunked"
		case c.session == "" && bytes.EqualFold(name, []byte(sessionHeader)):
			c.session = string(value)
		}
	}
}

func (c *caller) body(length int, chunked bool) ([]byte, error) {
	in := c.in[:0]
	if !chunked {
		return c.piece(in, length)
	}
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return in, err
		}
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return in, err
		}
		if in, err = c.piece(in, int(size)); err != nil {
			return in, err
		}
		if _, err := c.r.Discard(len("\r\n")); err != nil || size == 0 {
			return in, err
		}
	}
}

func (c *caller) piece(in []byte, n int) ([]byte, error) {
	from := len(in)
	in = append(in, make([]byte, n)...)
	_, err := io.ReadFull(c.r, in[from:])
	return in, err
}
