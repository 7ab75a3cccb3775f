package fake

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
)

// AuthServer implements authserver.Store. It is part of a [Store].
type AuthServer struct {
	mu                                  sync.Mutex
	clients, requests, grants, consents map[string][]byte
	deleted                             map[string]bool // grants
	spent                               map[string]bool
	windows                             map[string]int
}

var _ authserver.Store = (*AuthServer)(nil)

func newAuthServer() *AuthServer {
	return &AuthServer{
		clients: map[string][]byte{}, requests: map[string][]byte{}, grants: map[string][]byte{}, consents: map[string][]byte{},
		deleted: map[string]bool{}, spent: map[string]bool{}, windows: map[string]int{},
	}
}

// AuthServer is what signs MCP clients in.
func (s *Store) AuthServer() *AuthServer { return s.authServer }

// add puts a record in one of the maps, unless its key is taken.
func add(in map[string][]byte, key string, record any) error {
	if in[key] != nil {
		return authserver.ErrExists
	}
	in[key] = document(record)
	return nil
}

// AddClient implements [authserver.Store].
func (s *AuthServer) AddClient(_ context.Context, c authserver.Client) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return add(s.clients, c.ID, c)
}

// SaveClient implements [authserver.Store].
func (s *AuthServer) SaveClient(_ context.Context, c authserver.Client) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = document(c)
	return nil
}

// GetClient implements [authserver.Store].
func (s *AuthServer) GetClient(_ context.Context, id string) (authserver.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var c authserver.Client
	err := decode(s.clients[id], &c, authserver.ErrNoClient)
	return c, err
}

// RegisteredClients implements [authserver.Store].
func (s *AuthServer) RegisteredClients(context.Context) ([]authserver.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []authserver.Client
	for _, doc := range s.clients {
		var c authserver.Client
		if err := decode(doc, &c, authserver.ErrNoClient); err != nil {
			return nil, err
		}
		if c.Kind == authserver.Registered {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b authserver.Client) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// DeleteClient implements [authserver.Store].
func (s *AuthServer) DeleteClient(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[id] == nil {
		return authserver.ErrNoClient
	}
	delete(s.clients, id)
	return nil
}

// AddRequest implements [authserver.Store].
func (s *AuthServer) AddRequest(_ context.Context, r authserver.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return add(s.requests, r.ID, r)
}

// GetRequest implements [authserver.Store].
func (s *AuthServer) GetRequest(_ context.Context, id string) (authserver.Request, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.request(id)
}

func (s *AuthServer) request(id string) (authserver.Request, error) {
	var r authserver.Request
	err := decode(s.requests[id], &r, authserver.ErrNoRequest)
	return r, err
}

// UpdateRequest implements [authserver.Store].
func (s *AuthServer) UpdateRequest(_ context.Context, r authserver.Request) (authserver.Request, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, err := s.request(r.ID)
	if err != nil {
		return authserver.Request{}, err
	}
	if stored.Revision != r.Revision {
		return authserver.Request{}, authserver.ErrChanged
	}
	r.Revision++
	s.requests[r.ID] = document(r)
	return s.request(r.ID)
}

// AddGrant implements [authserver.Store].
func (s *AuthServer) AddGrant(_ context.Context, g authserver.Grant) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted[g.ID] {
		return authserver.ErrExists
	}
	return add(s.grants, g.ID, g)
}

// GetGrant implements [authserver.Store].
func (s *AuthServer) GetGrant(_ context.Context, id string) (authserver.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant(id)
}

func (s *AuthServer) grant(id string) (authserver.Grant, error) {
	var g authserver.Grant
	err := decode(s.grants[id], &g, authserver.ErrNoGrant)
	return g, err
}

// UpdateGrant implements [authserver.Store]; change must not call the store.
func (s *AuthServer) UpdateGrant(_ context.Context, id string, change func(*authserver.Grant) error) (authserver.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.grant(id)
	if err != nil {
		return authserver.Grant{}, err
	}
	revision := g.Revision
	if err := change(&g); err != nil {
		return authserver.Grant{}, err
	}
	g.ID, g.Revision = id, revision+1
	s.grants[id] = document(g)
	return s.grant(id)
}

// DeleteGrant implements [authserver.Store].
func (s *AuthServer) DeleteGrant(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleteGrant(id)
	return nil
}

func (s *AuthServer) deleteGrant(id string) {
	if s.grants[id] != nil {
		delete(s.grants, id)
		s.deleted[id] = true
	}
}

// Grants implements [authserver.Store].
func (s *AuthServer) Grants(_ context.Context, tenant, user string) ([]authserver.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grantsOf(tenant, user)
}

func (s *AuthServer) grantsOf(tenant, user string) ([]authserver.Grant, error) {
	var out []authserver.Grant
	for id := range s.grants {
		g, err := s.grant(id)
		if err != nil {
			return nil, err
		}
		if g.Tenant == tenant && g.UserID == user {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b authserver.Grant) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return out, nil
}

// consentKey cannot be confused: none of its parts holds a zero byte.
func consentKey(parts ...string) string { return strings.Join(parts, "\x00") }

// SaveConsent implements [authserver.Store].
func (s *AuthServer) SaveConsent(_ context.Context, c authserver.Consent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.consents[consentKey(c.Tenant, c.UserID, c.ClientID, c.Resource)] = document(c)
	return nil
}

// GetConsent implements [authserver.Store].
func (s *AuthServer) GetConsent(_ context.Context, tenant, user, client, resource string) (authserver.Consent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var c authserver.Consent
	err := decode(s.consents[consentKey(tenant, user, client, resource)], &c, authserver.ErrNoConsent)
	return c, err
}

// DeleteUser implements [authserver.Store].
func (s *AuthServer) DeleteUser(_ context.Context, tenant, user string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	grants, err := s.grantsOf(tenant, user)
	if err != nil {
		return err
	}
	for _, g := range grants {
		s.deleteGrant(g.ID)
	}
	for key := range s.consents {
		if strings.HasPrefix(key, consentKey(tenant, user, "")) {
			delete(s.consents, key)
		}
	}
	return nil
}

// Spend implements [authserver.Store].
func (s *AuthServer) Spend(_ context.Context, what string, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spent[what] {
		return authserver.ErrSpent
	}
	s.spent[what] = true
	return nil
}

// Admit implements [authserver.Store].
func (s *AuthServer) Admit(_ context.Context, window string, most int, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.windows[window] >= most {
		return authserver.ErrTooMany
	}
	s.windows[window]++
	return nil
}
