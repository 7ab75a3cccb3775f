package vault

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Part is which half of a token set a sealed value holds.
type Part byte

// The parts. Each is sealed by itself, under its own binding.
const (
	GrantPart  Part = 'g'
	AccessPart Part = 'a'
)

// Binding is what a sealed value belongs to. A value opens under the binding
// that it was sealed with and under no other: a value copied to another row, or
// an older one put back, does not open.
type Binding struct {
	Tenant, Connection string
	Part               Part
	// Version is the set version that the row names.
	Version string
}

// Keys is the key-encryption key: KMS, or a key file on one machine.
type Keys interface {
	// DataKey returns a fresh 256-bit key and the same key wrapped for the
	// tenant. The wrapping is bound to the tenant (the KMS encryption context).
	DataKey(ctx context.Context, tenant string) (key, wrapped []byte, err error)
	// Unwrap returns the key that was wrapped for that tenant, or ErrSealed if
	// it was not; any other error means that the key could not be asked for.
	Unwrap(ctx context.Context, tenant string, wrapped []byte) ([]byte, error)
}

// ErrSealed means that a sealed value did not open: it is damaged, belongs to
// another row or version, or its key is another one.
var ErrSealed = errors.New("the sealed value does not open here")

// The sealed format, version 1:
//
//	 0  4  magic and format   "LYD" 0x01
//	 4  1  algorithm          0x01: AES-256-GCM, 96-bit random nonce
//	 5  1  part               'g' grant, 'a' access
//	 6  2  length of the wrapped key, big-endian
//	 8  n  wrapped data key   opaque: a KMS ciphertext blob, or a key file's
//	…  12  nonce
//	…   …  ciphertext, 128-bit tag
//
// The plaintext is a part's JSON, or begins with 0x01 and is that JSON packed
// (package dense).
//
// The additional data is everything before the nonce, then tenant, connection
// and version, each with its length (uint32, big-endian) before it.
const (
	magic      = "LYD\x01"
	aes256gcm  = 1
	headerSize = 8
	nonceSize  = 12
	tagSize    = 16
	maxWrapped = 6144 // a KMS ciphertext blob is at most this long
)

// Sealer seals and opens values under the data keys of [Keys].
type Sealer struct {
	Keys Keys
	// Rand is the source of nonces: crypto/rand.Reader, but in test vectors.
	Rand io.Reader
}

// Seal encrypts plaintext for its place.
func (s *Sealer) Seal(ctx context.Context, b Binding, plaintext []byte) ([]byte, error) {
	key, wrapped, err := s.Keys.DataKey(ctx, b.Tenant)
	if err != nil {
		return nil, fmt.Errorf("make a data key: %w", err)
	}
	if len(wrapped) > maxWrapped {
		return nil, fmt.Errorf("wrapped data key of %d bytes", len(wrapped))
	}
	gcm, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	size := headerSize + len(wrapped)
	out := make([]byte, size+nonceSize, size+nonceSize+len(plaintext)+tagSize)
	copy(out, magic)
	out[4], out[5] = aes256gcm, byte(b.Part)
	binary.BigEndian.PutUint16(out[6:], uint16(len(wrapped)))
	copy(out[headerSize:], wrapped)
	nonce := out[size:]
	if _, err := io.ReadFull(s.Rand, nonce); err != nil {
		return nil, fmt.Errorf("read a nonce: %w", err)
	}
	return gcm.Seal(out, nonce, plaintext, b.additional(out[:size])), nil
}

// Open decrypts a sealed value, or returns ErrSealed.
func (s *Sealer) Open(ctx context.Context, b Binding, sealed []byte) ([]byte, error) {
	if len(sealed) < headerSize || string(sealed[:4]) != magic || sealed[4] != aes256gcm || sealed[5] != byte(b.Part) {
		return nil, ErrSealed
	}
	size := headerSize + int(binary.BigEndian.Uint16(sealed[6:]))
	if len(sealed) < size+nonceSize+tagSize {
		return nil, ErrSealed
	}
	key, err := s.Keys.Unwrap(ctx, b.Tenant, sealed[headerSize:size])
	if err != nil {
		return nil, fmt.Errorf("unwrap the data key: %w", err)
	}
	gcm, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	nonce := sealed[size : size+nonceSize]
	plain, err := gcm.Open(nil, nonce, sealed[size+nonceSize:], b.additional(sealed[:size]))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

func (b Binding) additional(header []byte) []byte {
	aad := append([]byte(nil), header...)
	for _, s := range []string{b.Tenant, b.Connection, b.Version} {
		aad = binary.BigEndian.AppendUint32(aad, uint32(len(s)))
		aad = append(aad, s...)
	}
	return aad
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
