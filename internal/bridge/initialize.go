package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// versions are the revisions with sessions, oldest first.
var versions = []string{"2025-03-26", "2025-06-18", "2025-11-25"}

// defaultParams initialize a server that is started before any client came.
var defaultParams = []byte(`{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"lanyard","version":"1"}}`)

// clientParams returns the params with which to initialize a server for this
// client, and the revision that the client asks for. A shared server hears of
// no capabilities, because what it asks could not be attributed to a client.
func (b *Bridge) clientParams(m message) (params []byte, version string, err error) {
	var p struct {
		ProtocolVersion string          `json:"protocolVersion"`
		Capabilities    struct{}        `json:"capabilities"`
		ClientInfo      json.RawMessage `json:"clientInfo,omitempty"`
	}
	if !m.params.present() || json.Unmarshal(m.bytes(m.params), &p) != nil || p.ProtocolVersion == "" {
		return nil, "", errors.New("initialize needs params with a protocolVersion")
	}
	if b.cfg.PerClient {
		return m.bytes(m.params), p.ProtocolVersion, nil
	}
	params, err = json.Marshal(p)
	return params, p.ProtocolVersion, err
}

// offer has the server initialized with params if this client is the one that
// it is started for.
func (k *backend) offer(params []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cur == nil && k.starting == nil {
		k.params = params
	}
}

// resultOf is the raw result of a response, or its error.
func resultOf(m message) ([]byte, error) {
	if m.result.present() {
		return m.bytes(m.result), nil
	}
	var fault struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(m.bytes(m.fault), &fault) != nil || fault.Message == "" {
		fault.Message = "no reason given"
	}
	return nil, fmt.Errorf("the MCP server refused to initialize: %s", fault.Message)
}

// inVersion is the initialize result for a client that asks for a revision. A
// shared server speaks the one that its first client asked for; each later one
// adds to those before, so an older client is told its own.
func inVersion(result []byte, version string) []byte {
	at, err := lookup(result, span{0, len(result)}, "protocolVersion")
	if err != nil || !at.present() {
		return result
	}
	var spoken string
	if json.Unmarshal(result[at.start:at.end], &spoken) != nil {
		return result
	}
	asked := slices.Index(versions, version)
	if asked < 0 || asked >= slices.Index(versions, spoken) {
		return result
	}
	return slices.Concat(result[:at.start], []byte(`"`+version+`"`), result[at.end:])
}
