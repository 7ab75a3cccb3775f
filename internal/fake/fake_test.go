package fake_test

import (
	"testing"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/conformance"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/discover"
	"github.com/lanyardhq/lanyard/internal/fake"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/vault"
)

func TestConnections(t *testing.T) {
	conformance.Connections(t, func(*testing.T) connection.Store { return fake.New() })
}

func TestFlows(t *testing.T) {
	conformance.Flows(t, func(*testing.T) flow.Store { return fake.New() })
}

func TestSignIns(t *testing.T) {
	conformance.SignIns(t, func(*testing.T) signin.Store { return fake.New() })
}

func TestTasks(t *testing.T) {
	conformance.Tasks(t, func(*testing.T) host.Store { return fake.New() })
}

func TestPool(t *testing.T) {
	conformance.Pool(t, func(*testing.T) host.Pool { return fake.New() })
}

func TestCatalogues(t *testing.T) {
	conformance.Catalogues(t, func(*testing.T) host.Catalogues { return fake.New() })
}

func TestRegistrations(t *testing.T) {
	conformance.Registrations(t, func(*testing.T) discover.Registrations { return fake.New() })
}

func TestGates(t *testing.T) {
	conformance.Gates(t, func(t *testing.T) refresh.Gates { return fake.New() })
}

func TestGrants(t *testing.T) {
	conformance.Grants(t, func(*testing.T) vault.GrantStore { return fake.New().Grants() })
}

func TestSlots(t *testing.T) {
	conformance.Grants(t, func(*testing.T) vault.GrantStore { return fake.New().Slots() })
	conformance.Slots(t, func(*testing.T) vault.Slots { return fake.New().Slots() })
}

func TestAuthServer(t *testing.T) {
	conformance.AuthServer(t, func(*testing.T) authserver.Store { return fake.New().AuthServer() })
}

func TestAudit(t *testing.T) {
	conformance.Audit(t, func(*testing.T) conformance.AuditLog { return fake.New().Audit() })
}

func TestKeys(t *testing.T) {
	conformance.Keys(t, func(*testing.T) vault.Keys { return fake.NewKeys() })
}
