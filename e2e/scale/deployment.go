package scale

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/presets"
)

// The providers. Their connections have a tenant each, of the same name, so
// that what they use is counted apart.
const (
	keeping  = "keeping"  // its refresh tokens stay
	rotating = "rotating" // each works once
)

// catalogue knows the providers, at one address.
type catalogue struct{ base string }

var _ flow.Catalogue = catalogue{}

// Server implements [flow.Catalogue].
func (catalogue) Server(string) (presets.Server, bool) { return presets.Server{}, false }

// Provider implements [flow.Catalogue].
func (c catalogue) Provider(id string) (presets.Provider, bool) {
	return presets.Provider{ID: id, DisplayName: id, AuthorizationEndpoint: c.base + "/authorize", TokenEndpoint: c.base + "/" + id + "/token"}, true
}

// clients are our registrations at them.
type clients struct{}

var _ flow.Secrets = clients{}

// Client implements [flow.Secrets].
func (clients) Client(context.Context, string, string, string) (provider.Client, error) {
	return provider.Client{ID: "lanyard", Secret: "the client's secret"}, nil
}

// kms plays the key service: it wraps nothing, and counts its calls. What it
// returns as a wrapped key is as long as KMS's.
type kms struct{ calls atomic.Int64 }

var _ vault.Keys = (*kms)(nil)

const wrappedSize = 184

// DataKey implements [vault.Keys].
func (k *kms) DataKey(_ context.Context, tenant string) (key, wrapped []byte, err error) {
	k.calls.Add(1)
	key = make([]byte, 32)
	_, _ = rand.Read(key)
	wrapped = append(bytes.Clone(key), tenant...)
	return key, append(wrapped, make([]byte, max(0, wrappedSize-len(wrapped)))...), nil
}

// Unwrap implements [vault.Keys].
func (k *kms) Unwrap(_ context.Context, tenant string, wrapped []byte) ([]byte, error) {
	k.calls.Add(1)
	if len(wrapped) < 32+len(tenant) || string(wrapped[32:32+len(tenant)]) != tenant {
		return nil, vault.ErrSealed
	}
	return wrapped[:32], nil
}

// noSecrets plays a Secrets Manager that holds nothing: a deployment that keeps
// its grants in the table asks it only for what is not there.
type noSecrets struct {
	cloud.SecretsManager
	calls *atomic.Int64
}

// GetSecretValue implements [cloud.SecretsManager].
func (s noSecrets) GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	s.calls.Add(1)
	return nil, &smtypes.ResourceNotFoundException{}
}

// UpdateSecretVersionStage implements [cloud.SecretsManager].
func (s noSecrets) UpdateSecretVersionStage(context.Context, *secretsmanager.UpdateSecretVersionStageInput, ...func(*secretsmanager.Options)) (*secretsmanager.UpdateSecretVersionStageOutput, error) {
	s.calls.Add(1)
	return nil, &smtypes.ResourceNotFoundException{}
}

// cached are the keys as a process has them: the times are those of package
// wire.
func cached(keys vault.Keys, now func() time.Time) *vault.CachedKeys {
	return &vault.CachedKeys{Keys: keys, TTL: 5 * time.Minute, MaxUses: 1 << 20, Now: now}
}

// onTable are the vault's stores in a table, as a deployment has them that
// keeps its grants there.
func onTable(t *cloud.Table) vault.GrantStore {
	return &cloud.Grants{Table: t, Store: config.StoreDynamoDB,
		Secrets: &cloud.SecretGrants{Store: &cloud.SecretStore{Client: noSecrets{calls: &atomic.Int64{}}, Prefix: "lanyard"}}}
}

// stores are where a process keeps what it has.
type stores struct {
	connections connection.Store
	gates       refresh.Gates
	grants      vault.GrantStore
	audit       vault.Audit
	keys        vault.Keys
}

// process is a process of the function refresh.
func process(s stores, engine *provider.Engine, providers string, now func() time.Time) *refresh.Service {
	logger := slog.New(slog.DiscardHandler)
	return &refresh.Service{
		Connections: s.connections, Pace: &refresh.Paced{Gates: s.gates, Now: now, Logger: logger},
		Vault:     &vault.Vault{Sealer: &vault.Sealer{Keys: s.keys, Rand: rand.Reader}, Grants: s.grants, Audit: s.audit, Now: now},
		Catalogue: catalogue{providers}, Secrets: clients{}, Engine: engine, BaseURL: "https://lanyard.example",
		Now: now, Logger: logger,
	}
}

// idSize is how many characters an id of 128 bits has, see token.NewID.
const idSize = 26

// key is the connection of that number. The name is as long as a real one.
func key(tenant string, n int) connection.Key {
	digits := strconv.Itoa(n)
	return connection.Key{Tenant: tenant, ID: "con_" + strings.Repeat("0", idSize-len(digits)) + digits}
}

// numberOf is the number of a connection.
func numberOf(id string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(id, "con_")) // the ids here are those of key
	return n
}

// connect makes a connection whose access token was issued at the given time,
// as a callback leaves it when it has been planned.
func connect(ctx context.Context, s stores, v *vault.Vault, a *authority, k connection.Key, n int, issued time.Time) (connection.Connection, error) {
	full := a.set(n)
	t := full.Access.Tokens[""]
	t.ExpiresAt = issued.Add(lifetime * time.Second)
	full.Access.Tokens[""] = t
	c := connection.Connection{
		Key: k, UserID: fmt.Sprintf("user-%d", n), Server: "notes", AuthType: "oauth", Provider: k.Tenant, Status: connection.Connected,
		Granted: connection.Granted{Account: connection.Account{Subject: fmt.Sprintf("%021d", n), Label: fmt.Sprintf("person-%d@mail.example", n)},
			ScopesAsked: []string{"notes.read", "notes.write"}, Scopes: []string{"notes.read", "notes.write"}, ClientID: "lanyard"},
		Health: connection.Healthy, CreatedAt: issued, ConnectedAt: issued, LastRefreshAt: issued, LastUsedAt: issued,
	}
	caller := vault.Caller{Tenant: k.Tenant, Connection: k.ID, Actor: "callback"}
	var err error
	// A slot, as after a renewal: the first version has a place of its own.
	if c.Set, err = v.Seal(ctx, caller, c, vault.NextVersion(c), "connect", full); err != nil {
		return c, err
	}
	c.Set.IssuedAt = issued
	margin := refresh.Margin(presets.Refresh{}, lifetime*time.Second)
	c.RenewAt = t.ExpiresAt.Add(-margin - spread(c, margin/5)).UTC()
	return c, s.connections.Create(ctx, c)
}

// spread is the part of d by which the refresher plans the connection's renewal
// earlier. Were it another one, each first renewal would take a write more,
// which the simulation would tell.
func spread(c connection.Connection, d time.Duration) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(c.ID + c.Set.AccessVersion))
	return time.Duration(float64(d) * float64(h.Sum32()) / (1 << 32))
}

// discard reads a body to its end.
func discard(r io.ReadCloser) []byte {
	if r == nil {
		return nil
	}
	defer r.Close()
	b, _ := io.ReadAll(r)
	return b
}
