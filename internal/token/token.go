// Package token holds the values that Lanyard exists to protect: what a
// provider granted, in types that do not print themselves.
//
// A [Set] has two parts, sealed apart. The [Grant] is the long-lived part: the
// refresh tokens, written when a connection is made and when a provider
// rotates them. The [Access] is the short-lived part: what a caller or a
// running server is given.
package token

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"maps"
	"slices"
	"time"
)

const redacted = "[redacted]"

// Secret is a string that redacts itself when printed, logged or formatted,
// by itself or in an exported field; package fmt does not ask unexported ones,
// so a struct with a secret in one is not to be printed.
// It is marshalled to JSON in clear, because sealing and answering need that;
// nothing that holds one may be marshalled anywhere else.
type Secret string

// Reveal returns the secret itself. Each call is a place where a secret leaves
// the type system: there should be few, and each should be easy to find.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string       { return redacted }
func (s Secret) GoString() string     { return redacted }
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format keeps every verb, %x and %q included, from printing the secret.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// Token is one access token of a grant, as a caller may have it.
type Token struct {
	AccessToken Secret `json:"access_token"`
	// TokenType is what the provider said (RFC 6749 §7.1). Some providers put
	// other things here (Slack: "bot"), so it is not an HTTP scheme.
	TokenType string `json:"token_type,omitempty"`
	// ExpiresAt is zero when the provider named no lifetime.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Scopes    []string  `json:"scopes,omitempty"`
}

// Access is the short-lived part of a set: everything that may leave the vault
// for a caller or a task.
type Access struct {
	// Tokens by name. The main token's name is "": a provider that grants
	// several in one exchange names the others (Slack: "user").
	Tokens map[string]Token `json:"tokens,omitempty"`
	// Metadata is what the provider's data names as worth keeping, by its path
	// in the token response ("team.id").
	Metadata map[string]string `json:"metadata,omitempty"`
	// Values are what a person pasted for an auth_type: api_key server, by
	// environment variable.
	Values map[string]Secret `json:"values,omitempty"`
}

// Types that hold secrets are marshalled on purpose when they are sealed or
// answered; a logger that marshals must not do it by accident.

func (t Token) LogValue() slog.Value     { return slog.StringValue(redacted) }
func (a Access) LogValue() slog.Value    { return slog.StringValue(redacted) }
func (r Renewable) LogValue() slog.Value { return slog.StringValue(redacted) }
func (g Grant) LogValue() slog.Value     { return slog.StringValue(redacted) }

// ExpiresAt is when the first of the tokens expires; zero when none does.
func (a Access) ExpiresAt() time.Time {
	var first time.Time
	for _, t := range a.Tokens {
		if !t.ExpiresAt.IsZero() && (first.IsZero() || t.ExpiresAt.Before(first)) {
			first = t.ExpiresAt
		}
	}
	return first
}

// Renewable is one refresh token of a grant.
type Renewable struct {
	RefreshToken Secret `json:"refresh_token"`
	// ExpiresAt is zero when the provider named no lifetime for it.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Grant is the long-lived part of a set. Only callback and refresh ever hold
// one.
type Grant struct {
	// Renewables by the name of the token that they renew; see [Access.Tokens].
	Renewables map[string]Renewable `json:"renewables,omitempty"`
}

// FirstEnd is when the first refresh token of the grant expires; zero: never.
func (g Grant) FirstEnd() time.Time {
	var first time.Time
	for _, r := range g.Renewables {
		if !r.ExpiresAt.IsZero() && (first.IsZero() || r.ExpiresAt.Before(first)) {
			first = r.ExpiresAt
		}
	}
	return first
}

// Hash is a short name of the grant's refresh tokens, and tells nothing of them.
func (g Grant) Hash() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(g.Renewables)) {
		fmt.Fprintf(h, "%s=%s\n", name, g.Renewables[name].RefreshToken.Reveal())
	}
	return shortHash(h)
}

// Hash is a short name of the access tokens, and tells nothing of them.
func (a Access) Hash() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(a.Tokens)) {
		fmt.Fprintf(h, "%s=%s\n", name, a.Tokens[name].AccessToken.Reveal())
	}
	return shortHash(h)
}

// shortHash is the first 128 bits of a SHA-256: names are stored in each row.
func shortHash(h hash.Hash) string {
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// Empty reports whether there is nothing in the grant to keep.
func (g Grant) Empty() bool { return len(g.Renewables) == 0 }

// Set is everything that one grant yielded.
type Set struct {
	Grant  Grant
	Access Access
}

// Secrets lists every secret value of the set, for redaction and for tests.
func (s Set) Secrets() []string {
	var out []string
	for _, r := range s.Grant.Renewables {
		out = append(out, r.RefreshToken.Reveal())
	}
	return append(out, s.Access.Secrets()...)
}

// Secrets lists every secret value of the access part.
func (a Access) Secrets() []string {
	var out []string
	for _, t := range a.Tokens {
		out = append(out, t.AccessToken.Reveal())
	}
	for _, v := range a.Values {
		out = append(out, v.Reveal())
	}
	return out
}

// MarshalJSON refuses: the parts of a set are sealed apart, each in its own
// plaintext.
func (s Set) MarshalJSON() ([]byte, error) {
	return nil, errors.New("token: a set is not marshalled; seal its parts")
}
