package authserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/lanyardhq/lanyard/internal/token"
)

const (
	// maxPerViewer and maxRegistrations are how many clients register in an hour
	// from one address and in all.
	maxPerViewer     = 20
	maxRegistrations = 1000
)

// registration is the answer to one (RFC 7591 §3.2.1).
type registration struct {
	ID            string          `json:"client_id"`
	IssuedAt      int64           `json:"client_id_issued_at"`
	Secret        string          `json:"client_secret,omitempty"`
	SecretExpires *int64          `json:"client_secret_expires_at,omitempty"`
	Name          string          `json:"client_name,omitempty"`
	URI           string          `json:"client_uri,omitempty"`
	RedirectURIs  []string        `json:"redirect_uris"`
	GrantTypes    []string        `json:"grant_types"`
	ResponseTypes []string        `json:"response_types"`
	AuthMethod    string          `json:"token_endpoint_auth_method"`
	JWKS          json.RawMessage `json:"jwks,omitempty"`
	JWKSURI       string          `json:"jwks_uri,omitempty"`
}

// Register is the registration endpoint (RFC 7591). viewer is whose address it
// came from, which bounds how many come from one. Its answer has status 201.
//
// Anybody may register anything: such a client is believed nothing, and forgotten
// in a day unless somebody allows it.
func (s *Server) Register(ctx context.Context, body []byte, viewer string) (json.RawMessage, error) {
	if len(body) > maxMetadata {
		return nil, refuse(invalidClientMetadata, "the metadata is longer than %d bytes", maxMetadata)
	}
	m := metadata{AuthMethod: AuthBasic} // RFC 7591 §2: the default
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, refuse(invalidClientMetadata, "the metadata is no JSON of the form of RFC 7591")
	}
	c, problem := m.client(s.Redirects)
	if problem != nil {
		return nil, problem
	}
	if err := s.admit(ctx, "registrations of "+token.Hash(token.Secret(network(viewer)))[:16], maxPerViewer); err != nil {
		return nil, err
	}
	if err := s.admit(ctx, "registrations", maxRegistrations); err != nil {
		return nil, err
	}
	secret := newClient(&c, Dynamic, s.Now())
	c.ExpiresAt = c.CreatedAt.Add(unusedLife)
	if err := s.Store.AddClient(ctx, c); err != nil {
		return nil, fmt.Errorf("register the client: %w", err)
	}
	answer := registration{
		ID: c.ID, IssuedAt: c.CreatedAt.Unix(), Secret: secret.Reveal(), Name: c.Name, URI: c.URI, RedirectURIs: c.RedirectURIs,
		GrantTypes: grantTypes, ResponseTypes: []string{"code"}, AuthMethod: c.AuthMethod, JWKS: c.JWKS, JWKSURI: c.JWKSURI,
	}
	if secret != "" {
		// 0: never. The secret ends with the client, which moves while it is used.
		answer.SecretExpires = new(int64)
	}
	return document(answer), nil
}

// network is whose an address is: of IPv6, everybody has 64 bits for themselves.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	prefix, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}
