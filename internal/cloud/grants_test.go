package cloud_test

import (
	"testing"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/conformance"
	"github.com/lanyardhq/lanyard/internal/vault"
)

func TestSecretGrants(t *testing.T) {
	cfg, _ := through(t, nil)
	conformance.Grants(t, func(t *testing.T) vault.GrantStore {
		return &cloud.SecretGrants{Store: newSecrets(t, cfg)}
	})
}

func TestTableGrants(t *testing.T) {
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.Grants(t, func(t *testing.T) vault.GrantStore { return newTable(t).Grants() })
	})
}

func TestTableSlots(t *testing.T) {
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.Slots(t, func(t *testing.T) vault.Slots { return newTable(t).Grants() })
	})
}

// Where new grants go to the table, they go to its slots.
func TestGrantsSlots(t *testing.T) {
	conformance.Slots(t, func(t *testing.T) vault.Slots { return newGrants(t, "dynamodb") })
}

// Both stores as one are a store, whichever takes what is new.
func TestGrants(t *testing.T) {
	for _, store := range []string{"secretsmanager", "dynamodb"} {
		t.Run(store, func(t *testing.T) {
			conformance.Grants(t, func(t *testing.T) vault.GrantStore { return newGrants(t, store) })
		})
	}
}

func newGrants(t *testing.T, store string) *cloud.Grants {
	t.Helper()
	cfg, _ := through(t, nil)
	return &cloud.Grants{Table: newTable(t, cfg), Secrets: &cloud.SecretGrants{Store: newSecrets(t, cfg)}, Store: store}
}
