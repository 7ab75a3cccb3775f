package host

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// errPin: whoever answered at a task's address does not hold the key that the
// task registered.
var errPin = errors.New("the task's address is answered by somebody else")

// links are the connections to tasks, one transport a task.
type links struct {
	mu   sync.Mutex
	open map[string]*link
}

type link struct {
	transport *http.Transport
	active    atomic.Int32
}

func (l *links) of(t Task) *link {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[string]*link{}
	}
	k, ok := l.open[t.ID]
	if !ok {
		k = &link{transport: pinned(t.KeyFingerprint)}
		l.open[t.ID] = k
	}
	return k
}

func (l *links) drop(id string) {
	l.mu.Lock()
	k := l.open[id]
	delete(l.open, id)
	l.mu.Unlock()
	if k != nil {
		k.transport.CloseIdleConnections()
	}
}

// busy reports whether an answer of the task is still being passed on.
func (l *links) busy(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.open[id]
	return k != nil && k.active.Load() > 0
}

// pinned dials TLS and accepts exactly one public key, whatever its names.
func pinned(fingerprint string) *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
		DialTLSContext: shaken(&tls.Config{
			MinVersion: tls.VersionTLS13,
			// The certificate is self-signed and names nobody: what is checked
			// is the key itself.
			InsecureSkipVerify: true,
			VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
				if len(raw) == 0 {
					return errPin
				}
				cert, err := x509.ParseCertificate(raw[0])
				if err != nil {
					return errPin
				}
				sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
				if hex.EncodeToString(sum[:]) != fingerprint {
					return errPin
				}
				return nil
			},
			// A resumed session skips VerifyPeerCertificate.
			SessionTicketsDisabled: true,
		}),
	}
}

// taskURL stands for the endpoint of any task: the transport fills in which.
const taskURL = "https://task.invalid/mcp"

// asItIs is upstream for what is no reason to start a server.
func (s *Service) asItIs(c connection.Connection) http.RoundTripper {
	up := s.upstream(c)
	if t, ok := up.(transport); ok {
		t.asItIs = true
		return t
	}
	return up
}

// transport sends requests to the connection's task: one that is not there any
// more is replaced, once, as long as nothing of the request was sent.
type transport struct {
	service *Service
	conn    connection.Connection
	// asItIs: a task is not started, and ErrNoTask if none is ready.
	asItIs bool
}

func (tr transport) task(ctx context.Context, listens bool) (Task, error) {
	s := tr.service
	if !tr.asItIs {
		return s.task(ctx, tr.conn)
	}
	t, err := s.Store.TaskOf(ctx, tr.conn.Key)
	switch {
	case err != nil:
		return t, err
	case t.State != TaskReady || superseded(t, tr.conn):
		return t, ErrNoTask
	case !listens:
		s.touch(ctx, t)
	}
	return t, nil
}

// RoundTrip implements [http.RoundTripper].
func (tr transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	body, err := whole(req)
	if err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	listens := req.Method == http.MethodGet // who only listens does not use the task
	for attempt := 0; ; attempt++ {
		t, err := tr.task(ctx, listens)
		if err != nil {
			return nil, err
		}
		k := tr.service.links.of(t)
		out := req.Clone(ctx)
		out.URL = &url.URL{Scheme: "https", Host: t.Address, Path: "/mcp", RawQuery: ""}
		out.Host = t.Address
		out.Header.Set("Authorization", "Bearer "+tr.service.taskBearer(t).Reveal())
		out.Body, out.ContentLength, out.TransferEncoding = http.NoBody, int64(len(body)), nil
		if len(body) > 0 {
			out.Body = io.NopCloser(bytes.NewReader(body))
		}
		if !listens {
			k.active.Add(1)
		}
		resp, err := tr.service.answer(out, t, k)
		if err == nil && resp.StatusCode != http.StatusUnauthorized {
			if !listens {
				over := tr.service.using(ctx, t)
				resp.Body = &counted{ReadCloser: resp.Body, done: func() {
					over()
					k.active.Add(-1)
				}}
			}
			return resp, nil
		}
		if !listens {
			k.active.Add(-1)
		}
		if err == nil {
			resp.Body.Close()
			err = errPin
		}
		refused := resp != nil // it had the request, so it is not sent again
		if ctx.Err() != nil || !unreached(err) {
			return nil, cmp.Or(ctx.Err(), tr.lost(ctx, t, err))
		}
		tr.service.Logger.InfoContext(ctx, "a task was not there any more", "task", t.ID, "err", err)
		tr.service.vanished(ctx, t)
		if attempt > 0 || refused && len(body) > 0 {
			return nil, tr.lost(ctx, t, err)
		}
	}
}

// whole reads the request's body, which the caller has bounded, to its end. A
// task may answer before the last of it was passed on; our server closes a body
// that it still reads from as soon as the answer begins, and with it the line to
// the task.
func whole(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	defer req.Body.Close()
	return io.ReadAll(req.Body)
}

// lost is what the client is told. The cause names addresses of ours, so it is
// for the log.
func (tr transport) lost(ctx context.Context, t Task, err error) error {
	tr.service.Logger.WarnContext(ctx, "a request to a task was lost", "task", t.ID, "err", err)
	return ErrLost
}

// unreached reports whether the request cannot have arrived at the task.
func unreached(err error) bool {
	var op *net.OpError
	return errors.Is(err, errPin) || errors.As(err, &op) && op.Op == "dial"
}

// counted tells when a response body is done with.
type counted struct {
	io.ReadCloser
	once sync.Once
	done func()
}

func (c *counted) Close() error {
	c.once.Do(c.done)
	return c.ReadCloser.Close()
}

var _ http.RoundTripper = transport{}
