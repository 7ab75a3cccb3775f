package mcp

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
)

// ErrRequestState refuses a requestState that is not one of the request that brings
// it, or not any more.
var ErrRequestState = errors.New("the requestState is not valid, or not any more: send the request without it and without inputResponses")

// RetryDigest is the SHA-256 of what a request asks, without what differs when it
// is sent again with the answers to an input_required result (MCP 2026-07-28,
// multi round-trip requests): _meta, inputResponses and requestState. The order of
// members and the space between them do not count.
func (m Message) RetryDigest() ([]byte, error) {
	var params map[string]any
	dec := json.NewDecoder(bytes.NewReader(m.Bytes(m.Params)))
	dec.UseNumber()
	if err := dec.Decode(&params); err != nil {
		return nil, err
	}
	for _, name := range []string{"_meta", "inputResponses", "requestState"} {
		delete(params, name)
	}
	salient, err := json.Marshal(params) // in one order, however they came
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(salient)
	return digest[:], nil
}
