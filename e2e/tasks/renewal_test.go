//go:build linux

package tasks

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
)

// Of each rotation.
const (
	callEvery = 20 * time.Millisecond
	callFor   = 26 * time.Second
	// A token of 7 seconds is renewed when a quarter of it is left, or a little
	// more: every 5 seconds.
	tokenLives = 7 * time.Second
	renewEvery = 5 * time.Second
	// renewedElsewhere is how often somebody else renews, besides. It is never at
	// the same time: a call is repeated once, and then both its tokens had ended.
	renewedElsewhere = renewEvery * 3 / 2
	// ahead is how long before the end the caller asks its token endpoint.
	ahead = 3 * time.Second
)

// brokerFile is what a server needs to ask the token endpoint.
const brokerFile = `{"url":{{json .broker.token_url}},"id":{{json .broker.client_id}},"secret":{{json .broker.client_secret}},"handle":{{json .broker.refresh_token}}}`

// rotations are how a server comes by its token.
var rotations = map[task.Rotation]task.Recipe{
	task.RotateBroker:  {Files: map[string]task.File{"f": {Template: brokerFile}}, Mapping: map[string]string{"credential_files.f": "BROKER"}},
	task.RotateFile:    {Files: map[string]task.File{"f": {Template: "{{.access_token}}"}}, Mapping: map[string]string{"credential_files.f": "FILE"}},
	task.RotateRestart: {Mapping: map[string]string{"access_token": "TOKEN"}},
}

// TestRenewal: fifty calls a second go on while the token is renewed every five
// seconds, for every rotation and both habits of providers, and none of them
// fails.
//
// Where a token lives until its end, whatever is renewed, the API sees no other
// token than a valid one. Where a renewal ends it at once, and somebody else may
// renew, no one can promise that: there each call is served once, although the
// API refused some of them before.
func TestRenewal(t *testing.T) {
	var wg sync.WaitGroup // not t.Parallel, which takes them two at a time on two cores
	for rotation, recipe := range rotations {
		for _, dies := range []bool{false, true} {
			recipe := recipe
			recipe.Rotation, recipe.OldTokenDies, recipe.AuthFailure = rotation, dies, []string{refusal}
			wg.Go(func() {
				t.Run(fmt.Sprintf("%s, the old token dies: %v", rotation, dies), func(t *testing.T) { renewal(t, recipe) })
			})
		}
	}
	wg.Wait()
}

func renewal(t *testing.T, recipe task.Recipe) {
	p := newProvider(t, tokenLives, recipe.OldTokenDies)
	recipe.Command, recipe.Env = []string{"/proc/self/exe", "caller"}, map[string]string{"API": p.api.URL}
	c := &control{recipe: recipe, access: p.access, fresh: p.fresh}
	c.start(t)
	l := launcher(open(t))
	defer l.Close(t.Context())
	c.begin(t, l, "tsk_1")
	dialled := c.dialled(t.Context(), t)
	if dialled == nil {
		t.FailNow()
	}
	clients := make([]*client, 4)
	for i := range clients {
		clients[i] = dialled()
		if err := clients[i].connect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	var wg sync.WaitGroup
	var failed, done atomic.Int64
	began := time.Now()
	elsewhere, made := began.Add(renewedElsewhere), 0
	for time.Since(began) < callFor {
		time.Sleep(time.Until(began.Add(time.Duration(made) * callEvery)))
		if recipe.OldTokenDies && time.Now().After(elsewhere) {
			p.renew()
			elsewhere = elsewhere.Add(renewedElsewhere)
		}
		call := fmt.Sprint("call-", made)
		by := clients[made%len(clients)]
		made++
		wg.Go(func() {
			switch said, err := by.call(t.Context(), "call", call); {
			case err == nil && said == "served":
				done.Add(1)
			case failed.Add(1) <= 3:
				t.Errorf("after %s: %s: %q %v", time.Since(began).Round(time.Millisecond), call, said, err)
			}
		})
	}
	wg.Wait()

	p.mu.Lock()
	defer p.mu.Unlock()
	t.Logf("%d calls, %d failed; %d renewals; the API refused %d", made, failed.Load(), p.renewed, p.refused)
	if failed.Load() != 0 || int(done.Load()) != made {
		t.Errorf("%d of %d calls failed", failed.Load(), made)
	}
	if least := int(callFor / renewEvery); p.renewed < least-1 {
		t.Errorf("renewed %d times, which is too seldom to prove anything", p.renewed)
	}
	if len(p.strange) > 0 {
		t.Errorf("the API was shown what is no token: %q", p.strange)
	}
	if !recipe.OldTokenDies && p.refused > 0 {
		t.Errorf("the API was shown a token that had ended, %d times", p.refused)
	}
	for call, times := range p.done {
		if times != 1 {
			t.Errorf("%s was served %d times", call, times)
		}
	}
	if len(p.done) != made {
		t.Errorf("%d calls of %d reached the API", len(p.done), made)
	}
}

// refusal is what the caller says when the API refuses it.
const refusal = `"invalid_auth"`

// callerTools are those of a server that calls the API with the token that it
// has, by whichever way it was given one.
func callerTools() map[string]tool {
	var token func(refused string) string
	switch {
	case os.Getenv("TOKEN") != "":
		token = func(string) string { return os.Getenv("TOKEN") }
	case os.Getenv("FILE") != "":
		token = func(string) string {
			data, _ := os.ReadFile(os.Getenv("FILE"))
			return string(data)
		}
	default:
		token = (&asking{file: os.Getenv("BROKER")}).token
	}
	return map[string]tool{"call": func(text string) (string, bool) {
		refused := ""
		for {
			shown := token(refused)
			status, said := ask(os.Getenv("API"), text, shown)
			if status == http.StatusOK {
				return said, false
			}
			// As google-auth does it, once.
			if refused != "" || os.Getenv("BROKER") == "" || status != http.StatusUnauthorized {
				return fmt.Sprintf("the API answered %d: %s", status, refusal), true
			}
			refused = shown
		}
	}}
}

func ask(api, call, token string) (status int, said string) {
	req, err := http.NewRequest(http.MethodGet, api+"?call="+url.QueryEscape(call), nil)
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(data)
}

// asking keeps a token until shortly before its end, or until it is refused, and
// then asks the token endpoint for another.
type asking struct {
	file string

	mu    sync.Mutex
	now   string
	until time.Time
}

func (a *asking) token(refused string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now != "" && a.now != refused && time.Until(a.until) > ahead {
		return a.now
	}
	var f struct{ URL, ID, Secret, Handle string }
	data, err := os.ReadFile(filepath.Clean(a.file))
	if err != nil || json.Unmarshal(data, &f) != nil {
		return "no credential file"
	}
	resp, err := http.Post(f.URL, "application/x-www-form-urlencoded", strings.NewReader(url.Values{"grant_type": {"refresh_token"},
		"refresh_token": {f.Handle}, "client_id": {f.ID}, "client_secret": {f.Secret}}.Encode()))
	if err != nil {
		return a.now
	}
	defer resp.Body.Close()
	var out struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if json.NewDecoder(resp.Body).Decode(&out) == nil && out.AccessToken != "" {
		a.now, a.until = out.AccessToken, time.Now().Add(time.Duration(out.ExpiresIn)*time.Second)
	}
	return a.now
}
