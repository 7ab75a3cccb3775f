package cloud

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/lanyardhq/lanyard/internal/vault"
)

// KMS is what [Keys] needs of the KMS client.
type KMS interface {
	GenerateDataKey(context.Context, *kms.GenerateDataKeyInput, ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error)
	Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error)
}

// Keys is a KMS key. It never leaves KMS: what it wraps are data keys, under
// an encryption context that names the tenant, so that a key policy and
// CloudTrail can tell tenants apart. The context is no secret.
type Keys struct {
	KMS KMS
	// ID is the key's ARN or id.
	ID string
}

var _ vault.Keys = (*Keys)(nil)

// maxBlob is the length of the longest ciphertext that KMS takes.
const maxBlob = 6144

func encryptionContext(tenant string) map[string]string {
	return map[string]string{"lanyard": "tenant/" + tenant}
}

// DataKey implements [vault.Keys].
func (k *Keys) DataKey(ctx context.Context, tenant string) (key, wrapped []byte, err error) {
	out, err := k.KMS.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId: &k.ID, KeySpec: types.DataKeySpecAes256, EncryptionContext: encryptionContext(tenant),
	})
	if err != nil {
		return nil, nil, unavailable(err)
	}
	return out.Plaintext, out.CiphertextBlob, nil
}

// Unwrap implements [vault.Keys]. Only what KMS says of the wrapped key itself
// is vault.ErrSealed. A key that is disabled, deleted or denied to us is
// ErrUnavailable: whoever runs this can put that right, and the person would
// reconnect for nothing.
func (k *Keys) Unwrap(ctx context.Context, tenant string, wrapped []byte) ([]byte, error) {
	if len(wrapped) == 0 || len(wrapped) > maxBlob {
		return nil, vault.ErrSealed // KMS would not look at it
	}
	out, err := k.KMS.Decrypt(ctx, &kms.DecryptInput{
		// Without the id KMS would decrypt with any key that we may use.
		KeyId: &k.ID, CiphertextBlob: wrapped, EncryptionContext: encryptionContext(tenant),
		EncryptionAlgorithm: types.EncryptionAlgorithmSpecSymmetricDefault,
	})
	var damaged *types.InvalidCiphertextException
	var foreign *types.IncorrectKeyException
	switch {
	case errors.As(err, &damaged), errors.As(err, &foreign):
		return nil, vault.ErrSealed
	case err != nil:
		return nil, unavailable(err)
	}
	return out.Plaintext, nil
}
