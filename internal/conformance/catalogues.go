package conformance

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
)

// Catalogues is the suite of host.Catalogues.
func Catalogues(t *testing.T, newStore func(*testing.T) host.Catalogues) {
	for name, check := range map[string]func(*testing.T, host.Catalogues){
		"CatalogueOfNobody":    catalogueOfNobody,
		"PutCatalogueReplaces": putCatalogueReplaces,
		"LargeCatalogue":       largeCatalogue,
		"DeleteCatalogue":      deleteCatalogue,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, newStore(t))
		})
	}
}

func wantCatalogue(t *testing.T, s host.Catalogues, k connection.Key, want []byte) {
	t.Helper()
	got, err := s.Catalogue(t.Context(), k)
	ok(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("of %v %d bytes %.40q, want %d %.40q", k, len(got), got, len(want), want)
	}
}

func catalogueOfNobody(t *testing.T, s host.Catalogues) {
	_, err := s.Catalogue(t.Context(), key("con_1"))
	wantErr(t, err, host.ErrNoCatalogue)
	_, err = s.Catalogue(t.Context(), connection.Key{})
	wantErr(t, err, host.ErrNoCatalogue)
}

func putCatalogueReplaces(t *testing.T, s host.Catalogues) {
	elsewhere := connection.Key{Tenant: "other", ID: "con_1"}
	ok(t, s.PutCatalogue(t.Context(), key("con_1"), []byte("one")))
	ok(t, s.PutCatalogue(t.Context(), elsewhere, []byte("another's")))
	ok(t, s.PutCatalogue(t.Context(), key("con_1"), []byte("c\x00\xff two")))
	wantCatalogue(t, s, key("con_1"), []byte("c\x00\xff two"))
	wantCatalogue(t, s, elsewhere, []byte("another's"))
	_, err := s.Catalogue(t.Context(), key("con_2"))
	wantErr(t, err, host.ErrNoCatalogue)
}

// largeCatalogue: what is too large leaves what is there.
func largeCatalogue(t *testing.T, s host.Catalogues) {
	random := rand.NewChaCha8([32]byte{1})
	large := make([]byte, host.MaxCatalogue)
	_, _ = random.Read(large) // never fails
	ok(t, s.PutCatalogue(t.Context(), key("con_1"), large))
	wantCatalogue(t, s, key("con_1"), large)
	wantErr(t, s.PutCatalogue(t.Context(), key("con_1"), make([]byte, 64<<20)), host.ErrTooLarge)
	wantCatalogue(t, s, key("con_1"), large)
}

func deleteCatalogue(t *testing.T, s host.Catalogues) {
	elsewhere := connection.Key{Tenant: "other", ID: "con_1"}
	ok(t, s.PutCatalogue(t.Context(), key("con_1"), []byte("one")))
	ok(t, s.PutCatalogue(t.Context(), elsewhere, []byte("another's")))
	for range 2 { // the second has nothing to remove
		ok(t, s.DeleteCatalogue(t.Context(), key("con_1")))
		_, err := s.Catalogue(t.Context(), key("con_1"))
		wantErr(t, err, host.ErrNoCatalogue)
	}
	wantCatalogue(t, s, elsewhere, []byte("another's"))
}
