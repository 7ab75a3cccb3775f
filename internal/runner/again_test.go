package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/bridge"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// refusal is what the test server's tool says when the API refused it.
const refusal = `API error: "invalid_auth"`

// api is a provider and its API. A renewal ends the access token before it at
// once. Calls stay under way until as many as asked for are, and a token is
// looked at when they go on.
type api struct {
	srv   *httptest.Server
	lives time.Duration

	mu      sync.Mutex
	edition int
	until   time.Time
	// waiting calls go on when gate is closed; full is closed when wanted wait.
	waiting, wanted int
	full, gate      chan struct{}
	done            map[string]int
	refused         int
	// broken: it refuses everybody.
	broken bool
}

func newAPI(t *testing.T, lives time.Duration, wanted int) *api {
	t.Helper()
	a := &api{lives: lives, wanted: wanted, full: make(chan struct{}), gate: make(chan struct{}), done: map[string]int{}}
	a.srv = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.srv.Close)
	a.renew()
	return a
}

func (a *api) renew() token.Access {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.edition++
	a.until = time.Now().Add(a.lives)
	return a.access()
}

// access is the living set. a.mu is held.
func (a *api) access() token.Access {
	return token.Access{Tokens: map[string]token.Token{"": {AccessToken: token.Secret(fmt.Sprint("token-", a.edition)), ExpiresAt: a.until}}}
}

func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	if a.waiting++; a.waiting == a.wanted {
		close(a.full)
	}
	a.mu.Unlock()
	<-a.gate
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken || r.Header.Get("Authorization") != fmt.Sprint("Bearer token-", a.edition) {
		a.refused++
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	a.done[r.URL.Query().Get("call")]++
}

func (a *api) refusals() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}

// current answers the runner as mcprun does: with the living set.
func (a *api) current(task.TokenRequest) (token.Access, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.access(), nil
}

// serveAPI is an MCP server whose tool do calls the API, and that answers in any
// order. KEEPS says that it remembers its token until that is refused; its tool
// renew asks the token endpoint until that has another one.
func serveAPI() {
	var mu sync.Mutex
	var kept string
	get := func() string {
		mu.Lock()
		defer mu.Unlock()
		if kept == "" {
			data, _ := os.ReadFile(os.Getenv("FILE"))
			kept = os.Getenv("TOKEN") + string(data)
			if strings.HasPrefix(kept, "{") {
				kept = askBroker(data)
			}
		}
		t := kept
		if os.Getenv("KEEPS") == "" {
			kept = ""
		}
		return t
	}
	forget := func(t string) {
		mu.Lock()
		defer mu.Unlock()
		if kept == t {
			kept = ""
		}
	}
	call := func(text string) bool {
		// As google-auth: a refused token is renewed at the endpoint, once.
		for range 1 + len(os.Getenv("TRIES_AGAIN")) {
			t := get()
			req, _ := http.NewRequest(http.MethodGet, os.Getenv("API")+"?call="+text, nil)
			req.Header.Set("Authorization", "Bearer "+t)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return false
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return true
			}
			forget(t)
		}
		return false
	}
	var out sync.Mutex
	in := json.NewDecoder(os.Stdin)
	for {
		var m struct {
			ID     json.RawMessage
			Method string
			Params struct {
				Name      string
				Arguments struct{ Text string }
			}
		}
		if in.Decode(&m) != nil {
			return
		}
		if len(m.ID) == 0 {
			continue
		}
		go func() {
			result := `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"t","version":"1"}}`
			switch m.Method {
			case "tools/list":
				result = `{"tools":[{"name":"do","annotations":{"readOnlyHint":true}},{"name":"write"}]}`
			case "tools/call":
				renewing := m.Params.Name == "renew"
				if renewing {
					data, _ := os.ReadFile(os.Getenv("FILE"))
					for old := get(); askBroker(data) == old; {
						time.Sleep(20 * time.Millisecond)
					}
				}
				text, failed := "done", !renewing && !call(m.Params.Arguments.Text)
				if failed {
					text = refusal
				}
				result = fmt.Sprintf(`{"content":[{"type":"text","text":%q}],"isError":%v}`, text, failed)
			}
			out.Lock()
			defer out.Unlock()
			fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", m.ID, result)
		}()
	}
}

