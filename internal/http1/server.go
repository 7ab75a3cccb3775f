// Package http1 serves HTTP/1.1 (RFC 9112) with as little as possible between a
// request and its handler. It is for `lanyard bridge`, whose calls are many and
// short; everything else is served by net/http.
//
// net/http begins and ends a goroutine with each request, which watches whether the
// client goes; here watching begins when a request has lasted for a while. Requests
// are parsed by net/http, and handlers are its own.
//
//	server.go    listening, and the end of it
//	conn.go      one connection: request after request
//	watch.go     a client that goes
//	response.go  an answer, whole or in chunks
package http1

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server serves a handler. What a handler needs of net/http's server beside
// answering, it has: the request's context ends when the client goes or the server
// closes, and the writer is an [http.Flusher]. There is no TLS, no HTTP/1.0, no
// upgrade and no trailer.
type Server struct {
	Handler http.Handler
	// Logger is told of handlers that panic. Required.
	Logger *slog.Logger
	// HeadTimeout is how long a request's head may take from its first byte; 10 s
	// if 0.
	HeadTimeout time.Duration

	mu     sync.Mutex
	closed bool
	ln     net.Listener
	conns  map[*conn]struct{}
}

// Serve answers what ln accepts, until Close; then it returns
// [http.ErrServerClosed].
func (s *Server) Serve(ln net.Listener) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.mu.Lock()
	s.ln, s.conns = ln, map[*conn]struct{}{}
	closed := s.closed
	s.mu.Unlock()
	if closed {
		_ = ln.Close()
	}
	pause := time.Duration(0)
	for {
		raw, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
		case s.isClosed():
			return http.ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return err
		default: // too many files are open, for now
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			time.Sleep(pause)
			continue
		}
		c := newConn(s, raw)
		if s.add(c) {
			go c.serve(ctx)
		} else {
			_ = raw.Close()
		}
	}
}

// Close ends listening and all connections, whatever they are at. It does not wait
// for handlers, whose contexts end.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var err error
	if s.ln != nil {
		err = s.ln.Close()
	}
	for c := range s.conns {
		_ = c.Conn.Close()
	}
	return err
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.conns[c] = struct{}{}
	}
	return !s.closed
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}
