package discover

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/flow"
)

const (
	oauthPath  = "/.well-known/oauth-authorization-server"
	openidPath = "/.well-known/openid-configuration"
	// maxIssuer bounds the name of an issuer, in bytes: it is a key of stores.
	maxIssuer = 1000
)

// issuerForm is the form of an issuer: a person may be shown it in a command to
// copy, where a shell must find nothing in it.
var issuerForm = regexp.MustCompile(`^https?://[A-Za-z0-9._~:/%+\[\]-]+$`)

// metadata are what an authorization server says of itself (RFC 8414 §2).
type metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	RegistrationEndpoint  string   `json:"registration_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	Scopes                []string `json:"scopes_supported"`
	ResponseTypes         []string `json:"response_types_supported"`
	Challenges            []string `json:"code_challenge_methods_supported"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	ISS                   bool     `json:"authorization_response_iss_parameter_supported"`
	Documents             bool     `json:"client_id_metadata_document_supported"`
}

// issuer reads the metadata of an issuer in the first of the forms that has them,
// in the order that MCP sets. Those of another issuer end the search: it is
// exactly who has to be trusted that somebody tries to change.
func (f fetcher) issuer(ctx context.Context, issuer string, legacy bool) (metadata, error) {
	u, err := f.trusted("authorization server", issuer)
	if err != nil {
		return metadata{}, err
	}
	if len(issuer) > maxIssuer || !issuerForm.MatchString(issuer) {
		return metadata{}, fmt.Errorf("%w: the name of its authorization server is too long, or has a query or signs that no such name needs", flow.ErrDiscovery)
	}
	path := strings.TrimSuffix(u.Path, "/")
	places := []*url.URL{at(u, oauthPath+path), at(u, openidPath+path)}
	if path != "" {
		places = append(places, at(u, path+openidPath))
	}
	for _, place := range places {
		var m metadata
		switch err := f.document(ctx, place, &m); {
		case errors.Is(err, errAbsent):
			continue
		case err != nil:
			return metadata{}, err
		}
		// RFC 8414 §3.3: the very same. Nobody named the issuer of a server that says
		// nothing, so there its own origin may be written with a slash.
		if m.Issuer != issuer && !(legacy && m.Issuer == issuer+"/") {
			return metadata{}, fmt.Errorf("%w: the metadata at %s are those of another issuer", flow.ErrDiscovery, u.Host)
		}
		return m, f.check(m)
	}
	if !legacy {
		return metadata{}, fmt.Errorf("%w: its authorization server %s has no metadata", flow.ErrDiscovery, u.Host)
	}
	// MCP 2025-03-26, which has these where there are no metadata, and PKCE for all.
	m := metadata{Issuer: issuer, AuthorizationEndpoint: issuer + "/authorize", TokenEndpoint: issuer + "/token", RegistrationEndpoint: issuer + "/register",
		Challenges: []string{"S256"}}
	return m, f.check(m)
}

// check wants all that a grant will be asked for with to be safe.
func (f fetcher) check(m metadata) error {
	if !slices.Contains(m.Challenges, "S256") {
		return fmt.Errorf("%w: its authorization server does not say that it supports PKCE with S256 (RFC 7636)", flow.ErrDiscovery)
	}
	if len(m.ResponseTypes) > 0 && !slices.Contains(m.ResponseTypes, "code") {
		return fmt.Errorf("%w: its authorization server gives no codes", flow.ErrDiscovery)
	}
	for _, e := range []struct {
		name, url string
		needed    bool
	}{
		{"authorization_endpoint", m.AuthorizationEndpoint, true}, {"token_endpoint", m.TokenEndpoint, true},
		{"registration_endpoint", m.RegistrationEndpoint, false}, {"revocation_endpoint", m.RevocationEndpoint, false},
	} {
		if e.url == "" && !e.needed {
			continue
		}
		if _, err := f.trusted(e.name, e.url); err != nil {
			return err
		}
	}
	return nil
}
