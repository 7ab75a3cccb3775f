package host

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

// One address for all servers of a user: /mcp offers the tools of each of their
// connections under a name that begins with that connection's alias. Its tokens
// are a user's, not a connection's, and good for nothing else.

// ForUser is the key under which the tokens for all servers of a user are kept.
// No connection has such an id.
func ForUser(tenant, user string) connection.Key {
	return connection.Key{Tenant: tenant, ID: "user:" + user}
}

// MintAllRequest asks for an MCP token for all servers of a user.
type MintAllRequest struct {
	Tenant, UserID string
	// Servers narrows it to these; none: all that the user has, and will have.
	Servers []string
	TTL     time.Duration
	// Seed: see flow.LinkRequest.
	Seed []byte
}

// MintAll makes a bearer for the endpoint of all of a user's servers.
func (s *Service) MintAll(ctx context.Context, r MintAllRequest) (Minted, error) {
	m, secret := s.newToken(r.TTL, r.Seed)
	m.Connection, m.UserID, m.Servers = ForUser(r.Tenant, r.UserID), r.UserID, r.Servers
	m, err := s.keepToken(ctx, m)
	if err != nil {
		return Minted{}, err
	}
	return Minted{MCPToken: m, Token: secret, URL: s.AllURL(r.Tenant)}, nil
}

// AllURL is the endpoint of all servers of whoever asks, of that tenant.
func (s *Service) AllURL(tenant string) string {
	return s.BaseURL + authserver.EndpointPath(tenant, "")
}

// newToken is a token that is good for nothing yet.
func (s *Service) newToken(ttl time.Duration, seed []byte) (MCPToken, token.Secret) {
	if ttl <= 0 {
		ttl = DefaultTokenTTL
	}
	now := s.Now().UTC()
	id, secret := token.NewID("mct"), "lyt_"+token.NewSecret()
	if len(seed) > 0 {
		id, secret = token.DeriveID("mct", seed), "lyt_"+token.DeriveSecret(seed)
	}
	return MCPToken{ID: id, Hash: token.Hash(secret), CreatedAt: now, ExpiresAt: now.Add(min(ttl, MaxTokenTTL))}, secret
}

// keepToken stores the token, or returns the one that the same request made
// before.
func (s *Service) keepToken(ctx context.Context, m MCPToken) (MCPToken, error) {
	err := s.Store.PutMCPToken(ctx, m)
	if err == nil {
		return m, nil
	}
	if !errors.Is(err, ErrExists) {
		return m, fmt.Errorf("store the MCP token: %w", err)
	}
	old, err := s.Store.MCPTokenByHash(ctx, m.Hash)
	if errors.Is(err, ErrNoToken) || err == nil && old.Connection != m.Connection {
		return m, fmt.Errorf("%w: the token that this Idempotency-Key made was revoked", flow.ErrExists)
	}
	return old, err
}

// Member is one connection behind the endpoint of all servers. It has an alias.
type Member struct{ connection.Connection }

// Members are the connections that the holder of a bearer for all servers has,
// oldest first.
func (s *Service) Members(ctx context.Context, who Holder) ([]Member, error) {
	all, err := s.ofUser(ctx, who)
	if err != nil {
		return nil, err
	}
	out := make([]Member, 0, len(all))
	for i, alias := range aliases(all) {
		c := all[i]
		if c.Alias == "" {
			// Also of one that is not connected yet: its name is taken.
			c, err = s.Connections.Update(ctx, c.Key, func(c *connection.Connection) error {
				c.Alias = cmp.Or(c.Alias, alias)
				return nil
			})
			if errors.Is(err, connection.ErrNotFound) {
				continue // it has ended meanwhile
			}
			if err != nil {
				return nil, fmt.Errorf("keep the alias of a connection: %w", err)
			}
		}
		if c.Status == connection.Connected || c.Status == connection.ReconnectNeeded {
			out = append(out, Member{c})
		}
	}
	return out, nil
}

// ofUser are all connections that the holder's bearer is for, oldest first.
func (s *Service) ofUser(ctx context.Context, who Holder) ([]connection.Connection, error) {
	var all []connection.Connection
	for cursor := ""; ; {
		page, next, err := s.Connections.List(ctx, who.Tenant, connection.Filter{UserID: who.User}, connection.Page{Cursor: cursor, Limit: 200})
		if err != nil {
			return nil, err
		}
		for _, c := range page {
			if c.Status != connection.Deleting && who.offered(c.Server) {
				all = append(all, c)
			}
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	slices.SortFunc(all, func(a, b connection.Connection) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return all, nil
}

// aliases are those of the connections, in their order. One that has none gets
// its server's own name if nobody of that server has an alias yet, and otherwise
// one with a few characters more: what was the name of an account that has gone
// must not become that of another one, which its user has beside it.
func aliases(all []connection.Connection) []string {
	names, used, named := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, c := range all {
		names[c.Server] = true
		if c.Alias != "" {
			used[c.Alias], named[c.Server] = true, true
		}
	}
	out := make([]string, len(all))
	for i, c := range all {
		alias := cmp.Or(c.Alias, c.Server)
		if c.Alias == "" && (named[c.Server] || used[alias]) {
			sum := sha256.Sum256([]byte(c.ID))
			digits := hex.EncodeToString(sum[:])
			for n := 4; used[alias] || names[alias]; n++ {
				alias = c.Server + "-" + digits[:n]
			}
		}
		used[alias], named[c.Server] = true, true
		out[i] = alias
	}
	return out
}

const (
	// between stands between alias and tool. No server's name has a character
	// of it.
	between = "__"
	// longestName is what clients take at most (Claude's API, tools, name).
	longestName = 64
)

// ToolName is the name of a member's tool at the endpoint of all servers. One
// that is too long ends in a hash of the whole.
func (m Member) ToolName(tool string) string {
	name := m.Alias + between + tool
	if len(name) <= longestName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	short := strings.ToValidUTF8(name[:longestName-cutEnd], "")
	return short + "_" + hex.EncodeToString(sum[:4])
}

// cutEnd is what a name that was cut ends in: an underscore and eight hex
// digits.
const cutEnd = 9

// cut reports whether a name may be one that was cut, and what was left of it.
func cut(name string) (stem string, maybe bool) {
	at := len(name) - cutEnd
	if len(name) > longestName || at <= longestName-cutEnd-utf8.UTFMax || name[at] != '_' {
		return "", false
	}
	_, err := hex.DecodeString(name[at+1:])
	return name[:at], err == nil
}

// offered reports whether the server is one that the bearer is for.
func (h Holder) offered(server string) bool {
	return len(h.Servers) == 0 || slices.Contains(h.Servers, server)
}
