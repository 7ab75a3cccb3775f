package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/cloud/emulate"
	"github.com/lanyardhq/lanyard/internal/conformance"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/discover"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/signin"
)

// clock stands still when the suites' records are new.
func clock() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

// emulators are what stands in for AWS, by the variable that names its URL.
// scripts/emulators.sh starts them.
var emulators = map[string]string{"moto": "LANYARD_TEST_AWS", "DynamoDBLocal": "LANYARD_TEST_DYNAMODB"}

func TestMain(m *testing.M) {
	if err := os.Setenv("AWS_REGION", "eu-central-1"); err != nil {
		panic(err)
	}
	// Racers come by the dozen, and their connections are kept for the next ones.
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 100
	m.Run()
}

// each runs a suite against every emulator.
func each(t *testing.T, suite func(t *testing.T, newTable func(*testing.T) *cloud.Table)) {
	for name, variable := range emulators {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := awsConfig(t, variable)
			suite(t, func(t *testing.T) *cloud.Table { return newTable(t, cfg) })
		})
	}
}

// load reads the settings once: all tests have the connections of one client.
var load = sync.OnceValues(func() (aws.Config, error) { return cloud.Load(context.Background()) })

// auditDays is long enough for a list to look through months without a line,
// each of which is sixteen queries.
const auditDays = 40

// awsConfig is a configuration for the emulator that the variable names.
func awsConfig(t *testing.T, variable string) aws.Config {
	t.Helper()
	url := os.Getenv(variable)
	if url == "" {
		t.Skipf("%s is not set: run the tests by scripts/emulators.sh", variable)
	}
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Credentials = credentials.NewStaticCredentialsProvider("emulated", "emulated", "")
	cfg.BaseEndpoint = &url
	return cfg
}

var tables atomic.Int64

// newTable makes an empty table of its own.
func newTable(t *testing.T, cfg aws.Config) *cloud.Table {
	t.Helper()
	client := dynamodb.NewFromConfig(cfg)
	table := &cloud.Table{API: client, Name: fmt.Sprintf("lanyard-%d-%d", os.Getpid(), tables.Add(1)), Now: clock, AuditDays: auditDays}
	err := emulate.CreateTable(t.Context(), client, table.Name)
	var made *types.ResourceInUseException // by the first try of this call: nobody else has the name
	if err != nil && !errors.As(err, &made) {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table.Name})
		if err != nil {
			t.Log(err)
		}
	})
	return table
}

// by is the same table by way of another client.
func by(api cloud.DynamoDB, t *cloud.Table) *cloud.Table {
	return &cloud.Table{API: api, Name: t.Name, Now: t.Now, AuditDays: t.AuditDays}
}

// reopened is the same table by way of another configuration.
func reopened(cfg aws.Config, t *cloud.Table) *cloud.Table {
	return by(dynamodb.NewFromConfig(cfg), t)
}

func TestConnections(t *testing.T) {
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.Connections(t, func(t *testing.T) connection.Store { return newTable(t) })
	})
}

func TestFlows(t *testing.T) {
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.Flows(t, func(t *testing.T) flow.Store { return newTable(t) })
	})
}

func TestSignIns(t *testing.T) {
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.SignIns(t, func(t *testing.T) signin.Store { return newTable(t) })
	})
}

func TestTasks(t *testing.T) {
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.Tasks(t, func(t *testing.T) host.Store { return newTable(t) })
	})
}

func TestPool(t *testing.T) {
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.Pool(t, func(t *testing.T) host.Pool { return newTable(t) })
	})
}

func TestCatalogues(t *testing.T) {
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.Catalogues(t, func(t *testing.T) host.Catalogues { return newTable(t) })
	})
}

func TestGates(t *testing.T) {
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.Gates(t, func(t *testing.T) refresh.Gates { return newTable(t) })
	})
}

func TestAuthServer(t *testing.T) {
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.AuthServer(t, func(t *testing.T) authserver.Store { return newTable(t).AuthServer() })
	})
}

func TestAudit(t *testing.T) {
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.Audit(t, func(t *testing.T) conformance.AuditLog { return newTable(t).Audit() })
	})
}

func TestRegistrations(t *testing.T) {
	each(t, func(t *testing.T, newTable func(*testing.T) *cloud.Table) {
		conformance.Registrations(t, func(t *testing.T) discover.Registrations { return newTable(t) })
	})
}
