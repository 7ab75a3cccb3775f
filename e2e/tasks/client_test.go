//go:build linux

package tasks

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lanyardhq/lanyard/internal/task"
)

// dial is an HTTP client that knows the key which a task has registered.
func dial(t *testing.T, claim task.ClaimRequest) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxConnsPerHost: 128, MaxIdleConnsPerHost: 128, TLSClientConfig: &tls.Config{InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			sum := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if hex.EncodeToString(sum[:]) != claim.KeyFingerprint {
				return errors.New("another key")
			}
			return nil
		}}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// client is an MCP client of the era of sessions.
type client struct {
	http        *http.Client
	url, bearer string
	session     string
	ids         atomic.Int64
}

// connect begins a session, and lists the tools as clients do.
func (c *client) connect(ctx context.Context) error {
	if _, err := c.request(ctx, "initialize", map[string]any{"protocolVersion": "2025-11-25", "capabilities": struct{}{},
		"clientInfo": map[string]any{"name": "test", "version": "1"}}); err != nil {
		return fmt.Errorf("initialize: %w", err)
	}
	if _, err := c.post(ctx, []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)); err != nil {
		return err
	}
	_, err := c.request(ctx, "tools/list", struct{}{})
	return err
}

// call calls a tool and returns its text. Whatever is no success is an error.
func (c *client) call(ctx context.Context, tool, text string) (string, error) {
	result, err := c.request(ctx, "tools/call", map[string]any{"name": tool, "arguments": map[string]any{"text": text}})
	if err != nil {
		return "", err
	}
	var out struct {
		Content []struct{ Text string }
		IsError bool
	}
	if err := json.Unmarshal(result, &out); err != nil || len(out.Content) != 1 {
		return "", fmt.Errorf("%s: no text in %s", tool, result)
	}
	if out.IsError {
		return "", fmt.Errorf("%s failed: %s", tool, out.Content[0].Text)
	}
	return out.Content[0].Text, nil
}

// request returns the result of a request.
func (c *client) request(ctx context.Context, method string, params any) (json.RawMessage, error) {
	id := c.ids.Add(1)
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		return nil, err
	}
	answer, err := c.post(ctx, body)
	if err != nil {
		return nil, err
	}
	var m struct {
		ID     int64
		Result json.RawMessage
		Error  json.RawMessage
	}
	if err := json.Unmarshal(answer, &m); err != nil || m.ID != id || m.Result == nil {
		return nil, fmt.Errorf("%s: %s", method, answer)
	}
	return m.Result, nil
}

// post returns the message that answers, wherever it stands.
func (c *client) post(ctx context.Context, body []byte) ([]byte, error) {
	req, err := c.prepare(ctx, http.MethodPost, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
		c.session = id
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %w", resp.Status, data, err)
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return lastEvent(data), nil
	}
	return data, nil
}

func (c *client) prepare(ctx context.Context, method string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if c.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	return req, nil
}

// lastEvent is what the last event of a stream says: the answer.
func lastEvent(stream []byte) (last []byte) {
	lines := bufio.NewScanner(bytes.NewReader(stream))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: ")); ok {
			last = bytes.Clone(data)
		}
	}
	return last
}
