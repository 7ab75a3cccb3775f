package notify

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/token"
)

// TestType is the type of what [Service.Test] sends.
const TestType = "webhook.test"

// version of the data. It grows when a field changes its meaning or goes; a new
// field is no new version. docs/webhooks.md describes it.
const version = 1

// message is a webhook's body.
type message struct {
	Type string `json:"type"`
	// Timestamp is when it happened, not when it was sent.
	Timestamp time.Time `json:"timestamp"`
	Data      any       `json:"data"`
}

// data is about a connection. The bus gets it as it is, without the link.
type data struct {
	Version      int               `json:"version"`
	EventID      string            `json:"event_id"`
	ConnectionID string            `json:"connection_id"`
	Tenant       string            `json:"tenant"`
	UserID       string            `json:"user_id"`
	Server       string            `json:"server"`
	Provider     string            `json:"provider,omitempty"`
	Label        string            `json:"label,omitempty"`
	Health       connection.Health `json:"health"`
	Was          connection.Health `json:"previous_health,omitempty"`
	Code         string            `json:"code,omitempty"`
	Reason       string            `json:"reason,omitempty"`
	EndsAt       time.Time         `json:"ends_at,omitzero"`

	ReconnectURL       token.Secret `json:"reconnect_url,omitempty"`
	ReconnectExpiresAt time.Time    `json:"reconnect_expires_at,omitzero"`
}

// trial is the data of a test.
type trial struct {
	Version int    `json:"version"`
	EventID string `json:"event_id"`
	Tenant  string `json:"tenant"`
}

func about(c connection.Connection, e connection.Event) data {
	d := data{
		Version: version, EventID: e.ID, ConnectionID: c.ID, Tenant: c.Tenant, UserID: c.UserID, Server: c.Server, Provider: c.Provider,
		Label: c.DisplayLabel(), Health: e.Health, Was: e.Was, Code: e.Code, Reason: e.Reason, EndsAt: e.EndsAt,
	}
	if d.EndsAt.IsZero() {
		d.EndsAt = c.EndsAt
	}
	return d
}

// encode writes JSON as it is signed and sent: < and & as themselves, which
// links and reasons have.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
