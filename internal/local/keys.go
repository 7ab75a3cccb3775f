package local

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/lanyardhq/lanyard/internal/vault"
)

const keySize = 32

// A wrapped data key:
//
//	 0  4  magic and format   "LYK" 0x01
//	 4 12  nonce              random
//	16 32  the data key, encrypted with AES-256-GCM
//	48 16  tag
//
// The additional data is the magic and the tenant.
const (
	wrapMagic = "LYK\x01"
	wrapNonce = 12
	wrapTag   = 16
	wrapSize  = len(wrapMagic) + wrapNonce + keySize + wrapTag
)

// KeyFile is this machine's key, read from a file. It is used for nothing
// itself: what wraps data keys and what [KeyFile.Derive] returns are derived
// from it, each under a label of its own (RFC 5869).
type KeyFile struct {
	root []byte
	wrap cipher.AEAD
}

var _ vault.Keys = (*KeyFile)(nil)

// OpenKeys reads the key file, or makes one if there is none. Without the file
// nothing that was sealed can be opened: it belongs in the backup, apart from
// the database.
func OpenKeys(path string) (*KeyFile, error) {
	root, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createKey(path); err != nil {
			return nil, fmt.Errorf("make the key file: %w", err)
		}
		root, err = readKey(path)
	}
	if err != nil {
		return nil, err
	}
	k := &KeyFile{root: root}
	block, err := aes.NewCipher(k.derive("lanyard: wrap data keys, v1"))
	if err != nil {
		return nil, err
	}
	k.wrap, err = cipher.NewGCM(block)
	return k, err
}

func readKey(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the key file: %w", err)
	}
	defer f.Close()
	// Of the open file, not of the name: what is checked is what is read.
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("open the key file: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("the key file %s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("the key file %s can be used by others than its owner (mode %04o): run `chmod 600 %s`; if others may have read it, disconnect and connect anew",
			path, info.Mode().Perm(), path)
	case info.Size() != keySize:
		return nil, fmt.Errorf("the key file %s is %d bytes long and must be %d: restore it from a backup; move it away only if nothing sealed with it is needed any more",
			path, info.Size(), keySize)
	}
	key := make([]byte, keySize)
	if _, err := io.ReadFull(f, key); err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	return key, nil
}

func createKey(path string) error {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails: it ends the program instead
	return createWhole(path, key)
}

// DataKey implements [vault.Keys].
func (k *KeyFile) DataKey(_ context.Context, tenant string) (key, wrapped []byte, err error) {
	key = make([]byte, keySize)
	_, _ = rand.Read(key)
	wrapped = make([]byte, len(wrapMagic)+wrapNonce, wrapSize)
	copy(wrapped, wrapMagic)
	nonce := wrapped[len(wrapMagic):]
	_, _ = rand.Read(nonce)
	return key, k.wrap.Seal(wrapped, nonce, key, []byte(wrapMagic+tenant)), nil
}

// Unwrap implements [vault.Keys]; a key that was not wrapped for this tenant
// with this file is vault.ErrSealed.
func (k *KeyFile) Unwrap(_ context.Context, tenant string, wrapped []byte) ([]byte, error) {
	if len(wrapped) != wrapSize || string(wrapped[:len(wrapMagic)]) != wrapMagic {
		return nil, vault.ErrSealed
	}
	nonce, sealed := wrapped[len(wrapMagic):len(wrapMagic)+wrapNonce], wrapped[len(wrapMagic)+wrapNonce:]
	key, err := k.wrap.Open(nil, nonce, sealed, []byte(wrapMagic+tenant))
	if err != nil {
		return nil, vault.ErrSealed
	}
	return key, nil
}

// Derive returns another 32-byte key of this machine, always the same for the
// same label.
func (k *KeyFile) Derive(label string) []byte {
	return k.derive("lanyard: derived, v1: " + label)
}

func (k *KeyFile) derive(info string) []byte {
	key, err := hkdf.Key(sha256.New, k.root, nil, info, keySize)
	if err != nil {
		// Only a length beyond 255 hashes is an error, and ours is one.
		panic(err)
	}
	return key
}
