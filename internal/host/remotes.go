package host

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

const (
	// maxHeld and maxRemoteSessions bound what a process keeps of remote servers.
	maxHeld           = 1000
	maxRemoteSessions = 4000
	// idleRemote is how long a connection to a remote server waits for its next
	// request.
	idleRemote = 30 * time.Second
)

// remotes is what a process keeps of remote servers: connections to them, the
// access tokens that they are shown, and their sessions.
type remotes struct {
	mu        sync.Mutex
	transport *http.Transport
	held      map[connection.Key]held
	checked   map[connection.Key]time.Time
	sessions  map[string]*remoteSession
}

// held is an access token of a connection as its row has it in one version: with
// the next one it is forgotten.
type held struct {
	version string
	access  token.Access
	// until is when it is asked for anew.
	until time.Time
}

// http is the transport to all of them, by the guard that refuses private
// addresses. Whose token a request carries has nothing to do with whose
// connection it travels on.
func (r *remotes) http(allowLoopback bool) *http.Transport {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.transport == nil {
		t := provider.GuardedTransport(allowLoopback)
		// A call takes as long as it takes; it is sent again by nobody who does not
		// know that it cannot have arrived, net/http included: it is a POST.
		t.ResponseHeaderTimeout = 0
		t.DisableKeepAlives, t.IdleConnTimeout, t.MaxIdleConnsPerHost = false, idleRemote, 16
		t.DisableCompression = true
		r.transport = t
	}
	return r.transport
}

// token is the connection's access token, from memory as long as the row has no
// other.
func (r *remotes) token(ctx context.Context, tr remoteTransport, caller vault.Caller) (token.Access, error) {
	s, k := tr.service, tr.conn.Key
	r.mu.Lock()
	h, ok := r.held[k]
	r.mu.Unlock()
	if ok && h.version == tr.conn.Set.AccessVersion && s.Now().Before(h.until) {
		return h.access, nil
	}
	a, c, err := s.Tokens.Token(ctx, caller, k, remoteTTL, "call "+tr.server.Name)
	if err != nil {
		return a, err
	}
	r.hold(k, c, a, s.Now())
	return tr.fitting(a, c)
}

// fitting keeps a token from where the request goes if it was granted for elsewhere since
// the request came: the connection was made anew meanwhile.
func (tr remoteTransport) fitting(a token.Access, c connection.Connection) (token.Access, error) {
	if !maps.Equal(c.ClientAt, tr.conn.ClientAt) || !maps.Equal(c.Parameters, tr.conn.Parameters) {
		return token.Access{}, fmt.Errorf("%w: the connection was made anew meanwhile, for elsewhere: try again", ErrRemote)
	}
	return a, nil
}

// doubt asks for another token than the one that was refused. The provider is
// asked about it now and then, not each time that a server says so.
func (r *remotes) doubt(ctx context.Context, tr remoteTransport, caller vault.Caller, refused token.Access) (token.Access, error) {
	s, k, now := tr.service, tr.conn.Key, tr.service.Now()
	r.mu.Lock()
	quiet := now.Sub(r.checked[k]) < checkEvery
	if !quiet {
		if r.checked == nil || len(r.checked) >= maxHeld {
			r.checked = map[connection.Key]time.Time{}
		}
		r.checked[k] = now
	}
	delete(r.held, k)
	r.mu.Unlock()
	a, c, err := s.Tokens.Check(ctx, caller, k, doubtOf(refused, quiet), "check "+tr.server.Name)
	if err != nil {
		return a, err
	}
	r.hold(k, c, a, now)
	return tr.fitting(a, c)
}

func (r *remotes) hold(k connection.Key, c connection.Connection, a token.Access, now time.Time) {
	h := held{version: c.Set.AccessVersion, access: a, until: now.Add(time.Hour)}
	if end := a.ExpiresAt(); !end.IsZero() {
		left := end.Sub(now)
		h.until = now.Add(max(left-remoteTTL, min(left/2, remoteTTL)))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil || len(r.held) >= maxHeld {
		r.held = map[connection.Key]held{} // they are asked for again
	}
	r.held[k] = h
}

// forget drops what is kept of a connection.
func (r *remotes) forget(k connection.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, k)
	delete(r.checked, k)
}
