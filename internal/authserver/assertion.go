package authserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/lanyardhq/lanyard/internal/token"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	maxAssertion  = 8 << 10
	// maxAssertionLife is how far ahead an assertion may end: for so long its jti
	// is remembered. clockSkew is by how much its clock may differ from ours.
	maxAssertionLife = 10 * time.Minute
	clockSkew        = 30 * time.Second
	// keysAge is for how long fetched keys are used; an unknown key is looked for
	// again after newKeyAge.
	keysAge   = time.Hour
	newKeyAge = time.Minute
	// maxKeysPerHost is how often keys are fetched from one host in an hour, by
	// all processes; see maxPerHost.
	maxKeysPerHost = 1000
)

// algorithms are those of a signature that only the holder of a private key makes.
var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.RS256, jose.PS256, jose.EdDSA}

func algorithmNames() []string {
	var names []string
	for _, a := range algorithms {
		names = append(names, string(a))
	}
	return names
}

// byAssertion returns the client that signed an assertion (RFC 7523 §3). id is
// who the form says it is, if it says so.
func (s *Server) byAssertion(ctx context.Context, id, assertion, kind string) (Client, error) {
	refused := badClient("the client_assertion is not good")
	if kind != assertionType {
		return Client{}, refuse(invalidRequest, "client_assertion_type has to be %s", assertionType)
	}
	if len(assertion) > maxAssertion {
		return Client{}, refused
	}
	signed, err := jwt.ParseSigned(assertion, algorithms)
	if err != nil {
		return Client{}, refused
	}
	var claims jwt.Claims
	if err := signed.UnsafeClaimsWithoutVerification(&claims); err != nil || claims.Subject == "" {
		return Client{}, refused
	}
	if id != "" && id != claims.Subject {
		return Client{}, refuse(invalidRequest, "client_id is another one than that of the client_assertion")
	}
	c, err := s.client(ctx, claims.Subject, true)
	switch {
	case errors.Is(err, ErrNoClient):
		return Client{}, badClient("there is no such client, or no more; register anew")
	case err != nil:
		return Client{}, err
	case c.AuthMethod != AuthKeyJWT:
		return Client{}, badClient("the client did not prove itself as it registered to")
	}
	ok, err := s.signedBy(ctx, c, signed, &claims)
	if err != nil {
		return Client{}, err
	}
	if problem := s.wrong(c, claims); !ok || problem != "" {
		return Client{}, badClient("the client_assertion is not good" + problem)
	}
	err = s.Store.Spend(ctx, "jti "+token.Hash(token.Secret(c.ID+" "+claims.ID)), claims.Expiry.Time().Add(clockSkew))
	if errors.Is(err, ErrSpent) {
		return Client{}, badClient("the client_assertion was used before")
	}
	return c, err
}

// wrong says what of the claims of an assertion is not good; "": nothing.
func (s *Server) wrong(c Client, claims jwt.Claims) string {
	now := s.Now()
	switch {
	case claims.Issuer != c.ID || claims.Subject != c.ID:
		return ": iss and sub have to be the client_id"
	case !claims.Audience.Contains(s.BaseURL) && !claims.Audience.Contains(s.tokenEndpoint()):
		return ": aud has to be the issuer or its token endpoint"
	case claims.Expiry == nil || !now.Before(claims.Expiry.Time().Add(clockSkew)):
		return ": exp is missing or over"
	case claims.Expiry.Time().After(now.Add(maxAssertionLife + clockSkew)):
		return fmt.Sprintf(": exp is more than %s ahead", maxAssertionLife)
	case claims.NotBefore != nil && claims.NotBefore.Time().After(now.Add(clockSkew)):
		return ": nbf is ahead"
	case claims.ID == "":
		return ": jti is missing"
	}
	return ""
}

// signedBy checks an assertion by the keys of the client, and reads its claims.
func (s *Server) signedBy(ctx context.Context, c Client, signed *jwt.JSONWebToken, claims *jwt.Claims) (bool, error) {
	if c.JWKSURI == "" {
		keys, _ := publicKeys(c.JWKS)
		return signedByOne(keys, signed, claims), nil
	}
	for _, age := range []time.Duration{keysAge, newKeyAge} {
		got, err := s.fetch(ctx, c.JWKSURI, age, func(ctx context.Context) error {
			return s.admit(ctx, "keys of "+hostOf(c.JWKSURI), maxKeysPerHost)
		})
		if errors.Is(err, ErrNoClient) {
			return false, badClient("the keys of the client could not be fetched from its jwks_uri")
		}
		if err != nil {
			return false, err
		}
		keys, _ := publicKeys(got.body)
		if signedByOne(keys, signed, claims) {
			return true, nil
		}
	}
	return false, nil
}

// signedByOne tries the keys that the assertion may mean: that of its kid, or
// all where it names none.
func signedByOne(keys []jose.JSONWebKey, signed *jwt.JSONWebToken, claims *jwt.Claims) bool {
	kid, algorithm := signed.Headers[0].KeyID, signed.Headers[0].Algorithm
	for _, k := range keys {
		if kid != "" && k.KeyID != kid || k.Use != "" && k.Use != "sig" || k.Algorithm != "" && k.Algorithm != algorithm {
			continue
		}
		*claims = jwt.Claims{}
		if signed.Claims(k.Key, claims) == nil {
			return true
		}
	}
	return false
}