func askBroker(credential []byte) string {
	var c struct{ URL, Secret, Handle string }
	_ = json.Unmarshal(credential, &c)
	resp, err := http.PostForm(c.URL, map[string][]string{"grant_type": {"refresh_token"}, "refresh_token": {c.Handle}, "client_id": {brokerClient}, "client_secret": {c.Secret}})
	if err != nil {
		return "none"
	}
	defer resp.Body.Close()
	var t struct {
		AccessToken string `json:"access_token"`
	}
	_ = json.NewDecoder(resp.Body).Decode(&t)
	return t.AccessToken
}

// ways are how a server may come by its token.
var ways = map[string]task.Recipe{
	"restart":      {Rotation: task.RotateRestart, Mapping: map[string]string{"access_token": "TOKEN"}, Clients: task.ClientsShared},
	"restart each": {Rotation: task.RotateRestart, Mapping: map[string]string{"access_token": "TOKEN"}, Clients: task.ClientsEach},
	"file":         {Rotation: task.RotateFile, Files: map[string]task.File{"f": {Template: "{{.access_token}}"}}},
	"file kept":    {Rotation: task.RotateFile, Files: map[string]task.File{"f": {Template: "{{.access_token}}"}}, Env: map[string]string{"KEEPS": "1"}, Clients: task.ClientsEach},
	"broker": {Rotation: task.RotateBroker, Env: map[string]string{"KEEPS": "1", "TRIES_AGAIN": "1"},
		Files: map[string]task.File{"f": {Template: `{"url":{{json .broker.token_url}},"secret":{{json .broker.client_secret}},"handle":{{json .broker.refresh_token}}}`}}},
	"broker once": {Rotation: task.RotateBroker, Env: map[string]string{"KEEPS": "1"}, Clients: task.ClientsEach,
		Files: map[string]task.File{"f": {Template: `{"url":{{json .broker.token_url}},"secret":{{json .broker.client_secret}},"handle":{{json .broker.refresh_token}}}`}}},
}

// apiTask starts a task whose server calls the API.
func apiTask(t *testing.T, a *api, recipe task.Recipe) *underway {
	t.Helper()
	env := map[string]string{childMode: "api", "API": a.srv.URL}
	for k, v := range recipe.Env {
		env[k] = v
	}
	recipe.Env = env
	if recipe.Files != nil {
		recipe.Mapping = map[string]string{"credential_files.f": "FILE"}
	}
	recipe.AuthFailure, recipe.OldTokenDies = []string{`"invalid_auth"`}, true
	first, _ := a.current(task.TokenRequest{})
	c := newControl(task.Claim{Access: first, Recipe: recipe})
	c.next = a.current
	u := start(t, c, nil)
	u.connect()
	if r := receive(t, c.catalogues); r.State != task.Ready || !strings.Contains(string(r.Catalogue.Tools), `"do"`) { // what may be repeated
		t.Fatalf("report %+v", r)
	}
	return u
}

// inFlight makes that many calls, spread over some sessions, and returns when
// the API has them all. What they end with comes later.
func inFlight(u *underway, a *api, calls int) chan string {
	u.t.Helper()
	sessions := []*underway{u}
	for range 3 {
		other := *u
		other.initialize()
		sessions = append(sessions, &other)
	}
	ends := make(chan string, calls)
	for i := range calls {
		go func() {
			_, body := sessions[i%len(sessions)].post(u.control.claim.Bearer.Reveal(),
				fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"do","arguments":{"text":"c%d"}}}`, i, i))
			ends <- body
		}()
	}
	select {
	case <-a.full:
	case <-time.After(60 * time.Second):
		u.t.Fatal("the calls do not arrive")
	}
	return ends
}

// noneFails wants every call to have been done, once.
func noneFails(t *testing.T, a *api, ends chan string) {
	t.Helper()
	failed := 0
	for range cap(ends) {
		select {
		case body := <-ends:
			if !strings.Contains(body, `"done"`) {
				failed++
				t.Log(body)
			}
		case <-time.After(60 * time.Second):
			t.Fatal("a call is not answered")
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if failed > 0 || len(a.done) != cap(ends) {
		t.Errorf("%d of %d calls failed, %d were done", failed, cap(ends), len(a.done))
	}
	for call, n := range a.done {
		if n != 1 {
			t.Errorf("%s was done %d times", call, n)
		}
	}
	t.Logf("%d calls done, %d refusals by the API, %d failed", len(a.done), a.refused, failed)
}

const manyCalls = 50

// Fifty calls are under way when somebody else renews, and their token dies:
// their clients notice nothing, and mcprun is asked once or twice, not fifty
// times.
func TestRenewedElsewhere(t *testing.T) {
	t.Parallel()
	for name, recipe := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t, time.Hour, manyCalls)
			u := apiTask(t, a, recipe)
			ends := inFlight(u, a, manyCalls)
			a.renew()
			close(a.gate)
			noneFails(t, a, ends)
			asked := u.control.requests()
			if len(asked) < 1 || len(asked) > 2 || !asked[0].Suspect || asked[0].Refused != access("token-1", 0).Hash() {
				t.Errorf("asked %+v", asked)
			}
			// What fails afterwards fails without a renewal: once, as it is.
			a.mu.Lock()
			a.broken = true
			before := a.refused
			a.mu.Unlock()
			_, body := u.post(u.control.claim.Bearer.Reveal(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"do","arguments":{"text":"late"}}}`)
			if want := 1 + len(recipe.Env["TRIES_AGAIN"]); !strings.Contains(body, "invalid_auth") || a.refusals() != before+want {
				t.Errorf("refused %d times, want %d: %s", a.refusals()-before, want, body)
			}
		})
	}
}

