// Package upstream is what the MCP servers that we ship have in common: they call
// the API of one service as a person, and show what other people wrote there.
package upstream

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/tokenfile"
)

const (
	maxAnswer = 8 << 20 // of what is read of an answer; a hundred long posts are half of it
	// refusedMark ends the word that begins the text of a call which was made with
	// a dead token, reddit_token_refused say. No text of a service's holds it: see
	// [Plain].
	refusedMark = "_token_refused"
)

// Unknown is what there is to say of a call that may have done something.
const Unknown = "it is not known whether it was done: look before you do it again"

// Client calls the API of one service with whatever token is current. The errors
// of its calls are written for the person who reads the tool's result.
type Client struct {
	Service string // as people write it
	Base    string // of the API's addresses
	// Refusal puts a status of 300 to 499 into words: those of the service, as far
	// as the client has none of its own. Required.
	Refusal func(resp *http.Response, body []byte) error
	// LongestPause is what no header of the service's extends. Required.
	LongestPause time.Duration
	Agent        string // the User-Agent, if it is not Go's
	Now          func() time.Time

	token func() (string, error)
	http  *http.Client

	mu sync.Mutex
	// until is when the service, which has had enough, may be asked again.
	until time.Time
}

// New reads the environment of the server of a service, NAME in capitals:
//
//	NAME_TOKEN_FILE    a file {"access_token": "…"}, read anew for each call
//	NAME_ACCESS_TOKEN  or else the access token itself
//	NAME_BASE_URL      for tests: an address of this machine instead of base
func New(getenv func(string) string, service, base string) (*Client, error) {
	prefix := strings.ToUpper(service)
	own := prefix + "_BASE_URL"
	at := strings.TrimSuffix(cmp.Or(getenv(own), base), "/")
	if at != base && !loopback(at) {
		return nil, fmt.Errorf("%s is for tests: it must be http://127.0.0.1:PORT, because the token is sent there", own)
	}
	token, err := tokenfile.Source(getenv, prefix+"_ACCESS_TOKEN", prefix+"_TOKEN_FILE")
	if err != nil {
		return nil, err
	}
	return &Client{Service: service, Base: at, Now: time.Now, token: token, http: &http.Client{
		Timeout: 30 * time.Second,
		// Following a redirect would carry the token along.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// loopback takes addresses alone: a name may mean any machine.
func loopback(base string) bool {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}

// Refused begins the text of a call that was made with a dead token: it is what
// a server's preset has in auth_failure.
func (c *Client) Refused() string { return strings.ToLower(c.Service) + refusedMark }

// NotExpected is the error of an answer that has another shape.
func NotExpected(service string) error {
	return fmt.Errorf("what %s answers is not the JSON expected", service)
}

// unknown: a call that may have done something has to be looked after.
func unknown(req *http.Request, err error) error {
	if req.Method == http.MethodGet {
		return err
	}
	return fmt.Errorf("%w; %s", err, Unknown)
}

// Do sends a request with the current token and reads JSON into out, which stays
// as it is where the service answers that there is nothing to read. Without out
// the answer's text does not matter.
func (c *Client) Do(req *http.Request, out any) error {
	if d := c.pause(); d > 0 {
		return c.limited(d)
	}
	token, err := c.token()
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if c.Agent != "" {
		req.Header.Set("User-Agent", c.Agent)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unknown(req, fmt.Errorf("no answer from %s: %w", c.Service, err))
	}
	defer resp.Body.Close()
	c.heed(resp)
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	// A service has no reason to repeat the token; then nobody sees it.
	data = bytes.ReplaceAll(data, []byte(token), []byte("[token]"))
	switch {
	case resp.StatusCode >= 500:
		return unknown(req, fmt.Errorf("a failure of %s's own (status %d): try again in a minute", c.Service, resp.StatusCode))
	case resp.StatusCode >= 300:
		// JSON has other ways to write a token, which end as it in the words.
		return errors.New(strings.ReplaceAll(c.refusal(resp, data).Error(), token, "[token]"))
	case out == nil, resp.StatusCode == http.StatusNoContent:
		return nil
	case err != nil:
		return unknown(req, fmt.Errorf("read the answer: %w", err))
	case len(data) > maxAnswer:
		return unknown(req, errors.New("the answer is longer than 8 MB: ask for less"))
	}
	if json.Unmarshal(data, out) != nil {
		return unknown(req, NotExpected(c.Service))
	}
	return nil
}

func (c *Client) refusal(resp *http.Response, data []byte) error {
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return fmt.Errorf("%s: %s did not accept the access token, which has expired or was revoked. If this stays, reconnect %[2]s in Lanyard", c.Refused(), c.Service)
	case http.StatusTooManyRequests:
		return c.limited(c.pause())
	}
	return c.Refusal(resp, data)
}

// OutOfScope is the error of a call for which the person gave no permission.
func (c *Client) OutOfScope() error {
	return fmt.Errorf("insufficient_scope: this was not allowed when %s was connected. Reconnect %[1]s in Lanyard and allow it", c.Service)
}

// pause is how long the service wants to be left alone yet.
func (c *Client) pause() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.until.Sub(c.Now())
}

// heed remembers what an answer says of the limit: X-Ratelimit-Remaining counts
// requests, X-Ratelimit-Reset and Retry-After are in seconds.
func (c *Client) heed(resp *http.Response) {
	left, err := strconv.ParseFloat(resp.Header.Get("X-Ratelimit-Remaining"), 64)
	if resp.StatusCode != http.StatusTooManyRequests && (err != nil || left >= 1) {
		return
	}
	wait := time.Minute
	for _, name := range []string{"X-Ratelimit-Reset", "Retry-After"} {
		if s, err := strconv.ParseFloat(resp.Header.Get(name), 64); err == nil && s > 0 {
			wait = time.Duration(math.Min(s, c.LongestPause.Seconds()) * float64(time.Second))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = c.Now().Add(wait)
}

func (c *Client) limited(d time.Duration) error {
	return fmt.Errorf("the requests that %s allows are used up: call again in %s", c.Service, (d + time.Second - 1).Truncate(time.Second))
}
