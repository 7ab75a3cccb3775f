package cloud

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// TaskBearers returns what mcprun derives the tasks' bearers from, which the
// deployment has made: P/task-bearers.
func (s *SecretStore) TaskBearers(ctx context.Context) ([]byte, error) {
	name := s.name("task-bearers")
	out, err := s.Client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: name})
	if err != nil {
		return nil, fmt.Errorf("read the secret %s: %w", *name, unavailable(err))
	}
	if key := aws.ToString(out.SecretString); len(key) >= 32 {
		return []byte(key), nil
	}
	return nil, fmt.Errorf("the secret %s is shorter than 32 characters: deploy again", *name)
}