// The same when the task itself renews, because the token's end is near.
func TestRenewedOnSchedule(t *testing.T) {
	t.Parallel()
	for name, recipe := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t, 2*time.Second, manyCalls)
			u := apiTask(t, a, recipe)
			ends := inFlight(u, a, manyCalls)
			var once sync.Once
			u.control.mu.Lock()
			u.control.next = func(r task.TokenRequest) (token.Access, error) {
				once.Do(func() {
					a.lives = time.Hour
					a.renew()
					close(a.gate)
					for a.refusals() < manyCalls { // all fail before the new token is known here
						time.Sleep(time.Millisecond)
					}
				})
				return a.current(r)
			}
			u.control.mu.Unlock()
			if recipe.Rotation == task.RotateBroker {
				// There it is the server that keeps to the schedule.
				var renewing sync.WaitGroup
				renewing.Go(func() { u.tool("renew", "") })
				defer renewing.Wait()
			}
			noneFails(t, a, ends)
			for _, q := range u.control.requests() {
				if q.Suspect {
					t.Errorf("asked although the renewal was the task's own: %+v", q)
				}
			}
		})
	}
}

// The next call of a server that keeps its token until it is refused does not
// fail either, long after the renewal reached its file.
func TestKeptToken(t *testing.T) {
	t.Parallel()
	a := newAPI(t, time.Hour, 1)
	close(a.gate)
	u := apiTask(t, a, ways["file kept"])
	do := func(name string) {
		t.Helper()
		_, body := u.post(u.control.claim.Bearer.Reveal(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"do","arguments":{"text":"`+name+`"}}}`)
		if !strings.Contains(body, `"done"`) {
			t.Errorf("%s: %s", name, body)
		}
	}
	other := *u
	other.initialize()
	do("first")
	u.session, other.session = other.session, u.session
	do("other")
	a.renew()
	do("asks")
	u.session = other.session
	do("later")
	// Once for the renewal, once whether it was the last.
	if n := len(u.control.requests()); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// Nor does a call that finds its token dead after a renewal which no call had
// noticed: that one was on schedule, this one is somebody else's.
func TestRenewedTwice(t *testing.T) {
	t.Parallel()
	for name, recipe := range ways {
		if recipe.Rotation == task.RotateRestart {
			continue // its server is known to have what it was started with
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t, 2*time.Second, 1)
			close(a.gate)
			u := apiTask(t, a, recipe)
			u.control.mu.Lock()
			u.control.next = func(r task.TokenRequest) (token.Access, error) {
				if !r.Suspect {
					a.lives = time.Hour
					a.renew()
				}
				return a.current(r)
			}
			u.control.mu.Unlock()
			if recipe.Rotation == task.RotateBroker {
				u.tool("renew", "")
			} else {
				eventually(t, "the file has the new token", func() bool {
					files, _ := filepath.Glob(u.dir + "/*/home/.lanyard/f")
					data, err := os.ReadFile(strings.Join(files, ""))
					return err == nil && string(data) == "token-2"
				})
			}
			if got := u.tool("do", "scheduled"); got != "done" {
				t.Errorf("after the renewal on schedule: %s", got)
			}
			a.renew()
			if got := u.tool("do", "stolen"); got != "done" {
				t.Errorf("after somebody else's: %s", got)
			}
		})
	}
}

// hostile is an answer that always reads like a refusal.
var hostile = []byte(`{"jsonrpc":"2.0","id":1,"result":{"isError":true,"content":[{"type":"text","text":"invalid_auth"}]}}`)

// calling answers every call of a server with hostile text, from several clients
// at once, and counts how many were repeated.
func calling(ctx context.Context, r *run, s bridge.Child, clients int) (calls, repeats *atomic.Int64) {
	calls, repeats = new(atomic.Int64), new(atomic.Int64)
	for range clients {
		go func() {
			for ctx.Err() == nil {
				again := r.again(s, newHint([]string{"invalid_auth"}))
				time.Sleep(100 * time.Millisecond) // the server's own pace
				held, cancel := context.WithTimeout(ctx, 10*time.Second)
				if again(held, hostile).Repeat {
					repeats.Add(1)
				}
				cancel()
				calls.Add(1)
			}
		}()
	}
	return calls, repeats
}

// A hostile server gets nothing repeated while no renewal happens, whatever it
// writes, and does not make us ask more than now and then.
func TestHostileAnswersWithoutARenewal(t *testing.T) {
	t.Parallel()
	rotating(t, 24*time.Hour, func(int, task.TokenRequest) (token.Access, error) {
		return access("token-0", 24*time.Hour), nil
	}, func(r *run, c *control) {
		ctx, cancel := context.WithCancel(context.Background())
		calls, repeats := calling(ctx, r, newServer(nil, 1), 8)
		time.Sleep(10 * time.Minute)
		cancel()
		time.Sleep(time.Minute)
		asked := len(c.requests())
		if repeats.Load() != 0 || calls.Load() < 1000 {
			t.Errorf("%d repeats of %d calls", repeats.Load(), calls.Load())
		}
		// Once in 30 s, after the doubling pauses of the first half minute.
		if asked < 15 || asked > 26 {
			t.Errorf("asked %d times in ten minutes", asked)
		}
		for _, q := range c.requests() {
			if !q.Suspect || q.MinTTL != 0 {
				t.Errorf("hostile text asked for more than a check: %+v", q)
			}
		}
		t.Logf("%d calls, %d repeats, asked %d times in ten minutes", calls.Load(), repeats.Load(), asked)
	})
}

// Each renewal that really happens is worth one repeat of the calls that are
// under way then, and none of those that begin later.
func TestHostileAnswersWithRenewals(t *testing.T) {
	t.Parallel()
	const clients, renewals = 8, 5
	edition := 0
	rotating(t, 24*time.Hour, func(_ int, r task.TokenRequest) (token.Access, error) {
		return access(fmt.Sprint("token-", edition), 24*time.Hour), nil
	}, func(r *run, c *control) {
		ctx, cancel := context.WithCancel(context.Background())
		calls, repeats := calling(ctx, r, newServer(nil, 1), clients)
		for range renewals {
			time.Sleep(2 * time.Minute)
			c.mu.Lock()
			edition++
			c.mu.Unlock()
		}
		time.Sleep(2 * time.Minute)
		cancel()
		time.Sleep(time.Minute)
		if n := repeats.Load(); n < renewals || n > clients*renewals {
			t.Errorf("%d repeats of %d calls in %d renewals", n, calls.Load(), renewals)
		}
		t.Logf("%d calls, %d repeats in %d renewals, asked %d times", calls.Load(), repeats.Load(), renewals, len(c.requests()))
	})
}

// An answer is held no longer than its time, nor at all when there is no
// question to wait for; one that is the same token lets it go at once.
func TestHeldAnswersGoOut(t *testing.T) {
	t.Parallel()
	var slow atomic.Int64
	rotating(t, 24*time.Hour, func(int, task.TokenRequest) (token.Access, error) {
		time.Sleep(time.Duration(slow.Load()))
		return access("token-0", 24*time.Hour), nil
	}, func(r *run, c *control) {
		again := r.again(newServer(nil, 1), newHint([]string{"invalid_auth"}))
		took := func(answer []byte) time.Duration {
			begun := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if again(ctx, answer).Repeat {
				t.Error("repeated")
			}
			return time.Since(begun)
		}
		if d := took([]byte(`{"result":{"isError":true,"content":[]}}`)); d != 0 || len(c.requests()) != 0 {
			t.Errorf("an error without the hint was held for %s", d)
		}
		slow.Store(int64(2 * time.Second))
		if d := took(hostile); d != 2*time.Second {
			t.Errorf("held for %s", d)
		}
		slow.Store(int64(time.Minute))
		if d := took(hostile); d != 10*time.Second {
			t.Errorf("with mcprun silent it was held for %s", d)
		}
		time.Sleep(10 * time.Minute)
		slow.Store(0)
		for range 30 {
			took(hostile) // until the pauses are longer than a call may be held
		}
		if d := took(hostile); d != 0 {
			t.Errorf("with no question to come it was held for %s", d)
		}
		time.Sleep(10 * time.Minute)
		took(hostile)
		n := len(c.requests())
		ctx, leave := context.WithTimeout(context.Background(), firstPause/2)
		defer leave()
		held, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		context.AfterFunc(ctx, cancel) // its client goes before the question begins
		if again(held, hostile).Repeat {
			t.Error("repeated")
		}
		time.Sleep(10 * time.Minute)
		if len(c.requests()) != n {
			t.Error("asked although nobody waits")
		}
	})
}

// What a preset does not name is never held, and nothing is repeated where a
// renewal leaves the old token alive.
func TestWhoIsHeld(t *testing.T) {
	t.Parallel()
	r := &run{claim: task.Claim{Recipe: task.Recipe{Rotation: task.RotateFile, OldTokenDies: true}}}
	if r.bridgeConfig().Begin != nil {
		t.Error("held without a hint to look for")
	}
	rotating(t, 24*time.Hour, func(int, task.TokenRequest) (token.Access, error) {
		return access("token-1", 24*time.Hour), nil
	}, func(r *run, _ *control) {
		r.claim.Recipe.OldTokenDies = false
		again := r.again(newServer(nil, 1), newHint([]string{"invalid_auth"}))
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if v := again(ctx, hostile); v.Repeat || v.Note != "" {
			t.Errorf("%+v", v)
		}
	})
}

// Once mcprun has said that the grant is dead, and not before, the person is told
// where to connect again; and no more once it lives.
func TestReconnectLink(t *testing.T) {
	t.Parallel()
	var dead atomic.Bool
	rotating(t, 24*time.Hour, func(int, task.TokenRequest) (token.Access, error) {
		if dead.Load() {
			return token.Access{}, fmt.Errorf("ask: %w", task.ErrReconnect)
		}
		return access("token-0", 24*time.Hour), nil
	}, func(r *run, c *control) {
		again := r.again(newServer(nil, 1), newHint([]string{"invalid_auth"}))
		says := func(answer []byte) string {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			v := again(ctx, answer)
			if v.Repeat {
				t.Error("repeated")
			}
			return v.Note
		}
		const link = "Lanyard: the access to drive has ended. Connect it again at https://lanyard.test/mcp/connections/c1"
		if note := says(hostile); note != "" {
			t.Errorf("a living grant: %q", note)
		}
		dead.Store(true)
		time.Sleep(time.Minute)
		if note := says(hostile); note != link {
			t.Errorf("a dead grant: %q", note)
		}
		if note := says([]byte(`{"result":{"isError":true,"content":[]}}`)); note != "" {
			t.Errorf("an error of another kind: %q", note)
		}
		if d := r.ready().Detail; !strings.Contains(d, "reconnected") {
			t.Errorf("reported %q", d)
		}
		for range 40 { // also while no question may be asked
			if note := says(hostile); note != link {
				t.Fatalf("later: %q", note)
			}
		}
		dead.Store(false)
		time.Sleep(time.Hour)
		if note := says(hostile); note != "" {
			t.Errorf("connected again: %q", note)
		}
		t.Logf("asked %d times", len(c.requests()))
	})
}

// A call that may have changed something is not repeated when its token dies:
// its client gets the refusal, and the next call has the new token.
func TestWritesAreNotRepeated(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"restart", "file", "broker once"} {
		a := newAPI(t, time.Hour, 1)
		close(a.gate)
		u := apiTask(t, a, ways[name])
		a.renew()
		write := func() string {
			_, body := u.post(u.control.claim.Bearer.Reveal(), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write","arguments":{"text":"w"}}}`)
			return body
		}
		if got := write(); !strings.Contains(got, "invalid_auth") || strings.Contains(got, "onnect") || a.refusals() != 1 {
			t.Errorf("%s: refused %d times: %s", name, a.refusals(), got)
		}
		if got := write(); !strings.Contains(got, `"done"`) {
			t.Errorf("%s: the next one: %s", name, got)
		}
	}
}
