package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

// minAPIKey is the fewest characters of an API key that somebody chose.
const minAPIKey = 16

// OpenAPIKey returns the API key of this machine: the one given, or the one in
// the file, which is made 0600 if it is not there.
func OpenAPIKey(given token.Secret, path string) (token.Secret, error) {
	if given != "" {
		if len(given) < minAPIKey {
			return "", fmt.Errorf("LANYARD_API_KEY is shorter than %d characters: choose a longer one, or leave it out and one is made", minAPIKey)
		}
		return given, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key := "lyk_" + token.NewSecret()
		if err := createWhole(path, []byte(key.Reveal()+"\n")); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("make the API key: %w", err)
		}
		data, err = os.ReadFile(path) // another process may have been faster
	}
	if err != nil {
		return "", fmt.Errorf("read the API key: %w", err)
	}
	key := token.Secret(strings.TrimSpace(string(data)))
	if len(key) < minAPIKey {
		return "", fmt.Errorf("%s holds no API key: remove it and a new one is made", path)
	}
	return key, nil
}

// APIKeys knows the one API key of this machine.
type APIKeys struct {
	hash string
	// refused is what a wrong key is answered with.
	refused error
}

// NewAPIKeys returns the keys of a machine with one; refused is the error for
// every other.
func NewAPIKeys(key token.Secret, refused error) *APIKeys { return &APIKeys{token.Hash(key), refused} }

// Tenant returns the default tenant for the machine's key.
func (k *APIKeys) Tenant(_ context.Context, key token.Secret) (string, error) {
	if !token.Matches(key, k.hash) {
		return "", k.refused
	}
	return flow.DefaultTenant, nil
}
