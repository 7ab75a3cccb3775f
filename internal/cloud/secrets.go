package cloud

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// SecretsManager is what this package needs of the Secrets Manager client.
type SecretsManager interface {
	CreateSecret(context.Context, *secretsmanager.CreateSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.CreateSecretOutput, error)
	PutSecretValue(context.Context, *secretsmanager.PutSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error)
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
	UpdateSecretVersionStage(context.Context, *secretsmanager.UpdateSecretVersionStageInput, ...func(*secretsmanager.Options)) (*secretsmanager.UpdateSecretVersionStageOutput, error)
	DescribeSecret(context.Context, *secretsmanager.DescribeSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error)
	DeleteSecret(context.Context, *secretsmanager.DeleteSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.DeleteSecretOutput, error)
	RestoreSecret(context.Context, *secretsmanager.RestoreSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.RestoreSecretOutput, error)
}

// SecretStore is the account's Secrets Manager. Everything of a deployment
// begins with its prefix:
//
//	P/grants/{tenant}/{connection}    sealed grants: see [SecretGrants]
//	P/clients/{tenant}/{provider}     our registrations at providers: see [Clients]
//	P/webhooks/{tenant}               where the tenant is told: see [Webhooks]
//	P/api-key                         the first API key: see [APIKeys.AdoptFirst]
type SecretStore struct {
	Client SecretsManager
	// Prefix is LANYARD_SECRETS.
	Prefix string
}

func (s *SecretStore) name(kind string, path ...string) *string {
	name := s.Prefix + "/" + kind
	for _, p := range path {
		name += "/" + p
	}
	return &name
}

// unavailable is an error of KMS or Secrets Manager that says nothing of what
// was asked for: also one that does not pass by itself, such as a key that is
// disabled or a call that is denied, because only whoever runs this can help.
// Its text names the service and the call.
func unavailable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, connection.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", connection.ErrUnavailable, err)
}

// What Secrets Manager says of secrets and versions, apart from faults.
func isMissing(err error) bool {
	var e *types.ResourceNotFoundException
	return errors.As(err, &e)
}

func isTaken(err error) bool {
	var e *types.ResourceExistsException
	return errors.As(err, &e)
}

// isUnfit: the secret is scheduled for deletion, or the label is not the
// version's. Secrets Manager has one error for both.
func isUnfit(err error) bool {
	var request *types.InvalidRequestException
	var parameter *types.InvalidParameterException
	return errors.As(err, &request) || errors.As(err, &parameter)
}
