package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	secrettypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/cloud/emulate"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/token"
)

// resources are what infra makes in an account.
type resources struct {
	dynamo    *dynamodb.Client
	secrets   *secretsmanager.Client
	queue     *sqs.Client
	table     *cloud.Table
	store     *cloud.SecretStore
	keyARN    string
	queueURL  string
	originKey string
}

// makeResources makes what is not there yet: a second start finds what the
// first one has left.
func (s *stack) makeResources(ctx context.Context) (*resources, error) {
	r := &resources{dynamo: dynamodb.NewFromConfig(s.aws), secrets: secretsmanager.NewFromConfig(s.aws), queue: sqs.NewFromConfig(s.aws)}
	r.table = &cloud.Table{API: r.dynamo, Name: s.name, Now: time.Now, AuditDays: 400}
	r.store = &cloud.SecretStore{Client: r.secrets, Prefix: s.name}
	var there *dynamotypes.ResourceInUseException
	if err := emulate.CreateTable(ctx, r.dynamo, s.name); err != nil && !errors.As(err, &there) {
		return nil, fmt.Errorf("make the table: %w", err)
	}
	var err error
	if r.keyARN, err = s.makeKey(ctx); err != nil {
		return nil, fmt.Errorf("make the key: %w", err)
	}
	q, err := r.queue.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &s.name})
	if err != nil {
		return nil, fmt.Errorf("make the queue: %w", err)
	}
	r.queueURL = aws.ToString(q.QueueUrl)
	apiKey, err := r.secret(ctx, s.name+"/api-key")
	if err == nil {
		_, err = r.secret(ctx, s.name+"/task-bearers")
	}
	if err == nil {
		r.originKey, err = r.secret(ctx, s.name+"/origin")
	}
	if err != nil {
		return nil, fmt.Errorf("make the secrets: %w", err)
	}
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		return nil, err
	}
	if err := s.settle(ctx, r); err != nil {
		return nil, err
	}
	return r, os.WriteFile(filepath.Join(s.data, "api-key"), []byte(apiKey+"\n"), 0o600)
}

func (s *stack) makeKey(ctx context.Context) (string, error) {
	client, alias := kms.NewFromConfig(s.aws), "alias/"+s.name
	found, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &alias})
	var missing *kmstypes.NotFoundException
	if err == nil {
		return aws.ToString(found.KeyMetadata.Arn), nil
	}
	if !errors.As(err, &missing) {
		return "", err
	}
	made, err := client.CreateKey(ctx, &kms.CreateKeyInput{})
	if err != nil {
		return "", err
	}
	_, err = client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: made.KeyMetadata.KeyId})
	return aws.ToString(made.KeyMetadata.Arn), err
}

// secret is the generated secret of that name, made if there is none.
func (r *resources) secret(ctx context.Context, name string) (string, error) {
	out, err := r.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &name})
	var missing *secrettypes.ResourceNotFoundException
	if err == nil {
		return aws.ToString(out.SecretString), nil
	}
	if !errors.As(err, &missing) {
		return "", err
	}
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	value := hex.EncodeToString(b)
	_, err = r.secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: &value})
	return value, err
}

// settle does what an operator does with the command line: the tenant's
// settings, its webhook endpoint, and the clients at providers.
func (s *stack) settle(ctx context.Context, r *resources) error {
	_, err := r.table.Tenants().Update(ctx, flow.DefaultTenant, func(t *cloud.Tenant) {
		t.ReturnURLs, t.Confirm = s.cfg.ReturnURLs, s.cfg.Confirm
	})
	if err != nil {
		return fmt.Errorf("set the tenant: %w", err)
	}
	if err := s.setWebhook(ctx, r); err != nil {
		return fmt.Errorf("set the webhook: %w", err)
	}
	clients := &cloud.ClientSecrets{Store: r.store, Now: time.Now}
	seen := map[string]bool{}
	for _, server := range s.catalogue.Servers() {
		id := server.ProviderID()
		if id == "" || seen[id] {
			continue
		}
		seen[id] = true
		prefix := flow.EnvPrefix(id)
		clientID, set := os.LookupEnv(prefix + "_CLIENT_ID")
		switch {
		case !set:
		case clientID == "":
			err = clients.Remove(ctx, r.table.ClientIDs(), flow.DefaultTenant, id, true)
		default:
			var at map[string]string
			for _, name := range flow.ClientParameters(s.catalogue, id) {
				if value := os.Getenv(flow.ClientVariable(id, name)); value != "" {
					at = map[string]string{name: value}
				}
			}
			_, err = clients.Set(ctx, r.table.ClientIDs(), cloud.ClientEntry{Tenant: flow.DefaultTenant, Provider: id, ID: clientID, Parameters: at,
				Variant: cmp.Or(os.Getenv(prefix+"_CLIENT_VARIANT"), os.Getenv(prefix+"_CLIENT_ISSUER"))}, token.Secret(os.Getenv(prefix+"_CLIENT_SECRET")))
		}
		if err != nil {
			return fmt.Errorf("set the client of %s: %w", id, err)
		}
	}
	return nil
}

// setWebhook keeps the signing secret where one machine does, for the tests.
func (s *stack) setWebhook(ctx context.Context, r *resources) error {
	if s.cfg.WebhookURL == "" {
		return nil
	}
	made, err := (&cloud.Webhooks{Store: r.store, Now: time.Now}).Set(ctx, cloud.WebhookEntry{Tenant: flow.DefaultTenant,
		URL: s.cfg.WebhookURL, ReturnURL: s.cfg.WebhookReturnURL})
	if err != nil || made == "" {
		return err
	}
	return os.WriteFile(filepath.Join(s.data, "webhook-secret"), []byte(made.Reveal()+"\n"), 0o600)
}
