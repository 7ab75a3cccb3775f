package reddit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/tokenfile"
)

// Names of the server's environment.
const (
	envToken     = "REDDIT_ACCESS_TOKEN"
	envTokenFile = "REDDIT_TOKEN_FILE"
	envAgent     = "REDDIT_USER_AGENT"
	envBase      = "REDDIT_BASE_URL"
)

const (
	version   = "1.0.0"
	apiBase   = "https://oauth.reddit.com"
	maxAnswer = 8 << 20 // of what is read of an answer; a hundred long posts are half of it
	// longestPause is Reddit's window of ten minutes, which no header extends.
	longestPause = 10 * time.Minute
	// refused begins the text of a call that was made with a dead token. No text
	// of Reddit's holds it: see [plain].
	refused = "reddit_token_refused"
)

// defaultAgent names the program, as Reddit's rules want it, and its home where
// they want a person: <platform>:<app ID>:<version string> (by /u/<username>),
// https://github.com/reddit-archive/reddit/wiki/API. Whoever runs Lanyard names
// an account of their own in REDDIT_USER_AGENT.
var defaultAgent = runtime.GOOS + ":com.github.lanyardhq.lanyard:v" + version + " (+https://github.com/lanyardhq/lanyard)"

// client calls Reddit's API with whatever token is current.
type client struct {
	base, agent string
	token       func() (string, error)
	http        *http.Client
	now         func() time.Time

	mu sync.Mutex
	// until is when Reddit, which has had enough, may be asked again.
	until time.Time
}

func newClient(getenv func(string) string) (*client, error) {
	agent := cmp.Or(getenv(envAgent), defaultAgent)
	if len(agent) > 256 || strings.ContainsFunc(agent, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, fmt.Errorf("%s must be one line of at most 256 ASCII characters, such as %q", envAgent, defaultAgent)
	}
	base := strings.TrimSuffix(cmp.Or(getenv(envBase), apiBase), "/")
	if base != apiBase && !loopback(base) {
		return nil, fmt.Errorf("%s is for tests: it must be http://127.0.0.1:PORT, because the token is sent there", envBase)
	}
	token, err := tokenfile.Source(getenv, envToken, envTokenFile)
	if err != nil {
		return nil, err
	}
	return &client{base: base, agent: agent, token: token, now: time.Now, http: &http.Client{
		Timeout: 30 * time.Second,
		// Reddit redirects for names that do not exist; following would carry the token along.
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

// get reads into out. Its errors, and those of post, are written for the person
// who reads the tool's result.
func (c *client) get(ctx context.Context, path string, query url.Values, out any) error {
	all := url.Values{"raw_json": {"1"}} // or < and & in texts are HTML's entities
	maps.Copy(all, query)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path+"?"+all.Encode(), nil)
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	return c.do(req, out)
}

// post sends a form that makes something.
func (c *client) post(ctx context.Context, path string, form url.Values, out any) error {
	form.Set("api_type", "json")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path+"?raw_json=1", strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(req, out)
}

// unknown: a call that may have made something has to be looked after.
func unknown(req *http.Request, err error) error {
	if req.Method == http.MethodGet {
		return err
	}
	return fmt.Errorf("%w. It is not known whether it was posted: look before you post it again", err)
}

func (c *client) do(req *http.Request, out any) error {
	if d := c.pause(); d > 0 {
		return limited(d)
	}
	token, err := c.token()
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("User-Agent", c.agent)
	resp, err := c.http.Do(req)
	if err != nil {
		return unknown(req, fmt.Errorf("no answer from Reddit: %w", err))
	}
	defer resp.Body.Close()
	c.heed(resp)
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	// Reddit has no reason to repeat the token; then nobody sees it.
	data = bytes.ReplaceAll(data, []byte(token), []byte("[token]"))
	switch {
	case err != nil:
		return unknown(req, fmt.Errorf("read the answer: %w", err))
	case resp.StatusCode >= 500:
		return unknown(req, fmt.Errorf("a failure of Reddit's own (status %d): try again in a minute", resp.StatusCode))
	case resp.StatusCode >= 300:
		return c.apiError(resp, data)
	case len(data) > maxAnswer:
		return unknown(req, errors.New("the answer is longer than 8 MB: ask for less"))
	}
	if json.Unmarshal(data, out) != nil {
		return unknown(req, errShape)
	}
	return nil
}

// pause is how long Reddit wants to be left alone yet.
func (c *client) pause() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.until.Sub(c.now())
}

// heed remembers what an answer says of the limit: X-Ratelimit-Remaining counts
// requests, X-Ratelimit-Reset and Retry-After are in seconds.
func (c *client) heed(resp *http.Response) {
	left, err := strconv.ParseFloat(resp.Header.Get("X-Ratelimit-Remaining"), 64)
	if resp.StatusCode != http.StatusTooManyRequests && (err != nil || left >= 1) {
		return
	}
	wait := time.Minute
	for _, name := range []string{"X-Ratelimit-Reset", "Retry-After"} {
		if s, err := strconv.ParseFloat(resp.Header.Get(name), 64); err == nil && s > 0 {
			wait = time.Duration(math.Min(s, longestPause.Seconds()) * float64(time.Second))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = c.now().Add(wait)
}

func limited(d time.Duration) error {
	return fmt.Errorf("the requests that Reddit allows are used up: call again in %s", (d + time.Second - 1).Truncate(time.Second))
}

func (c *client) apiError(resp *http.Response, data []byte) error {
	var body struct{ Reason, Message string }
	_ = json.Unmarshal(data, &body) // no JSON: the status has to do
	said := line(cmp.Or(body.Reason, body.Message), 200)
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return errors.New(refused + ": Reddit did not accept the access token, which has expired or was revoked. If this stays, reconnect Reddit in Lanyard")
	case http.StatusForbidden:
		if strings.Contains(resp.Header.Get("WWW-Authenticate"), "insufficient_scope") {
			return errors.New("insufficient_scope: this was not allowed when Reddit was connected. Reconnect Reddit in Lanyard and allow it")
		}
		return fmt.Errorf("refused by Reddit (%s): the subreddit may be private or closed to this account. If everything is refused, have the operator set %s", cmp.Or(said, "no reason given"), envAgent)
	case http.StatusNotFound:
		return fmt.Errorf("no such subreddit or post (%s)", cmp.Or(said, "not found"))
	case http.StatusTooManyRequests:
		return limited(c.pause())
	}
	if resp.StatusCode < 400 {
		return errors.New("no such subreddit or post: Reddit would send the call elsewhere")
	}
	return fmt.Errorf("refused by Reddit with status %d (%s)", resp.StatusCode, cmp.Or(said, "no reason given"))
}
