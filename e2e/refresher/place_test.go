package refresher

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go/logging"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/cloud/emulate"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/local"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// place is where the processes keep what they share, as they are told it.
type place struct {
	// Dir is a data directory of one machine, and holds its key file.
	Dir string
	// Table is in the emulator whose URL the variable Emulator holds; its
	// grants are in Grants, a word of LANYARD_VAULT_STORE; KMSKey, if set, is
	// used instead of the key file.
	Table, Emulator, Grants, KMSKey string
}

// The variables that name the emulators' URLs; scripts/emulators.sh sets them.
const (
	moto          = "LANYARD_TEST_AWS"
	dynamoDBLocal = "LANYARD_TEST_DYNAMODB"
)

// oneMachine is a data directory.
func oneMachine(t *testing.T) place {
	t.Helper()
	return place{Dir: t.TempDir()}
}

// deployment is a table of its own in an emulator.
func deployment(t *testing.T, emulator, grants string) place {
	t.Helper()
	if os.Getenv(emulator) == "" || os.Getenv(moto) == "" {
		lacking(t, emulator+" is not set")
	}
	p := place{Dir: t.TempDir(), Emulator: emulator, Grants: grants, Table: fmt.Sprintf("proof-%d-%d", os.Getpid(), tables.Add(1))}
	cfg, err := emulated(t.Context(), emulator)
	if err != nil {
		t.Fatal(err)
	}
	client := dynamodb.NewFromConfig(cfg)
	if err := emulate.CreateTable(t.Context(), client, p.Table); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &p.Table}); err != nil {
			t.Log(err)
		}
	})
	if emulator == moto {
		key, err := kms.NewFromConfig(cfg).CreateKey(t.Context(), &kms.CreateKeyInput{})
		if err != nil {
			t.Fatal(err)
		}
		p.KMSKey = *key.KeyMetadata.KeyId
	}
	return p
}

var tables atomic.Int64

// requests counts what this process asked of the emulators.
var requests atomic.Int64

// door is how many requests of one process are at an emulator at a time. Others
// wait here: unlike AWS it answers one or a few at a time, and has no room for
// a thousand at its door.
const door = 3

var emulators = &http.Client{Transport: counting{&http.Transport{MaxConnsPerHost: door, MaxIdleConnsPerHost: door}}}

type counting struct{ http.RoundTripper }

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	requests.Add(1)
	return c.RoundTripper.RoundTrip(r)
}

func emulated(ctx context.Context, emulator string) (aws.Config, error) {
	cfg, err := cloud.Load(ctx)
	if err != nil {
		return cfg, err
	}
	cfg.HTTPClient, cfg.Logger = emulators, logging.Nop{}
	cfg.Credentials = credentials.NewStaticCredentialsProvider("emulated", "emulated", "")
	url := os.Getenv(emulator)
	cfg.BaseEndpoint = &url
	return cfg, nil
}

// stores are a place that a process has opened.
type stores struct {
	connections connection.Store
	vault       *vault.Vault
	close       func() error
}

// open opens the place as a process of ours does, with that clock.
func (p place) open(ctx context.Context, now func() time.Time) (s stores, err error) {
	var keys vault.Keys
	if p.KMSKey == "" {
		if keys, err = local.OpenKeys(filepath.Join(p.Dir, "vault-key")); err != nil {
			return s, err
		}
	}
	s.vault = &vault.Vault{Now: now}
	s.close = func() error { return nil }
	if p.Table == "" {
		db, err := local.Open(ctx, p.Dir, now)
		if err != nil {
			return s, err
		}
		s.connections, s.vault.Grants, s.vault.Audit, s.close = db, db.Grants(), db.Audit(), db.Close
	} else {
		cfg, err := emulated(ctx, p.Emulator)
		if err != nil {
			return s, err
		}
		aws, err := emulated(ctx, moto)
		if err != nil {
			return s, err
		}
		table := &cloud.Table{API: dynamodb.NewFromConfig(cfg), Name: p.Table, Now: now, AuditDays: 400}
		secrets := &cloud.SecretGrants{Store: &cloud.SecretStore{Client: secretsmanager.NewFromConfig(aws), Prefix: p.Table}}
		s.connections, s.vault.Audit = table, table.Audit()
		s.vault.Grants = &cloud.Grants{Table: table, Secrets: secrets, Store: p.Grants}
		if p.KMSKey != "" {
			keys = &cloud.Keys{KMS: kms.NewFromConfig(aws), ID: p.KMSKey}
		}
	}
	s.vault.Sealer = &vault.Sealer{Keys: &vault.CachedKeys{Keys: keys, TTL: 5 * time.Minute, MaxUses: 1 << 20, Now: now}, Rand: rand.Reader}
	return s, nil
}

// service is a refresher of its own on the stores: nothing that it does is
// known to another but by them.
func (s stores) service(a *authServer, now func() time.Time) *refresh.Service {
	logger := slog.New(slog.DiscardHandler)
	return &refresh.Service{
		Connections: s.connections, Vault: s.vault, Catalogue: catalogue{a}, Secrets: client{a},
		Engine:  &provider.Engine{AllowLoopback: true, Now: now, Logger: logger},
		BaseURL: "http://127.0.0.1:1", Now: now, Logger: logger,
	}
}

type client struct{ a *authServer }

func (c client) Client(context.Context, string, string, string) (provider.Client, error) {
	return c.a.client(), nil
}

// catalogue knows the one authorization server.
type catalogue struct{ a *authServer }

func (catalogue) Server(string) (presets.Server, bool) { return presets.Server{}, false }

func (c catalogue) Provider(id string) (presets.Provider, bool) {
	return presets.Provider{
		ID: id, DisplayName: "Engine", AuthorizationEndpoint: c.a.Endpoints["authorization_endpoint"], TokenEndpoint: c.a.Endpoints["token_endpoint"],
		Refresh: presets.Refresh{Rotation: c.a.Rotation, OnReuse: presets.OnReuse{Family: c.a.Family}},
	}, true
}
