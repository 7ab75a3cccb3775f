package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/notify"
	"github.com/lanyardhq/lanyard/internal/token"
)

// Webhook is the webhook endpoint of this machine's one tenant.
type Webhook struct{ endpoint notify.Endpoint }

var _ notify.Endpoints = Webhook{}

// NewWebhook returns the endpoint; one without a URL is none.
func NewWebhook(e notify.Endpoint) (Webhook, error) {
	if e.URL == "" {
		return Webhook{}, nil
	}
	if err := notify.CheckURL(e.URL, true); err != nil {
		return Webhook{}, fmt.Errorf("LANYARD_WEBHOOK_URL: %w", err)
	}
	return Webhook{e}, nil
}

// Endpoint implements [notify.Endpoints].
func (w Webhook) Endpoint(_ context.Context, tenant string) (notify.Endpoint, error) {
	if w.endpoint.URL == "" || tenant != flow.DefaultTenant {
		return notify.Endpoint{}, notify.ErrNoEndpoint
	}
	return w.endpoint, nil
}

// OpenWebhookSecret returns the secret that signs this machine's webhooks: the
// one given, or the one in the file, which is made 0600 if it is not there.
func OpenWebhookSecret(given token.Secret, path string) (token.Secret, error) {
	if given != "" {
		if err := notify.CheckSecret(given); err != nil {
			return "", fmt.Errorf("LANYARD_WEBHOOK_SECRET: %w: leave it out and one is made", err)
		}
		return given, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createWhole(path, []byte(notify.NewSecret().Reveal()+"\n")); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("make the webhook's signing secret: %w", err)
		}
		data, err = os.ReadFile(path) // another process may have been faster
	}
	if err != nil {
		return "", fmt.Errorf("read the webhook's signing secret: %w", err)
	}
	secret := token.Secret(strings.TrimSpace(string(data)))
	if err := notify.CheckSecret(secret); err != nil {
		return "", fmt.Errorf("%s: %w: remove it and a new one is made", path, err)
	}
	return secret, nil
}
