package host

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"
)

// A runner that stands still answers nothing, but its machine goes on taking
// connections for it. Whoever waits for an answer therefore looks, now and then,
// whether the runner still speaks.

const (
	// handshakeTimeout bounds how long a runner takes to be connected to.
	handshakeTimeout = 5 * time.Second
	// lookAfter is how long an answer may take before somebody looks, and again.
	lookAfter = 20 * time.Second
	// looks is after how many in vain a runner is given up.
	looks = 2
)

// errSilent: a task had a request, and its runner speaks no more.
var errSilent = errors.New("the task's runner does not speak any more")

// answer sends the request to its task and returns when the answer begins. A
// task that is found silent meanwhile is replaced by the next request.
func (s *Service) answer(req *http.Request, t Task, k *link) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	begun := make(chan struct{})
	go func() {
		if s.silent(ctx, t, begun) {
			cancel(errSilent)
		}
	}()
	resp, err := k.transport.RoundTrip(req.WithContext(ctx))
	close(begun)
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		s.vanished(req.Context(), t)
		err = errSilent
	}
	if err != nil {
		cancel(nil)
	}
	return resp, err
}

// silent looks after a task until the answer has begun, and reports whether it
// was given up.
func (s *Service) silent(ctx context.Context, t Task, begun <-chan struct{}) bool {
	every := s.patience
	if every == 0 {
		every = lookAfter
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for missed := 0; missed < looks; {
		select {
		case <-begun:
			return false
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if s.speaks(ctx, t, min(10*every, handshakeTimeout)) {
			missed = 0
		} else if ctx.Err() == nil {
			missed++
		}
	}
	return true
}

// speaks asks the runner, on a connection of its own, whether it is there.
func (s *Service) speaks(ctx context.Context, t Task, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, (&url.URL{Scheme: "https", Host: t.Address, Path: "/healthz"}).String(), nil)
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+s.taskBearer(t).Reveal())
	transport := pinned(t.KeyFingerprint)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return true
}

// shaken dials and shakes hands. Whatever fails until then is an error of
// dialling: nothing of a request was sent.
func shaken(config *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		raw, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, config)
		if err := conn.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, &net.OpError{Op: "dial", Net: network, Addr: raw.RemoteAddr(), Err: err}
		}
		return conn, nil
	}
}
