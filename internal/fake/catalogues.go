package fake

import (
	"bytes"
	"context"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
)

var _ host.Catalogues = (*Store)(nil)

// PutCatalogue implements [host.Catalogues].
func (s *Store) PutCatalogue(_ context.Context, k connection.Key, packed []byte) error {
	if len(packed) > host.MaxCatalogue {
		return host.ErrTooLarge
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catalogues[k] = bytes.Clone(packed)
	return nil
}

// Catalogue implements [host.Catalogues].
func (s *Store) Catalogue(_ context.Context, k connection.Key) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	packed, ok := s.catalogues[k]
	if !ok {
		return nil, host.ErrNoCatalogue
	}
	return bytes.Clone(packed), nil
}

// DeleteCatalogue implements [host.Catalogues].
func (s *Store) DeleteCatalogue(_ context.Context, k connection.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.catalogues, k)
	return nil
}
