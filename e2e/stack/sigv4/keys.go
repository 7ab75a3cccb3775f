package sigv4

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Keys are the access keys there are, and whose.
type Keys struct {
	mu    sync.Mutex
	byKey map[string]holder
}

type holder struct {
	arn   string
	creds aws.Credentials
}

// Issue makes credentials of a session for the principal.
func (k *Keys) Issue(arn string) aws.Credentials {
	c := aws.Credentials{AccessKeyID: "ASIA" + strings.ToUpper(random(8)), SecretAccessKey: random(20), SessionToken: random(40)}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byKey == nil {
		k.byKey = map[string]holder{}
	}
	k.byKey[c.AccessKeyID] = holder{arn, c}
	return c
}

// Revoke ends a principal's sessions.
func (k *Keys) Revoke(arn string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, h := range k.byKey {
		if h.arn == arn {
			delete(k.byKey, id)
		}
	}
}

// Who returns the principal that signed the request for service.
func (k *Keys) Who(r *http.Request, service string) (arn string, err error) {
	k.mu.Lock()
	h, ok := k.byKey[AccessKey(r)]
	k.mu.Unlock()
	if !ok {
		return "", errors.New("the request is signed by nobody that is known")
	}
	return h.arn, Verify(r, h.creds, service)
}

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
