package discover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/presets"
)

const (
	// readTTL is how long what was read of a server is used.
	readTTL = 5 * time.Minute
	// maxRead bounds of how many servers that is kept.
	maxRead = 1000
	// wholeTimeout bounds all that is asked for one connection.
	wholeTimeout = 15 * time.Second
)

// Finder implements [flow.Finder]. It is safe for concurrent use.
type Finder struct {
	// BaseURL is our public URL, without a slash at its end.
	BaseURL string
	// Registrations keeps the clients that were registered for us.
	Registrations Registrations
	// AllowLoopback permits a server on this machine, with what it names there.
	AllowLoopback bool
	// HTTP sends the requests; nil means a client over
	// [provider.GuardedTransport]. Its redirect policy is not used: no redirect is
	// followed.
	HTTP *http.Client
	// Document is the URL of our client metadata document for an issuer; nil means
	// [DocumentURL], and an answer of "" that we have none.
	Document func(issuer string) string
	Now      func() time.Time
	Logger   *slog.Logger

	mu   sync.Mutex
	read map[string]reading // by the server's URL
}

// reading is what was read of a server, and when.
type reading struct {
	server resource
	issuer metadata
	at     time.Time
}

var _ flow.Finder = (*Finder)(nil)

// Find implements [flow.Finder].
func (f *Finder) Find(ctx context.Context, r flow.FindRequest) (flow.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, wholeTimeout)
	defer cancel()
	found, err := f.look(ctx, r.Server, r.Anew)
	if err != nil {
		return flow.Found{}, err
	}
	out := found.answer()
	if out.ClientID, out.Public, err = f.client(ctx, r, found.issuer); err != nil {
		return out, err
	}
	f.Logger.InfoContext(ctx, "found who grants access to a server", "server", r.Server.Host, "issuer", out.Issuer, "public_client", out.Public)
	return out, nil
}

// look reads what there is to know of a server, or remembers it.
func (f *Finder) look(ctx context.Context, server *url.URL, anew bool) (reading, error) {
	name, now := server.String(), f.Now()
	f.mu.Lock()
	known, ok := f.read[name]
	f.mu.Unlock()
	if ok && !anew && now.Sub(known.at) < readTTL {
		return known, nil
	}
	near := f.AllowLoopback && provider.IsLoopback(server.Hostname())
	if err := provider.CheckURL(server, near); err != nil {
		return reading{}, fmt.Errorf("%w: the server's address cannot be used: %w", flow.ErrDiscovery, err)
	}
	fetch := fetcher{http: provider.GuardedClient(f.HTTP, near), near: near}
	read, err := fetch.server(ctx, server)
	if err != nil {
		return reading{}, err
	}
	read.at = now
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read == nil || len(f.read) >= maxRead {
		f.read = map[string]reading{}
	}
	f.read[name] = read
	return read, nil
}

// server reads a server's metadata and those of the first of its authorization
// servers that has any of use.
func (f fetcher) server(ctx context.Context, server *url.URL) (reading, error) {
	res, err := f.resource(ctx, server)
	if err != nil {
		return reading{}, err
	}
	var failed error
	for _, issuer := range res.AuthorizationServers {
		m, err := f.issuer(ctx, issuer, res.legacy)
		if err == nil {
			return reading{server: res, issuer: m}, nil
		}
		failed = errors.Join(failed, err)
	}
	return reading{}, failed
}

// answer is what was read, without a client.
func (r reading) answer() flow.Found {
	var out flow.Found
	m := r.issuer
	out.Issuer, out.AuthorizationEndpoint, out.TokenEndpoint, out.RevocationEndpoint = m.Issuer, m.AuthorizationEndpoint, m.TokenEndpoint, m.RevocationEndpoint
	out.Resource, out.ISS = r.server.Resource, m.ISS
	out.Offline = slices.Contains(m.Scopes, "offline_access")
	if methods := m.AuthMethods; !slices.Contains(methods, presets.AuthBasic) && slices.Contains(methods, presets.AuthPost) {
		out.Auth = presets.AuthPost
	}
	out.Scopes = slices.DeleteFunc(slices.Clone(r.server.scopes()), func(s string) bool { return s == "offline_access" })
	return out
}
