package host_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/runner"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// runners launches real runners in this process; they speak to the service
// without HTTP in between.
type runners struct {
	t       *testing.T
	service *host.Service

	mu      sync.Mutex
	running map[string]*running
	starts  int
}

type running struct {
	control *control
	cancel  context.CancelFunc
	done    chan struct{}
}

// control is [task.Control] for one task. A dead one says nothing any more.
type control struct {
	service  *host.Service
	identity token.Secret
	dead     atomic.Bool
}

func (c *control) Claim(ctx context.Context, r task.ClaimRequest) (task.Claim, error) {
	return c.service.Claim(ctx, c.identity, r)
}

func (c *control) Token(ctx context.Context, r task.TokenRequest) (token.Access, error) {
	return c.service.TaskToken(ctx, c.identity, r)
}

func (c *control) Report(ctx context.Context, r task.Report) error {
	if c.dead.Load() {
		return nil
	}
	return c.service.Report(ctx, c.identity, r)
}

func (l *runners) Launch(_ context.Context, s host.Start) error {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{control: &control{service: l.service, identity: s.Identity}, cancel: cancel, done: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running == nil {
		l.running = map[string]*running{}
	}
	l.running[s.TaskID] = r
	l.starts++
	cfg := runner.Config{TaskID: s.TaskID, Ticket: s.Ticket, Control: r.control, Dir: l.t.TempDir(), Path: os.Getenv("PATH")}
	go func() {
		defer close(r.done)
		_ = runner.Run(ctx, cfg)
	}()
	return nil
}

// take removes a runner from those that run.
func (l *runners) take(id string) *running {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.running[id]
	delete(l.running, id)
	return r
}

func (l *runners) Stop(ctx context.Context, id string) error {
	r := l.take(id)
	if r == nil {
		return nil
	}
	r.cancel()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill ends a runner that can tell nobody, as if its machine were gone.
func (l *runners) kill(id string) {
	r := l.take(id)
	r.control.dead.Store(true)
	r.cancel()
	<-r.done
}

func (l *runners) launched() (starts, alive int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.starts, len(l.running)
}

// newRunners is a world whose tasks are real runners.
func newRunners(t *testing.T, servers ...presets.Server) (*world, *runners) {
	t.Helper()
	l := &runners{t: t}
	w := newWorld(t, l, servers...)
	l.service = w.service
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, r := range l.running {
			r.cancel()
			<-r.done
		}
	})
	return w, l
}

// orders keeps what tasks were to be started with, for tests that play the
// task themselves.
type orders struct {
	started chan host.Start
	stopped chan string
}

func newOrders(t *testing.T, servers ...presets.Server) (*world, *orders) {
	t.Helper()
	o := &orders{make(chan host.Start, 64), make(chan string, 64)}
	return newWorld(t, o, servers...), o
}

func (o *orders) Launch(_ context.Context, s host.Start) error { o.started <- s; return nil }

func (o *orders) Stop(_ context.Context, id string) error {
	if id != ghost {
		o.stopped <- id
	}
	return nil
}

// next is the next task to be started.
func (o *orders) next(t *testing.T) host.Start {
	t.Helper()
	select {
	case s := <-o.started:
		return s
	case <-time.After(time.Minute):
		t.Fatal("no task was started")
		return host.Start{}
	}
}

// puppet is a task that the test plays: a TLS server with a key of its own.
type puppet struct {
	*httptest.Server
	fingerprint string
	// bearer is what the claim said; the handler checks nothing itself.
	claim task.Claim
}

func newPuppet(t *testing.T, handler http.HandlerFunc) *puppet {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	p := &puppet{Server: httptest.NewUnstartedServer(handler), fingerprint: hex.EncodeToString(sum[:])}
	p.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are meant to fail
	p.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func (p *puppet) address() string { return strings.TrimPrefix(p.URL, "https://") }

// request is the claim that the puppet makes for a task.
func (p *puppet) request(s host.Start) task.ClaimRequest {
	return task.ClaimRequest{TaskID: s.TaskID, Ticket: s.Ticket, Address: p.address(), KeyFingerprint: p.fingerprint}
}

// play claims the ticket and says that the server is ready.
func (p *puppet) play(w *world, s host.Start) {
	w.t.Helper()
	claim, err := w.service.Claim(w.t.Context(), s.Identity, p.request(s))
	if err != nil {
		w.t.Fatal(err)
	}
	p.claim = claim
	if err := w.service.Report(w.t.Context(), s.Identity, task.Report{TaskID: s.TaskID, State: task.Ready}); err != nil {
		w.t.Fatal(err)
	}
}
