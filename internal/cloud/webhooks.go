package cloud

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/notify"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Webhooks are the tenants' webhook endpoints, in Secrets Manager. Only refresh
// may read them, only the operator writes them. A tenant without an endpoint of
// its own has none: another's would be told of its users.
type Webhooks struct {
	Store *SecretStore
	Now   func() time.Time

	mu   sync.Mutex
	read map[string]webhookReading // by tenant
}

var _ notify.Endpoints = (*Webhooks)(nil)

// webhook is what a secret holds.
//
//	P/webhooks/{tenant}
//	{"url": "https://…", "return_url": "https://…", "link_key": "<base64>",
//	 "secrets": [{"secret": "whsec_…"}, {"secret": "whsec_…", "until": "<RFC 3339>"}]}
type webhook struct {
	URL       string          `json:"url"`
	ReturnURL string          `json:"return_url,omitempty"`
	LinkKey   []byte          `json:"link_key"`
	Secrets   []webhookSecret `json:"secrets"`
}

// webhookSecret signs; the one before it until a time, so that receivers can go
// over to the new one.
type webhookSecret struct {
	Secret string    `json:"secret"`
	Until  time.Time `json:"until,omitzero"`
}

// webhookReading is what was read of a tenant, also that there is nothing.
type webhookReading struct {
	what webhook
	set  bool
	at   time.Time
}

// Endpoint implements [notify.Endpoints].
func (w *Webhooks) Endpoint(ctx context.Context, tenant string) (notify.Endpoint, error) {
	now := w.Now()
	w.mu.Lock()
	known, ok := w.read[tenant]
	w.mu.Unlock()
	if !ok || now.Sub(known.at) >= readTTL {
		v, version, err := w.load(ctx, tenant)
		if err != nil {
			return notify.Endpoint{}, err
		}
		known = webhookReading{v, version != "", now}
		w.mu.Lock()
		if w.read == nil {
			w.read = map[string]webhookReading{}
		}
		w.read[tenant] = known
		w.mu.Unlock()
	}
	if !known.set {
		return notify.Endpoint{}, notify.ErrNoEndpoint
	}
	out := notify.Endpoint{URL: known.what.URL, ReturnURL: known.what.ReturnURL, LinkKey: known.what.LinkKey}
	for _, s := range known.what.Secrets {
		if s.Until.IsZero() || now.Before(s.Until) {
			out.Secrets = append(out.Secrets, token.Secret(s.Secret))
		}
	}
	return out, nil
}

func (w *Webhooks) secret(tenant string) *string { return w.Store.name("webhooks", tenant) }

// load reads a secret and the id of its version, which is empty if there is none.
func (w *Webhooks) load(ctx context.Context, tenant string) (v webhook, version string, err error) {
	out, err := w.Store.Client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: w.secret(tenant)})
	switch {
	case isMissing(err):
		return webhook{}, "", nil
	case err != nil:
		return v, "", unavailable(err)
	}
	// The decoder's error could quote what it read.
	if json.Unmarshal([]byte(aws.ToString(out.SecretString)), &v) != nil || v.URL == "" || len(v.LinkKey) < linkKeySize || len(v.Secrets) == 0 {
		return v, "", fmt.Errorf("the secret %s does not hold what \"lanyard webhooks set\" writes: put it back, or run \"lanyard webhooks remove\" and set the endpoint anew", *w.secret(tenant))
	}
	return v, aws.ToString(out.VersionId), nil
}

const linkKeySize = 32

// WebhookEntry is an endpoint without its secrets.
type WebhookEntry struct {
	Tenant    string `json:"tenant"`
	URL       string `json:"url"`
	ReturnURL string `json:"return_url,omitempty"`
}

// Set makes the URL the tenant's endpoint. The signing secret of one before it
// stays; where there is none, it makes one and returns it, else "".
func (w *Webhooks) Set(ctx context.Context, e WebhookEntry) (made token.Secret, err error) {
	_, err = w.change(ctx, e.Tenant, func(v *webhook, exists bool) error {
		v.URL, v.ReturnURL = e.URL, e.ReturnURL
		if exists {
			if v.Secrets[0].Secret != made.Reveal() { // else it is ours, of a try whose answer was lost
				made = ""
			}
			return nil
		}
		made, v.LinkKey = notify.NewSecret(), make([]byte, linkKeySize)
		_, _ = rand.Read(v.LinkKey) // never fails: it ends the program instead
		v.Secrets = []webhookSecret{{Secret: made.Reveal()}}
		return nil
	})
	return made, err
}

// Rotate makes a new signing secret for the tenant's endpoint and returns it. The
// one before it signs, too, until the overlap is over; a third one no more. A
// tenant without an endpoint is notify.ErrNoEndpoint.
func (w *Webhooks) Rotate(ctx context.Context, tenant string, overlap time.Duration) (made token.Secret, until time.Time, err error) {
	_, err = w.change(ctx, tenant, func(v *webhook, exists bool) error {
		if !exists {
			return notify.ErrNoEndpoint
		}
		last := v.Secrets[0]
		if last.Secret == made.Reveal() {
			return nil // of a try whose answer was lost
		}
		made, until = notify.NewSecret(), w.Now().UTC().Add(overlap)
		last.Until = until
		v.Secrets = []webhookSecret{{Secret: made.Reveal()}}
		if overlap > 0 {
			v.Secrets = append(v.Secrets, last)
		}
		return nil
	})
	return made, until, err
}

// Remove ends the tenant's webhooks; notify.ErrNoEndpoint if there were none.
func (w *Webhooks) Remove(ctx context.Context, tenant string) error {
	// Deleting for good is a success also where nothing is. What cannot be read is
	// removed, too.
	if _, version, err := w.load(ctx, tenant); err == nil && version == "" {
		return notify.ErrNoEndpoint
	}
	_, err := w.Store.Client.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: w.secret(tenant), ForceDeleteWithoutRecovery: aws.Bool(true)})
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// change writes what change makes of the secret as it is; see
// [ClientSecrets.change].
func (w *Webhooks) change(ctx context.Context, tenant string, change func(v *webhook, exists bool) error) (webhook, error) {
	for try := 0; ; try++ {
		v, version, err := w.load(ctx, tenant)
		if err == nil {
			v.Secrets = slices.Clone(v.Secrets)
			err = change(&v, version != "")
		}
		if err != nil {
			return v, err
		}
		doc, err := json.Marshal(v)
		if err != nil {
			return v, err
		}
		next, name, value := aws.String(token.Hash(token.Secret("after "+version))), w.secret(tenant), aws.String(string(doc))
		if version == "" {
			_, err = w.Store.Client.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: name, SecretString: value, ClientRequestToken: next,
				Description: aws.String("Lanyard: the webhook endpoint of the tenant " + tenant)})
		} else {
			_, err = w.Store.Client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: name, SecretString: value, ClientRequestToken: next})
		}
		switch {
		case err == nil:
			return v, nil
		case errors.Is(err, context.Canceled), !isTaken(err) && !isMissing(err), try == createTries:
			return v, unavailable(err)
		}
		if err := pause(ctx, try); err != nil {
			return v, err
		}
	}
}
