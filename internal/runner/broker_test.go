package runner

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

func TestBroker(t *testing.T) {
	t.Parallel()
	c := newControl(task.Claim{Access: access("first", time.Hour)})
	b, err := newBroker(newCredentials(c, "task-1", c.claim))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	good := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {b.handle}}
	ask := func(path, id, secret, host string, form url.Values) (int, map[string]any) {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), "POST", b.url+path, strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if id != "" {
			req.SetBasicAuth(id, secret)
		}
		if host != "" {
			req.Host = host
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var out map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v, %v", path, err, resp.Header)
		}
		return resp.StatusCode, out
	}
	with := func(pairs ...string) url.Values {
		v := url.Values{}
		for k := range good {
			v.Set(k, good.Get(k))
		}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
	for _, tc := range []struct {
		name, id, secret, host string
		form                   url.Values
		status                 int
		code                   any
	}{
		{"basic", brokerClient, b.secret, "", good, 200, nil},
		{"form", "", "", "", with("client_id", brokerClient, "client_secret", b.secret), 200, nil},
		{"no client", "", "", "", good, 401, "invalid_client"},
		{"wrong secret", brokerClient, "x", "", good, 401, "invalid_client"},
		{"wrong client", "x", b.secret, "", good, 401, "invalid_client"},
		{"wrong handle", brokerClient, b.secret, "", with("refresh_token", "x"), 400, "invalid_grant"},
		{"wrong grant", brokerClient, b.secret, "", with("grant_type", "authorization_code"), 400, "unsupported_grant_type"},
		{"rebound name", brokerClient, b.secret, "evil.example", good, 403, "invalid_request"},
		{"localhost", brokerClient, b.secret, "localhost:80", good, 403, "invalid_request"},
	} {
		status, out := ask("/token", tc.id, tc.secret, tc.host, tc.form)
		if status != tc.status || out["error"] != tc.code {
			t.Errorf("%s: %d %v", tc.name, status, out)
		}
		if status == 200 && (out["access_token"] != "first" || out["token_type"] != "Bearer" || out["expires_in"].(float64) < 3500) {
			t.Errorf("%s: %v", tc.name, out)
		}
	}
	if n := len(c.requests()); n != 0 {
		t.Errorf("asked for a token with an hour left, %d times", n)
	}
	if _, out := ask("/introspect", brokerClient, b.secret, "", url.Values{"token": {"first"}}); out["active"] != true {
		t.Errorf("introspection: %v", out)
	}
	if _, out := ask("/introspect", brokerClient, b.secret, "", url.Values{"token": {"other"}}); out["active"] != false {
		t.Errorf("introspection: %v", out)
	}
	if status, out := ask("/introspect", brokerClient, b.secret, "", nil); status != 400 || out["error"] != "invalid_request" {
		t.Errorf("introspection of nothing: %d %v", status, out)
	}
	b.cred.access = token.Access{} // a connection whose tokens all have names
	for _, asked := range []url.Values{nil, {"token": {""}}, {"token": {"x"}}} {
		if _, out := ask("/introspect", brokerClient, b.secret, "", asked); out["active"] == true {
			t.Errorf("introspection of %v without a token: %v", asked, out)
		}
	}

	for _, tc := range []struct {
		name   string
		has    time.Duration
		err    error
		status int
		code   any
		token  any
	}{
		{"renewed", 30 * time.Second, nil, 200, nil, "second"},
		{"dead grant", 30 * time.Second, task.ErrReconnect, 400, "invalid_grant", nil},
		{"a short rest while mcprun is away", 30 * time.Second, errors.New("away: secret detail"), 200, nil, "first"},
		{"expired while mcprun is away", time.Nanosecond, errors.New("away: secret detail"), 503, "temporarily_unavailable", nil},
	} {
		c.next = func(r task.TokenRequest) (token.Access, error) {
			if r.MinTTL != 60 {
				t.Errorf("%s: asked for %d s", tc.name, r.MinTTL)
			}
			return access("second", time.Hour), tc.err
		}
		b.cred.access, b.cred.lifetime = access("first", tc.has), time.Hour
		status, out := ask("/token", brokerClient, b.secret, "", good)
		if status != tc.status || out["error"] != tc.code || out["access_token"] != tc.token {
			t.Errorf("%s: %d %v", tc.name, status, out)
		}
		if s, _ := out["error_description"].(string); strings.Contains(s, "secret detail") {
			t.Errorf("%s: told too much: %v", tc.name, out)
		}
	}
}

// A broker task end to end: the server finds the endpoint in its file.
func TestBrokerTask(t *testing.T) {
	t.Parallel()
	c := newControl(task.Claim{Access: access("the-token", time.Hour), Recipe: task.Recipe{
		Rotation: task.RotateBroker, Mapping: map[string]string{"credential_files.adc": "ADC"},
		Files: map[string]task.File{"adc": {Template: `{"token_url":{{json .broker.token_url}},"client_id":{{json .broker.client_id}},` +
			`"client_secret":{{json .broker.client_secret}},"refresh_token":{{json .broker.refresh_token}}}`}},
	}})
	u := start(t, c, nil)
	u.connect()
	if got := u.tool("getenv", "NO_PROXY"); got != "127.0.0.1,localhost" {
		t.Errorf("NO_PROXY is %q", got)
	}
	var adc map[string]string
	if err := json.Unmarshal([]byte(u.tool("read", "$ADC")), &adc); err != nil {
		t.Fatal(err)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {adc["refresh_token"]}, "client_id": {adc["client_id"]}, "client_secret": {adc["client_secret"]}}
	resp, err := http.PostForm(adc["token_url"], form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || out["access_token"] != "the-token" {
		t.Errorf("%v %v", out, err)
	}
}
