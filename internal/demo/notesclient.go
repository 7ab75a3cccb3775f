package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/tokenfile"
)

// Names of the MCP server's environment.
const (
	envURL       = "DEMO_NOTES_URL"
	envToken     = "DEMO_ACCESS_TOKEN"
	envTokenFile = "DEMO_TOKEN_FILE"
)

// maxAnswer bounds what is read of an answer; it holds a full list of notes.
const maxAnswer = 8 << 20

// notesClient calls the notes API with whatever token is current.
type notesClient struct {
	base  string
	token func() (string, error)
	http  *http.Client
}

func newNotesClient(getenv func(string) string) (*notesClient, error) {
	base, err := url.Parse(getenv(envURL))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("%s must be the demo provider's URL, such as http://127.0.0.1:8090", envURL)
	}
	token, err := tokenfile.Source(getenv, envToken, envTokenFile)
	if err != nil {
		return nil, err
	}
	return &notesClient{
		base:  strings.TrimSuffix(base.String(), "/"),
		token: token,
		http: &http.Client{
			Timeout: 30 * time.Second,
			// The API never redirects; following would carry the token along.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func (c *notesClient) list(ctx context.Context) (noteList, error) {
	list := noteList{Notes: []note{}}
	return list, c.call(ctx, http.MethodGet, "/notes", nil, &list)
}

func (c *notesClient) add(ctx context.Context, text string) (note, error) {
	var added note
	return added, c.call(ctx, http.MethodPost, "/notes", map[string]string{"text": text}, &added)
}

func (c *notesClient) delete(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/notes/"+url.PathEscape(id), nil, nil)
}

func (c *notesClient) whoami(ctx context.Context) (account, error) {
	var who account
	return who, c.call(ctx, http.MethodGet, "/userinfo", nil, &who)
}

// call sends in as JSON and reads the answer into out, unless they are nil.
// Its errors are written for the person who reads the tool's result.
func (c *notesClient) call(ctx context.Context, method, path string, in, out any) error {
	token, err := c.token()
	if err != nil {
		return err
	}
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("the notes service cannot be reached (is Lanyard running?): %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the notes service's answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return apiError(resp.StatusCode, data)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("the notes service's answer is not the JSON expected: %w", err)
	}
	return nil
}

func apiError(status int, data []byte) error {
	var e errorBody
	_ = json.Unmarshal(data, &e) // no JSON: the status has to do
	switch {
	case status == http.StatusUnauthorized:
		return errors.New("invalid_token: the notes service did not accept the access token, which has expired or was revoked. " +
			"If this stays, reconnect the demo in Lanyard")
	case status == http.StatusForbidden:
		return fmt.Errorf("insufficient_scope: %s. Reconnect the demo in Lanyard and allow it", e.Description)
	case e.Description != "":
		return errors.New(e.Description)
	}
	return fmt.Errorf("the notes service answered %d: try again, or see Lanyard's log", status)
}
