package cloud_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/conformance"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// A broken adapter, and the sentence of the contract that has to say so. It is
// broken in what it asks of AWS.
type mutant struct {
	sentence string
	run      func(*testing.T)
}

func brokenSecrets(mistake func(cloud.SecretsManager) cloud.SecretsManager) func(*testing.T) {
	return func(t *testing.T) {
		cfg, _ := through(t, nil)
		conformance.Grants(t, func(t *testing.T) vault.GrantStore {
			store := newSecrets(t, cfg)
			store.Client = mistake(store.Client)
			return &cloud.SecretGrants{Store: store}
		})
	}
}

var mutants = map[string]mutant{
	"a version of its own for each put": {"PutTwice",
		brokenSecrets(func(s cloud.SecretsManager) cloud.SecretsManager { return anyVersion{s} })},
	"read what is current": {"PutAndGet",
		brokenSecrets(func(s cloud.SecretsManager) cloud.SecretsManager { return readsCurrent{s} })},
	"read by version alone": {"RemoveExactly",
		brokenSecrets(func(s cloud.SecretsManager) cloud.SecretsManager { return ignoresLabels{s} })},
	"put moves one label": {"RemoveExactly",
		brokenSecrets(func(s cloud.SecretsManager) cloud.SecretsManager { return oneLabel{s} })},
	"an item is overwritten": {"PutTwice", func(t *testing.T) {
		cfg, _ := through(t, nil)
		conformance.Grants(t, func(t *testing.T) vault.GrantStore {
			table := newTable(t, cfg)
			table.API = overwritten{table.API}
			return table.Grants()
		})
	}},
	"no encryption context": {"UnwrapIsBoundToTheTenant", func(t *testing.T) {
		cfg, _ := through(t, nil)
		conformance.Keys(t, func(t *testing.T) vault.Keys {
			keys := newKMS(t, cfg)
			keys.KMS = noContext{keys.KMS}
			return keys
		})
	}},
	"none": {"", brokenSecrets(func(s cloud.SecretsManager) cloud.SecretsManager { return s })},
}

const mutantVariable = "LANYARD_CLOUD_MUTANT"

// TestMutant runs a suite on a broken adapter; TestSuitesCatchMutants starts it.
func TestMutant(t *testing.T) {
	name := os.Getenv(mutantVariable)
	if name == "" {
		return // runs in a process of its own
	}
	allMutants()[name].run(t)
}

func allMutants() map[string]mutant {
	all := maps.Clone(mutants)
	maps.Copy(all, tableMutants)
	return all
}

// TestSuitesCatchMutants proves that the suites can fail here, and where.
func TestSuitesCatchMutants(t *testing.T) {
	if os.Getenv(mutantVariable) != "" {
		return // this is that process
	}
	awsConfig(t, "LANYARD_TEST_AWS") // skips
	for name, m := range allMutants() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMutant$/^"+m.sentence)
			child.Env = append(os.Environ(), mutantVariable+"="+name)
			out, err := child.CombinedOutput()
			if m.sentence == "" {
				if err != nil {
					t.Errorf("the suite fails by itself: %v\n%s", err, out)
				}
				return
			}
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestMutant/"+m.sentence) {
				t.Errorf("%s did not fail (%v):\n%s", m.sentence, err, out)
			}
		})
	}
}

type anyVersion struct{ cloud.SecretsManager }

func (s anyVersion) PutSecretValue(ctx context.Context, in *secretsmanager.PutSecretValueInput, o ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error) {
	in.ClientRequestToken = aws.String(strings.Repeat("x", 10) + token.NewID("ver"))
	return s.SecretsManager.PutSecretValue(ctx, in, o...)
}

func (s anyVersion) GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, o ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	in.VersionId = nil
	return s.SecretsManager.GetSecretValue(ctx, in, o...)
}

type readsCurrent struct{ cloud.SecretsManager }

func (s readsCurrent) GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, o ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	in.VersionId, in.VersionStage = nil, nil
	return s.SecretsManager.GetSecretValue(ctx, in, o...)
}

type ignoresLabels struct{ cloud.SecretsManager }

func (s ignoresLabels) GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, o ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	in.VersionStage = nil
	return s.SecretsManager.GetSecretValue(ctx, in, o...)
}

type oneLabel struct{ cloud.SecretsManager }

func (s oneLabel) PutSecretValue(ctx context.Context, in *secretsmanager.PutSecretValueInput, o ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error) {
	want := in.VersionStages
	in.VersionStages = []string{"grant"}
	out, err := s.SecretsManager.PutSecretValue(ctx, in, o...)
	if err == nil {
		out.VersionStages = want
	}
	return out, err
}

func (s oneLabel) GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, o ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	in.VersionStage = aws.String("grant")
	return s.SecretsManager.GetSecretValue(ctx, in, o...)
}

type overwritten struct{ cloud.DynamoDB }

func (d overwritten) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	in.ConditionExpression, in.ExpressionAttributeValues = nil, nil
	return d.DynamoDB.PutItem(ctx, in, o...)
}

type noContext struct{ cloud.KMS }

func (k noContext) GenerateDataKey(ctx context.Context, in *kms.GenerateDataKeyInput, o ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error) {
	in.EncryptionContext = nil
	return k.KMS.GenerateDataKey(ctx, in, o...)
}

func (k noContext) Decrypt(ctx context.Context, in *kms.DecryptInput, o ...func(*kms.Options)) (*kms.DecryptOutput, error) {
	in.EncryptionContext = nil
	return k.KMS.Decrypt(ctx, in, o...)
}
