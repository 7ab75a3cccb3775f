package task

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/lanyardhq/lanyard/internal/token"
)

// Errors of the line between a task and mcprun.
var (
	// ErrReconnect: the grant is dead; only the person can help.
	ErrReconnect = errors.New("the connection needs to be reconnected")
	// ErrRefused: the ticket or the task is not accepted; the task should end.
	ErrRefused = errors.New("the task was refused")
)

// Paths of the control routes below the control URL.
const (
	ClaimPath  = "/tasks/v1/claim"
	TokenPath  = "/tasks/v1/token"
	ReportPath = "/tasks/v1/report"
	WarmPath   = "/tasks/v1/warm"
)

// AssignPath is where a warm task takes its [Assignment].
const AssignPath = "/assign"

// maxAnswer bounds what a runner reads from the control routes.
const maxAnswer = 4 << 20

// HTTPControl is [Control] over HTTP. Sign proves the task's identity on each
// request: a bearer header on one machine, SigV4 on AWS.
type HTTPControl struct {
	URL    string
	Client *http.Client
	Sign   func(*http.Request, []byte) error
}

// Claim implements [Control].
func (c *HTTPControl) Claim(ctx context.Context, r ClaimRequest) (Claim, error) {
	var out Claim
	return out, c.post(ctx, ClaimPath, r, &out)
}

// Token implements [Control].
func (c *HTTPControl) Token(ctx context.Context, r TokenRequest) (token.Access, error) {
	var out token.Access
	return out, c.post(ctx, TokenPath, r, &out)
}

// Register tells that a warm task is up: see [WarmRequest].
func (c *HTTPControl) Register(ctx context.Context, r WarmRequest) (Warm, error) {
	var out Warm
	return out, c.post(ctx, WarmPath, r, &out)
}

// Report implements [Control].
func (c *HTTPControl) Report(ctx context.Context, r Report) error {
	return c.post(ctx, ReportPath, r, nil)
}

func (c *HTTPControl) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if err := c.Sign(req, body); err != nil {
		return fmt.Errorf("sign the request: %w", err)
	}
	resp, err := c.Client.Do(req)
	if err != nil {
		return fmt.Errorf("reach the control route: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		var e struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		_ = json.Unmarshal(data, &e)
		switch {
		case e.Error == "reconnect_needed":
			return fmt.Errorf("%w: %s", ErrReconnect, e.Description)
		case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
			return fmt.Errorf("%w: %s", ErrRefused, e.Description)
		}
		return fmt.Errorf("control route answered %d %s: %s", resp.StatusCode, e.Error, e.Description)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}
