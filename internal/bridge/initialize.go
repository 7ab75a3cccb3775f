package bridge

import (
	"encoding/json"
	"errors"

	"github.com/lanyardhq/lanyard/internal/mcp"
)

// defaultParams initialize a server that is started before any client came.
var defaultParams = []byte(`{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"lanyard","version":"1"}}`)

// clientParams are, of the params of a client's initialize, those with which to
// initialize a server for it, and the revision that it asks for. A shared server
// hears of no capabilities, because what it asks could not be attributed to a
// client.
func (b *Bridge) clientParams(raw []byte) (params []byte, version string, err error) {
	var p struct {
		ProtocolVersion string          `json:"protocolVersion"`
		Capabilities    struct{}        `json:"capabilities"`
		ClientInfo      json.RawMessage `json:"clientInfo,omitempty"`
	}
	if json.Unmarshal(raw, &p) != nil || p.ProtocolVersion == "" {
		return nil, "", errors.New("initialize needs params with a protocolVersion")
	}
	if b.cfg.PerClient {
		return raw, p.ProtocolVersion, nil
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

// serverInfo is the raw serverInfo of a result of initialize; nil if it is none.
func serverInfo(result []byte) []byte {
	at, err := mcp.Lookup(result, mcp.Span{End: len(result)}, "serverInfo")
	if err != nil || !at.Present() || result[at.Start] != '{' || !json.Valid(result[at.Start:at.End]) {
		return nil
	}
	return result[at.Start:at.End]
}

// resultOf is the raw result of a response, or its error.
func resultOf(m mcp.Message) ([]byte, error) {
	if m.Result.Present() {
		return m.Bytes(m.Result), nil
	}
	var fault struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(m.Bytes(m.Fault), &fault) != nil || fault.Message == "" {
		fault.Message = "no reason given"
	}
	return nil, &refusedError{fault.Message}
}
