package scale

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/cloud/emulate"
)

// counting counts the requests that a client sends.
type counting struct {
	dynamodb.HTTPClient
	sent *atomic.Int64
}

func (c *counting) Do(r *http.Request) (*http.Response, error) {
	c.sent.Add(1)
	return c.HTTPClient.Do(r)
}

// emulated is a client of the emulator that the variable names.
func emulated(t *testing.T, variable string) *dynamodb.Client {
	t.Helper()
	url := os.Getenv(variable)
	if url == "" {
		t.Skipf("%s is not set: run the tests by scripts/emulators.sh", variable)
	}
	cfg, err := cloud.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Credentials, cfg.BaseEndpoint = credentials.NewStaticCredentialsProvider("emulated", "emulated", ""), &url
	return dynamodb.NewFromConfig(cfg)
}

var tables atomic.Int64

// newTable makes an empty table of its own.
func newTable(t *testing.T, client *dynamodb.Client, now func() time.Time) *cloud.Table {
	t.Helper()
	name := fmt.Sprintf("scale-%d-%d", os.Getpid(), tables.Add(1))
	if err := emulate.CreateTable(t.Context(), client, name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &name}); err != nil {
			t.Log(err)
		}
	})
	return &cloud.Table{API: client, Name: name, Now: now, AuditDays: 400}
}
