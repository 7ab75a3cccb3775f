package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// NewID returns a fresh identifier of 128 random bits, such as "con_5x…": safe
// in URLs, file names and environment variables.
func NewID(prefix string) string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // crypto/rand.Read never fails: it ends the program instead
	return prefix + "_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// NewSecret returns 256 random bits, base64url: states, session cookies, links.
func NewSecret() Secret {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return Secret(base64.RawURLEncoding.EncodeToString(b))
}

// Hash is what is stored in place of a high-entropy secret that is only ever
// compared: the lower-case hex SHA-256.
func Hash(s Secret) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Matches compares a secret with a stored [Hash] in constant time.
func Matches(s Secret, hash string) bool {
	return subtle.ConstantTimeCompare([]byte(Hash(s)), []byte(hash)) == 1
}

// DeriveID and DeriveSecret are [NewID] and [NewSecret] as functions of a
// seed, which must itself be a secret of high entropy: a repeated request gets
// the same answer without anything being kept in clear.
func DeriveID(prefix string, seed []byte) string {
	sum := sha256.Sum256(append([]byte("lanyard id\x00"), seed...))
	return prefix + "_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

// DeriveSecret: see [DeriveID].
func DeriveSecret(seed []byte) Secret {
	sum := sha256.Sum256(append([]byte("lanyard secret\x00"), seed...))
	return Secret(base64.RawURLEncoding.EncodeToString(sum[:]))
}
