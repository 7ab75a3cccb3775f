package authserver

import (
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
)

const (
	// maxMetadata is how much of metadata is read, of a document or of a
	// registration. The draft of Client ID Metadata Documents suggests 5 KB;
	// a set of RSA keys with their certificates is longer than that.
	maxMetadata     = 64 << 10
	maxRedirectURIs = 10
	maxName         = 256
	maxKeys         = 16
)

var (
	grantTypes  = []string{"authorization_code", "refresh_token"}
	authMethods = []string{AuthNone, AuthBasic, AuthPost, AuthKeyJWT}
)

// metadata is what a client says of itself (RFC 7591 §2), as far as it is read
// here. Other members are ignored.
type metadata struct {
	Name          string          `json:"client_name"`
	URI           string          `json:"client_uri"`
	RedirectURIs  []string        `json:"redirect_uris"`
	AuthMethod    string          `json:"token_endpoint_auth_method"`
	GrantTypes    []string        `json:"grant_types"`
	ResponseTypes []string        `json:"response_types"`
	JWKS          json.RawMessage `json:"jwks"`
	JWKSURI       string          `json:"jwks_uri"`
}

// client is what the metadata makes, without an id; own are the redirect URIs
// with a scheme of their own that are allowed.
func (m metadata) client(own []string) (Client, *Error) {
	switch {
	case len(m.RedirectURIs) == 0:
		return Client{}, refuse(invalidRedirectURI, "redirect_uris is missing or empty")
	case len(m.RedirectURIs) > maxRedirectURIs:
		return Client{}, refuse(invalidRedirectURI, "there are more than %d redirect_uris", maxRedirectURIs)
	case len(m.Name) > maxName || !utf8.ValidString(m.Name):
		return Client{}, refuse(invalidClientMetadata, "client_name is longer than %d bytes", maxName)
	case len(m.GrantTypes) > 0 && !slices.Contains(m.GrantTypes, "authorization_code"):
		return Client{}, refuse(invalidClientMetadata, "grant_types has no authorization_code, which is the way in")
	case len(m.ResponseTypes) > 0 && !slices.Contains(m.ResponseTypes, "code"):
		return Client{}, refuse(invalidClientMetadata, "response_types has no code, which is the only one here")
	case !slices.Contains(authMethods, m.AuthMethod):
		return Client{}, refuse(invalidClientMetadata, "token_endpoint_auth_method is none of those that the server's metadata lists")
	}
	for i, raw := range m.RedirectURIs {
		if problem := checkRedirect(raw, own); problem != "" {
			return Client{}, refuse(invalidRedirectURI, "redirect URI %d is not taken: %s", i+1, problem)
		}
	}
	c := Client{Name: m.Name, RedirectURIs: m.RedirectURIs, AuthMethod: m.AuthMethod}
	// A home page is for show: one that is none is left out.
	if u, problem := plainURL(m.URI); problem == "" && u.Scheme == "https" {
		c.URI = m.URI
	}
	if m.AuthMethod != AuthKeyJWT {
		return c, nil
	}
	switch {
	case (len(m.JWKS) > 0) == (m.JWKSURI != ""):
		return Client{}, refuse(invalidClientMetadata, "private_key_jwt needs jwks or jwks_uri, and not both")
	case m.JWKSURI != "":
		if u, problem := plainURL(m.JWKSURI); problem != "" || u.Scheme != "https" && !loopback(u) {
			return Client{}, refuse(invalidClientMetadata, "jwks_uri is no https URL")
		}
		c.JWKSURI = m.JWKSURI
	default:
		if _, ok := publicKeys(m.JWKS); !ok {
			return Client{}, refuse(invalidClientMetadata, "jwks is no set of public keys")
		}
		c.JWKS = m.JWKS
	}
	return c, nil
}

// publicKeys reads a set of keys (RFC 7517 §5), of which all are public halves.
func publicKeys(raw []byte) ([]jose.JSONWebKey, bool) {
	var set jose.JSONWebKeySet
	if json.Unmarshal(raw, &set) != nil || len(set.Keys) == 0 || len(set.Keys) > maxKeys {
		return nil, false
	}
	for _, k := range set.Keys {
		if !k.Valid() || !k.IsPublic() {
			return nil, false
		}
	}
	return set.Keys, true
}
