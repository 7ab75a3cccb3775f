package notify

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/token"
)

// The shape of a signing secret, by the Standard Webhooks specification.
const (
	secretPrefix = "whsec_"
	minSecret    = 24
	maxSecret    = 64
	newSecret    = 32
)

// ErrSecret: the text is not a signing secret.
var ErrSecret = fmt.Errorf("a webhook's signing secret is %s and the base64 of %d to %d random bytes", secretPrefix, minSecret, maxSecret)

// NewSecret makes a signing secret.
func NewSecret() token.Secret {
	key := make([]byte, newSecret)
	_, _ = rand.Read(key) // never fails: it ends the program instead
	return token.Secret(secretPrefix + base64.StdEncoding.EncodeToString(key))
}

// CheckSecret returns ErrSecret for what is none, without quoting it.
func CheckSecret(s token.Secret) error {
	_, err := keyOf(s)
	return err
}

func keyOf(s token.Secret) ([]byte, error) {
	text, ok := strings.CutPrefix(s.Reveal(), secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, ErrSecret // the decoder's error would tell a character
	}
	return key, nil
}

// sign is the header webhook-signature: a signature by each secret.
func sign(secrets []token.Secret, id string, at time.Time, body []byte) (string, error) {
	if len(secrets) == 0 {
		return "", errors.New("the webhook endpoint has no signing secret")
	}
	var out []string
	for _, s := range secrets {
		key, err := keyOf(s)
		if err != nil {
			return "", err
		}
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body)
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(out, " "), nil
}
