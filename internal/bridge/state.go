package bridge

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// claims is what a requestState says: which suspended call it resumes, whose it
// is, until when, and of which request. As the client sees it, it is
// base64url(nonce ‖ AES-256-GCM(JSON)), under a key that this bridge made and
// keeps to itself. That it is used once, the suspended call sees to.
type claims struct {
	Call    string `json:"call"`
	Client  []byte `json:"client"`
	Expires int64  `json:"expires"`
	Method  string `json:"method"`
	Digest  []byte `json:"digest"`
}

// stateLabel tells these ciphertexts from any others.
var stateLabel = []byte("lanyard request state 1")

// states seals and opens claims.
type states struct{ aead cipher.AEAD }

func newStates() states {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand
	block, err := aes.NewCipher(key)
	if err != nil { // the key has the right length
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return states{aead}
}

func (s states) seal(c claims) string {
	plain, err := json.Marshal(c)
	if err != nil { // strings, bytes and a number
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, plain, stateLabel))
}

// open returns the call that a state resumes, if it is of the request that want
// describes.
func (s states) open(state string, want claims, now time.Time) (string, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(state)
	if err != nil {
		return "", mcp.ErrRequestState
	}
	plain, err := s.aead.Open(nil, nil, sealed, stateLabel)
	var c claims
	if err != nil || json.Unmarshal(plain, &c) != nil {
		return "", mcp.ErrRequestState
	}
	if !bytes.Equal(c.Client, want.Client) || c.Method != want.Method || !bytes.Equal(c.Digest, want.Digest) || now.Unix() >= c.Expires {
		return "", mcp.ErrRequestState
	}
	return c.Call, nil
}

// describe are the claims of a request of a client's, but for its call and time.
func describe(s *session, m mcp.Message) (claims, error) {
	digest, err := m.RetryDigest()
	if err != nil {
		return claims{}, err
	}
	client := sha256.Sum256([]byte(s.id))
	return claims{Client: client[:], Method: m.Method, Digest: digest}, nil
}
