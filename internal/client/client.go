// Package client speaks Lanyard's HTTP API, to a laptop or a deployment alike.
//
// Each call is a method of [Client] and returns what the server answered,
// decoded, with the bytes themselves in Raw. A refusal is an [*Error]; a server
// that does not answer is [ErrUnreachable], and one that answers as something
// else does is [ErrNotLanyard]. No error holds the API key or a token.
package client

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

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/token"
)

const (
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 16 << 20
	// timeout leaves a slow provider time to renew or to revoke.
	timeout = 90 * time.Second
)

var (
	// ErrUnreachable: the server did not answer.
	ErrUnreachable = errors.New("no answer")
	// ErrNotLanyard: what answered is not Lanyard's API.
	ErrNotLanyard = errors.New("this is not the answer of a Lanyard server")
	// ErrURL: the API must not be called at this URL.
	ErrURL = errors.New("the URL of the server cannot be used")
	// ErrKey: the text is not an API key.
	ErrKey = errors.New("the API key is empty or holds characters that no key has")
	// ErrName: the text cannot be the id of anything.
	ErrName = errors.New("this cannot be an id")
)

// Error is the API's refusal of a call. Its texts may be a provider's: hostile.
type Error struct {
	// Status is the HTTP status.
	Status int `json:"-"`
	// Code is stable, such as connection_unknown.
	Code        string `json:"error"`
	Description string `json:"error_description"`
	// Hint says what to do next; it may be empty.
	Hint string `json:"hint,omitempty"`
}

func (e *Error) Error() string {
	if e.Description == "" {
		return e.Code
	}
	return e.Code + ": " + e.Description
}

// Client calls the API of one server as one tenant.
type Client struct {
	base string
	http *http.Client
	// authorize shows the key. It is a func because fmt prints an unexported
	// field without asking its type how.
	authorize func(*http.Request)
}

// New returns a client of the server at base, a URL without a path, that shows
// it key. Plain http is taken on loopback only ([ErrURL]), because the key and
// the tokens would cross the network in clear.
func New(base string, key token.Secret) (*Client, error) {
	if err := CheckURL(base); err != nil {
		return nil, err
	}
	if !visible(key.Reveal()) {
		return nil, ErrKey
	}
	// The API redirects nobody, and the key is not for whoever does.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{
		base: strings.TrimRight(base, "/"), http: &http.Client{Timeout: timeout, CheckRedirect: stay},
		authorize: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+key.Reveal()) },
	}, nil
}

// CheckURL reports with [ErrURL] that the API must not be called at base.
func CheckURL(base string) error {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%w: it must be a scheme and a host, such as https://connect.example.com", ErrURL)
	case u.Scheme == "http" && config.Loopback(u.Hostname()), u.Scheme == "https":
		return nil
	}
	return fmt.Errorf("%w: it must be https, except on loopback", ErrURL)
}

// visible reports whether s is what a bearer may be made of (RFC 6750 §2.1 is
// stricter still).
func visible(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// call sends in, if it is not nil, as JSON to the path and decodes the answer
// into out.
func (c *Client) call(ctx context.Context, method, path string, in, out any) (token.Secret, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return "", fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrURL, err)
	}
	c.authorize(r)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "lanyard-cli")
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return "", c.unreachable(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return "", c.unreachable(err)
	}
	if len(data) > maxAnswer {
		return "", fmt.Errorf("%w: %s answered with more than %d MB", ErrNotLanyard, c.base, maxAnswer>>20)
	}
	return token.Secret(data), c.decode(answer, data, out)
}

// unreachable leaves the request's own URL out: its query names users.
func (c *Client) unreachable(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("%w from %s: %w", ErrUnreachable, c.base, err)
}

func (c *Client) decode(answer *http.Response, data []byte, out any) error {
	if answer.StatusCode == http.StatusNoContent {
		return nil
	}
	if answer.StatusCode/100 == 2 {
		if err := json.Unmarshal(data, out); err != nil {
			// The cause could quote the answer.
			return fmt.Errorf("%w: %s answered %d without the JSON of this call", ErrNotLanyard, c.base, answer.StatusCode)
		}
		return nil
	}
	refused := &Error{Status: answer.StatusCode}
	if err := json.Unmarshal(data, refused); err != nil || refused.Code == "" {
		return fmt.Errorf("%w: %s answered %d", ErrNotLanyard, c.base, answer.StatusCode)
	}
	return refused
}

// segment is an id as one segment of a path. Dots alone would name another.
func segment(id string) (string, error) {
	if id == "" || id == "." || id == ".." {
		return "", fmt.Errorf("%w: %q", ErrName, id)
	}
	return url.PathEscape(id), nil
}
