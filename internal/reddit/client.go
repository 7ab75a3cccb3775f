package reddit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/upstream"
)

const (
	version  = "1.0.0"
	apiBase  = "https://oauth.reddit.com"
	envAgent = "REDDIT_USER_AGENT"
	// longestPause is Reddit's window of ten minutes, which no header extends.
	longestPause = 10 * time.Minute
)

// defaultAgent names the program, as Reddit's rules want it, and its home where
// they want a person: <platform>:<app ID>:<version string> (by /u/<username>),
// https://github.com/reddit-archive/reddit/wiki/API. Whoever runs Lanyard names
// an account of their own in REDDIT_USER_AGENT.
var defaultAgent = runtime.GOOS + ":com.github.lanyardhq.lanyard:v" + version + " (+https://github.com/lanyardhq/lanyard)"

// client calls Reddit's API.
type client struct{ *upstream.Client }

func newClient(getenv func(string) string) (*client, error) {
	agent := cmp.Or(getenv(envAgent), defaultAgent)
	if len(agent) > 256 || strings.ContainsFunc(agent, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, fmt.Errorf("%s must be one line of at most 256 ASCII characters, such as %q", envAgent, defaultAgent)
	}
	up, err := upstream.New(getenv, "Reddit", apiBase)
	if err != nil {
		return nil, err
	}
	c := &client{up}
	up.Agent, up.LongestPause, up.Refusal = agent, longestPause, c.apiError
	return c, nil
}

// get reads into out.
func (c *client) get(ctx context.Context, path string, query url.Values, out any) error {
	all := url.Values{"raw_json": {"1"}} // or < and & in texts are HTML's entities
	maps.Copy(all, query)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base+path+"?"+all.Encode(), nil)
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	return c.Do(req, out)
}

// post sends a form that makes something.
func (c *client) post(ctx context.Context, path string, form url.Values, out any) error {
	form.Set("api_type", "json")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base+path+"?raw_json=1", strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.Do(req, out)
}

func (c *client) apiError(resp *http.Response, data []byte) error {
	var body struct{ Reason, Message string }
	_ = json.Unmarshal(data, &body) // no JSON: the status has to do
	said := upstream.Line(cmp.Or(body.Reason, body.Message), 200)
	switch resp.StatusCode {
	case http.StatusForbidden:
		if strings.Contains(resp.Header.Get("WWW-Authenticate"), "insufficient_scope") {
			return c.OutOfScope()
		}
		return fmt.Errorf("refused by Reddit (%s): the subreddit may be private or closed to this account. If everything is refused, have the operator set %s", cmp.Or(said, "no reason given"), envAgent)
	case http.StatusNotFound:
		return fmt.Errorf("no such subreddit or post (%s)", cmp.Or(said, "not found"))
	}
	if resp.StatusCode < 400 {
		return errors.New("no such subreddit or post: Reddit would send the call elsewhere")
	}
	return fmt.Errorf("refused by Reddit with status %d (%s)", resp.StatusCode, cmp.Or(said, "no reason given"))
}
