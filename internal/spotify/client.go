package spotify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/upstream"
)

const (
	version = "1.0.0"
	apiBase = "https://api.spotify.com"
	// longestPause: Spotify counts over half a minute, and bars an application
	// that goes on asking for hours. Nothing bars one for longer than a day.
	longestPause = 24 * time.Hour
)

// client calls Spotify's Web API.
type client struct{ *upstream.Client }

func newClient(getenv func(string) string) (*client, error) {
	up, err := upstream.New(getenv, "Spotify", apiBase)
	if err != nil {
		return nil, err
	}
	c := &client{up}
	up.LongestPause, up.Refusal = longestPause, c.refusal
	return c, nil
}

// call sends a request, with a body if there is one, and reads the answer into
// out if that is wanted.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	address := c.Base + "/v1" + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var sent []byte
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return fmt.Errorf("make the request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(sent))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.Do(req, out)
}

// refusal puts into words what Spotify says no to. Its errors are
// {"error": {"status", "message", "reason"}}, the reason for the player's alone:
// https://developer.spotify.com/documentation/web-api/concepts/api-calls
// Some are a line of text.
func (c *client) refusal(resp *http.Response, data []byte) error {
	var body struct {
		Error struct{ Message, Reason string }
	}
	said := string(data)
	if json.Unmarshal(data, &body) == nil {
		said = body.Error.Message
	} else if strings.HasPrefix(strings.TrimSpace(said), "<") {
		said = "" // a page
	}
	said = cmp.Or(upstream.Line(said, 200), "no reason given")
	player := strings.HasPrefix(resp.Request.URL.Path, "/v1/me/player")
	switch status := resp.StatusCode; {
	case body.Error.Reason == "PREMIUM_REQUIRED":
		return errors.New("premium_required: Spotify lets an application control playback for accounts with Premium alone")
	case body.Error.Reason == "NO_ACTIVE_DEVICE":
		return errors.New("no_active_device: no device plays now. Open Spotify on one and play something there, or name one that devices lists")
	case status == http.StatusForbidden && strings.Contains(strings.ToLower(said), "scope"):
		return c.OutOfScope()
	case status == http.StatusForbidden && player:
		return fmt.Errorf("refused by Spotify (%s): what plays may not allow it, or is so already. now_playing tells", said)
	case status == http.StatusForbidden:
		return fmt.Errorf("refused by Spotify (%s): a playlist has to be this person's own, or one that they share in. If everything is refused, have the operator look at the application's list of people, and at their own Premium", said)
	case status == http.StatusNotFound && player:
		return fmt.Errorf("no such device, or nothing of this address (%s)", said)
	case status == http.StatusNotFound:
		return fmt.Errorf("no such thing at Spotify, or not for this account (%s)", said)
	case status < 400:
		return errors.New("no such thing at Spotify: it would send the call elsewhere")
	}
	return fmt.Errorf("refused by Spotify with status %d (%s)", resp.StatusCode, said)
}
