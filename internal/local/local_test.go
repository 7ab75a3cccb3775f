package local_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/conformance"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/discover"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// clock stands still when the suites' records are new.
func clock() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

func open(t *testing.T, dir string) *local.DB {
	t.Helper()
	db, err := local.Open(t.Context(), dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestConnections(t *testing.T) {
	conformance.Connections(t, func(t *testing.T) connection.Store { return open(t, t.TempDir()) })
}

func TestFlows(t *testing.T) {
	conformance.Flows(t, func(t *testing.T) flow.Store { return open(t, t.TempDir()) })
}

func TestSignIns(t *testing.T) {
	conformance.SignIns(t, func(t *testing.T) signin.Store { return open(t, t.TempDir()) })
}

func TestTasks(t *testing.T) {
	conformance.Tasks(t, func(t *testing.T) host.Store { return open(t, t.TempDir()) })
}

func TestCatalogues(t *testing.T) {
	conformance.Catalogues(t, func(t *testing.T) host.Catalogues { return open(t, t.TempDir()) })
}

func TestGates(t *testing.T) {
	conformance.Gates(t, func(t *testing.T) refresh.Gates { return open(t, t.TempDir()) })
}

func TestGrants(t *testing.T) {
	conformance.Grants(t, func(t *testing.T) vault.GrantStore { return open(t, t.TempDir()).Grants() })
}

func TestAuthServer(t *testing.T) {
	conformance.AuthServer(t, func(t *testing.T) authserver.Store { return open(t, t.TempDir()).AuthServer() })
}

func TestAudit(t *testing.T) {
	conformance.Audit(t, func(t *testing.T) conformance.AuditLog { return open(t, t.TempDir()).Audit() })
}

func TestKeys(t *testing.T) {
	conformance.Keys(t, func(t *testing.T) vault.Keys {
		keys, err := local.OpenKeys(filepath.Join(t.TempDir(), "key"))
		if err != nil {
			t.Fatal(err)
		}
		return keys
	})
}

func TestRegistrations(t *testing.T) {
	conformance.Registrations(t, func(t *testing.T) discover.Registrations { return open(t, t.TempDir()) })
}
