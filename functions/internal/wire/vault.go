package wire

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/gateway"
	"github.com/lanyardhq/lanyard/internal/notify"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/vault"
	"github.com/lanyardhq/lanyard/internal/web"
)

// Of a data key that is kept in memory.
const (
	keyTTL  = 5 * time.Minute
	keyUses = 1 << 20
)

// secrets is what only callback and refresh have: the vault, and our clients'
// secrets.
type secrets struct {
	vault   *vault.Vault
	store   *cloud.SecretStore
	clients *cloud.ClientSecrets
}

func (b *Base) secrets() (secrets, error) {
	if err := b.Settings.Need("LANYARD_KMS_KEY"); err != nil {
		return secrets{}, err
	}
	store := &cloud.SecretStore{Client: secretsmanager.NewFromConfig(b.AWS), Prefix: b.Settings.Secrets}
	keys := &cloud.Keys{KMS: kms.NewFromConfig(b.AWS), ID: b.Settings.KMSKey}
	return secrets{
		store:   store,
		clients: &cloud.ClientSecrets{Store: store, Now: time.Now},
		vault: &vault.Vault{
			Sealer: &vault.Sealer{Keys: &vault.CachedKeys{Keys: keys, TTL: keyTTL, MaxUses: keyUses, Now: time.Now}, Rand: rand.Reader},
			Grants: &cloud.Grants{Table: b.Table, Secrets: &cloud.SecretGrants{Store: store}, Store: b.Settings.VaultStore},
			Audit:  b.Table.Audit(), Now: time.Now,
		},
	}, nil
}

// Callback is the function callback.
func Callback(_ context.Context, b *Base) (*gateway.Function, error) {
	s, err := b.secrets()
	if err != nil {
		return nil, err
	}
	finisher := &flow.Finisher{Store: b.Table, Connections: b.Table, Catalogue: b.Catalogue, Secrets: s.clients, Engine: b.Engine, Vault: s.vault,
		BaseURL: b.Settings.BaseURL, Now: time.Now, Logger: b.Logger}
	signIns := &signin.Finisher{Store: b.Table, Tenants: b.Table.Tenants(), Secrets: s.clients, Sessions: b.Starter, Issuers: b.issuers(),
		BaseURL: b.Settings.BaseURL, Now: time.Now, Logger: b.Logger}
	h := &web.Callback{Site: b.Site, SignIns: signIns, Flows: finisher, Catalogue: b.Catalogue, Reconnected: unheard}
	return &gateway.Function{HTTP: b.serve(h.Mount, finisher.Wait)}, nil
}

// Refresh is the function refresh.
func Refresh(_ context.Context, b *Base) (*gateway.Function, error) {
	s, err := b.secrets()
	if err != nil {
		return nil, err
	}
	if err := b.Settings.Need("LANYARD_QUEUE_URL"); err != nil {
		return nil, err
	}
	service := &refresh.Service{Connections: b.Table, Vault: s.vault, Catalogue: b.Catalogue, Secrets: s.clients, Engine: b.Engine,
		BaseURL: b.Settings.BaseURL, Window: b.Settings.KeepFresh, Now: time.Now, Logger: b.Logger}
	webhooks := &notify.Service{Bus: &cloud.Events{API: eventbridge.NewFromConfig(b.AWS)}, Endpoints: &cloud.Webhooks{Store: s.store, Now: time.Now},
		Links: b.Starter, Gates: b.Table, BaseURL: b.Settings.BaseURL, AllowLoopback: b.Settings.Emulated, Now: time.Now, Logger: b.Logger}
	service.Notify = webhooks
	service.Pace = &refresh.Paced{Gates: b.Table, Now: time.Now, Logger: b.Logger}
	h := &web.Refresh{Site: b.Site, Service: service, Connections: b.Table, Flows: b.Table, Grants: b.OAuth.Store, Disconnected: b.disconnected, Webhooks: webhooks}
	queue := &cloud.Queue{API: sqs.NewFromConfig(b.AWS), URL: b.Settings.QueueURL}
	keys := b.Table.APIKeys(web.ErrUnauthorized)
	resource := cfn.LambdaWrap(func(ctx context.Context, e cfn.Event) (string, map[string]any, error) {
		if e.RequestType == cfn.RequestDelete {
			return e.PhysicalResourceID, nil, nil
		}
		return "first-api-key", nil, keys.AdoptFirst(ctx, s.store)
	})
	return &gateway.Function{
		HTTP: b.serve(h.Mount, service.Wait),
		Direct: map[string]func(context.Context, json.RawMessage) (any, error){
			"token": func(ctx context.Context, event json.RawMessage) (any, error) {
				defer service.Wait()
				var in struct {
					Call refresh.Call `json:"call"`
				}
				if json.Unmarshal(event, &in) != nil {
					return nil, errors.New("the call for a token is malformed")
				}
				return service.Serve(ctx, in.Call), nil
			},
			"sweep": func(ctx context.Context, _ json.RawMessage) (any, error) {
				n, err := queue.Fill(ctx, b.Table, time.Now())
				return map[string]int{"queued": n}, err
			},
		},
		Message: worker(service), Settle: service.Wait,
		Resource: func(ctx context.Context, event json.RawMessage) (any, error) {
			var e cfn.Event
			if json.Unmarshal(event, &e) != nil {
				return nil, errors.New("the custom resource's event is malformed")
			}
			return resource(ctx, e)
		},
	}, nil
}

// worker attends the connections that a message of the queue names. What a
// provider refuses is in its connection's row, with the time of the next try; a
// message fails, and comes again, for a fault of ours alone.
func worker(s *refresh.Service) func(context.Context, string) error {
	return func(ctx context.Context, body string) error {
		keys, err := cloud.Keyed(body)
		if err != nil {
			return err
		}
		return s.AttendAll(ctx, keys)
	}
}

// disconnected removes the connection's MCP tokens, so that no request passes
// any more, and what its server listed. The schedule ends its task.
func (b *Base) disconnected(ctx context.Context, k connection.Key) {
	if err := b.Table.DeleteMCPTokens(ctx, k); err != nil {
		b.Logger.WarnContext(ctx, "MCP tokens not removed", "connection", k.ID, "err", err)
	}
	if err := b.Table.DeleteCatalogue(ctx, k); err != nil {
		b.Logger.WarnContext(ctx, "a catalogue was not removed", "connection", k.ID, "err", err)
	}
}
