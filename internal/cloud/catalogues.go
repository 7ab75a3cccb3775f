package cloud

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
)

var _ host.Catalogues = (*Table)(nil)

// keepCatalogue is for how long a catalogue is kept that no start of its server
// has renewed.
const keepCatalogue = 90 * 24 * time.Hour

func cataloguePK(k connection.Key) string { return join("LST", k.Tenant, k.ID) }

// PutCatalogue implements [host.Catalogues].
func (t *Table) PutCatalogue(ctx context.Context, k connection.Key, packed []byte) error {
	if len(packed) > host.MaxCatalogue {
		return host.ErrTooLarge
	}
	it := at(cataloguePK(k), only)
	it["packed"], it["ttl"] = binary(packed), until(t.Now().Add(keepCatalogue))
	return t.put(ctx, it, condition{})
}

// Catalogue implements [host.Catalogues].
func (t *Table) Catalogue(ctx context.Context, k connection.Key) ([]byte, error) {
	it, err := t.get(ctx, cataloguePK(k), only)
	if err == nil && it == nil {
		err = host.ErrNoCatalogue
	}
	return binaryOf(it, "packed"), err
}

// DeleteCatalogue implements [host.Catalogues].
func (t *Table) DeleteCatalogue(ctx context.Context, k connection.Key) error {
	_, err := t.API.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &t.Name, Key: at(cataloguePK(k), only)})
	return failed(err)
}
