package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// oracle is asked about first answers.
type oracle struct {
	begun, asked atomic.Int32
	// say is what it says; it may wait.
	say  func(ctx context.Context, answer []byte) bool
	note string
}

func (o *oracle) begin(Child) Again {
	o.begun.Add(1)
	return func(ctx context.Context, answer []byte) Verdict {
		o.asked.Add(1)
		return Verdict{Repeat: o.say(ctx, answer), Note: o.note}
	}
}

func always(context.Context, []byte) bool { return true }

// holding is an oracle that says yes when the test lets it.
func holding() (*oracle, chan struct{}) {
	let := make(chan struct{})
	return &oracle{say: func(ctx context.Context, _ []byte) bool {
		select {
		case <-let:
		case <-ctx.Done():
		}
		return true // also when it is too late
	}}, let
}

func held(o *oracle) func() bool { return func() bool { return o.asked.Load() > 0 } }

func (c *client) try(id, text string, fails int) string {
	c.t.Helper()
	return c.tool(id, "try", fmt.Sprintf(`{"text":%q,"n":%d}`, text, fails))
}

func (c *client) tries(text string) string {
	c.t.Helper()
	return textOf(c.t, c.tool(`"n"`, "tries", fmt.Sprintf(`{"text":%q}`, text)))
}

func TestAgain(t *testing.T) {
	t.Parallel()
	for _, perClient := range []bool{false, true} {
		o := &oracle{say: always}
		_, connect := serving(t, Config{Start: new(starts).start, PerClient: perClient, Begin: o.begin})
		c := connect()
		// The client gets the second answer, under its own id, whatever it is.
		if got, want := c.try(`"mine"`, "a", 1), `{"jsonrpc":"2.0","id":"mine","result":{"content":[{"type":"text","text":"1: try 2"}],"isError":false}}`; got != want {
			t.Errorf("%s", got)
		}
		if got := c.try("2", "b", 9); !strings.Contains(got, "try 2") || !strings.Contains(got, `"isError":true`) {
			t.Errorf("%s", got)
		}
		if got := c.tries("b"); got != "2" {
			t.Errorf("a call that fails for ever was tried %s times", got)
		}
		if got := c.try("3", "c", 0); !strings.Contains(got, "try 1") {
			t.Errorf("%s", got)
		}
		if asked := o.asked.Load(); asked != 2 {
			t.Errorf("asked about %d answers, two of which were errors", asked)
		}
	}
}

// The server may write what it likes: only what every client takes for an error
// is worth a question, and only for tools/call.
func TestAgainIsForErrorsOnly(t *testing.T) {
	t.Parallel()
	o := &oracle{say: always}
	_, connect := serving(t, Config{Start: new(starts).start, Begin: o.begin})
	c := connect()
	for rest, want := range map[string]string{
		`"error":{"code":-32603,"message":"invalid_auth"}`:                      "2",
		`"result":{"isError":true,"content":[]}`:                                "2",
		`"result":{"content":[{"type":"text","text":"\"isError\":true"}]}`:      "1",
		`"result":{"isError":false,"content":[],"isError2":true}`:               "1",
		`"result":{"isError":"true"}`:                                           "1",
		`"result":{"isError":true,"isError":false}`:                             "1",
		`"result":{"isError":false,"isError":true}`:                             "1",
		`"result":{"iserror":true,"isError":true}`:                              "1",
		`"result":{"is\u0045rror":true,"isError":true}`:                         "1",
		`"result":{"structuredContent":{"isError":true},"content":[]}`:          "1",
		`"result":[{"isError":true}]`:                                           "1",
		`"result":{"content":[]},"error":{"code":1,"message":"x"}`:              "1",
		`"result":{"isError":true,"content":[]},"error":{"code":1,"message":1}`: "1",
	} {
		text := strings.ReplaceAll(strings.ReplaceAll(rest, `\`, `\\`), `"`, `\"`)
		c.tool("1", "raw", `{"text":"`+text+`"}`)
		if got := textOf(t, c.tool("2", "tries", `{"text":"`+text+`"}`)); got != want {
			t.Errorf("%s: tried %s times, want %s", rest, got, want)
		}
	}
	begun := o.begun.Load()
	_, body := c.post(t.Context(), `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"name":"try"}}`)
	if o.begun.Load() != begun || !strings.Contains(body, "echo") {
		t.Errorf("another method was watched: %s", body)
	}
}

// The answer waits only so long.
func TestHoldIsBounded(t *testing.T) {
	t.Parallel()
	o, _ := holding()
	_, connect := serving(t, Config{Start: new(starts).start, Begin: o.begin, Hold: 20 * time.Millisecond})
	c := connect()
	if got := c.try("1", "a", 9); !strings.Contains(got, "1: try 1") {
		t.Errorf("%s", got)
	}
	if got := c.tries("a"); got != "1" {
		t.Errorf("tried %s times", got)
	}
}

// Neither does it wait longer for a new server that does not start; the call has
// not been sent to anybody then.
func TestHoldIsBoundedByASwap(t *testing.T) {
	t.Parallel()
	o, let := holding()
	b, connect := serving(t, Config{Start: new(starts).start, Begin: o.begin, Hold: 300 * time.Millisecond})
	c := connect()
	p := b.shared.processes()[0]
	inFlight := func() *call { return p.find(func(*call) bool { return true }) }
	done := make(chan string, 1)
	go func() { done <- c.tool("1", "wait", `{"text":"slow"}`) }()
	eventually(t, "the call is in flight", func() bool { return inFlight() != nil })
	starting, gate := make(chan struct{}), make(chan struct{})
	var swap sync.WaitGroup
	swap.Go(func() {
		_ = b.Swap(context.Background(), func(context.Context) (Child, error) {
			close(starting)
			<-gate
			return nil, errors.New("broken")
		}, true)
	})
	<-starting
	inFlight().fail(p)
	close(let)
	if got := receive(t, done); !strings.Contains(got, "invalid_auth") {
		t.Errorf("%s", got)
	}
	close(gate)
	swap.Wait()
	if got := textOf(t, c.tool("2", "waiting", "")); got != "1" {
		t.Errorf("the server was called %s times", got)
	}
}

// fail answers the call in the server's place.
func (c *call) fail(p *process) {
	p.handle(fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"result":{"isError":true,"content":[{"type":"text","text":"invalid_auth"}]}}`, c.number))
}

// While its answer is held a call can be cancelled, its client can go, and its
// session can end: then nothing is sent again.
func TestGivenUpWhileHeld(t *testing.T) {
	t.Parallel()
	for name, giveUp := range map[string]func(c *client, leave func()){
		"cancelled": func(c *client, _ func()) {
			for range 2 {
				c.post(c.t.Context(), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x"}}`)
			}
		},
		"the client is gone": func(_ *client, leave func()) { leave() },
		"the session is over": func(c *client, _ func()) {
			resp, err := c.request(c.t.Context(), http.MethodDelete, "")
			if err != nil {
				c.t.Fatal(err)
			}
			resp.Body.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, let := holding()
			b, connect := serving(t, Config{Start: new(starts).start, Begin: o.begin})
			c, other := connect(), connect()
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			type result struct {
				status int
				body   string
			}
			done := make(chan result, 1)
			go func() {
				resp, err := c.request(ctx, http.MethodPost, toolCall(`"x"`, "try", `{"text":"a","n":9}`))
				if err != nil {
					done <- result{body: err.Error()}
					return
				}
				defer resp.Body.Close()
				var body strings.Builder
				_ = resp.Write(&body)
				done <- result{resp.StatusCode, body.String()}
			}()
			eventually(t, "the answer is held", held(o))
			// Somebody else's request with the same id is another one.
			other.post(t.Context(), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x"}}`)
			select {
			case r := <-done:
				t.Fatalf("another session's cancellation ended it: %+v", r)
			default:
			}
			session := b.sessions[c.session]
			giveUp(c, leave)
			var r result
			select {
			case r = <-done:
			case <-time.After(30 * time.Second):
				t.Fatal("it goes on")
			}
			if name == "cancelled" && r.status != http.StatusAccepted || strings.Contains(r.body, "try") {
				t.Errorf("%+v", r)
			}
			eventually(t, "nobody handles it", func() bool { return session.busy.Load() == 0 })
			close(let)
			if got := other.tries("a"); got != "1" {
				t.Errorf("tried %s times", got)
			}
		})
	}
}

// A second try that is sent just when its client goes is taken back.
func TestHoldLeavesNoCallBehind(t *testing.T) {
	t.Parallel()
	b, connect := serving(t, Config{Start: new(starts).start})
	c := connect()
	p := b.shared.processes()[0]
	ctx, leave := context.WithCancel(t.Context())
	sent := make(chan struct{})
	hold(ctx, time.Minute, func(context.Context) outcome {
		defer close(sent)
		c := &call{done: make(chan answer, 1)}
		if err := p.add(c); err != nil {
			t.Error(err)
		}
		leave()
		return outcome{next: c}
	})
	<-sent
	eventually(t, "it is taken back", func() bool { return p.find(func(*call) bool { return true }) == nil })
	eventually(t, "the server is told", func() bool {
		return strings.Contains(textOf(t, c.tool("2", "told", "")), "cancelled")
	})
}

// A second try can be cancelled like any call.
func TestSecondTryIsCancelled(t *testing.T) {
	t.Parallel()
	o, let := holding()
	var s starts
	b, connect := serving(t, Config{Start: s.start, Begin: o.begin})
	c := connect()
	p := b.shared.processes()[0]
	pending := func() *call { return p.find(func(c *call) bool { return string(c.id) == `"x"` }) }
	done := make(chan int, 1)
	go func() {
		resp, _ := c.post(t.Context(), toolCall(`"x"`, "wait", `{"text":"second"}`))
		done <- resp.StatusCode
	}()
	eventually(t, "it is in flight", func() bool { return pending() != nil })
	first := pending()
	first.fail(p)
	close(let)
	eventually(t, "it is in flight again", func() bool { return pending() != nil && pending() != first })
	c.post(t.Context(), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x"}}`)
	if status := <-done; status != http.StatusAccepted {
		t.Errorf("status %d", status)
	}
	eventually(t, "the server is told", func() bool {
		return strings.Contains(textOf(t, c.tool("2", "told", "")), "cancelled second")
	})
}

// At a swap the old server goes although an answer of its is held, and the
// second try is the new one's.
func TestAgainAcrossASwap(t *testing.T) {
	t.Parallel()
	for _, perClient := range []bool{false, true} {
		o, let := holding()
		var s starts
		b, connect := serving(t, Config{Start: s.start, PerClient: perClient, Begin: o.begin})
		c := connect()
		old := s.newest()
		done := make(chan string, 1)
		go func() { done <- c.try("1", "a", 1) }()
		eventually(t, "the answer is held", held(o))
		if err := b.Swap(t.Context(), s.start, true); err != nil {
			t.Fatal(err)
		}
		<-old.done // long before a drain would end
		close(let)
		// The new server has not been called with it: it fails the first time.
		if got := receive(t, done); !strings.Contains(got, `"2: try 1"`) {
			t.Errorf("%s", got)
		}
	}
}

// What came before an answer may come twice; its token stays the client's.
func TestAgainWithProgress(t *testing.T) {
	t.Parallel()
	o := &oracle{say: always}
	_, connect := serving(t, Config{Start: new(starts).start, Begin: o.begin, StreamAfter: time.Millisecond, KeepAlive: time.Millisecond})
	_, body := connect().post(t.Context(), `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"try","arguments":{"text":"a","n":1},"_meta":{"progressToken":"tok"}}}`)
	if strings.Count(body, `"progressToken":"tok"`) != 2 || strings.Count(body, `"id":7`) != 1 || !strings.Contains(body, `"1: try 2"`) {
		t.Errorf("%s", body)
	}
}

// The bridge closes while answers are held.
func TestCloseWhileHeld(t *testing.T) {
	t.Parallel()
	o, _ := holding()
	b, connect := serving(t, Config{Start: new(starts).start, Begin: o.begin})
	c := connect()
	done := make(chan string, 1)
	go func() { done <- c.try("1", "a", 9) }()
	eventually(t, "the answer is held", held(o))
	b.Close()
	if got := receive(t, done); !strings.Contains(got, "the session was ended") {
		t.Errorf("%s", got)
	}
}

// Cancellations that meet the answer and the second try at every moment leave
// no call behind and no client waiting.
func TestCancelRaces(t *testing.T) {
	t.Parallel()
	o := &oracle{say: always}
	b, connect := serving(t, Config{Start: new(starts).start, Begin: o.begin})
	c := connect()
	var wg sync.WaitGroup
	for i := range 200 {
		id := fmt.Sprint(i + 10)
		wg.Go(func() { c.try(id, "t"+id, 1) })
		wg.Go(func() {
			c.post(t.Context(), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`+id+`}}`)
		})
	}
	wg.Wait()
	p := b.shared.processes()[0]
	eventually(t, "nothing is in flight", func() bool { return p.find(func(*call) bool { return true }) == nil })
	if n := len(b.sessions[c.session].trials); n != 0 {
		t.Errorf("%d trials are left", n)
	}
}

// Only what a tool declares to do no harm is done twice; the client then gets
// the first answer, with the note.
func TestAgainIsForRepeatableTools(t *testing.T) {
	t.Parallel()
	o := &oracle{say: always, note: "Connect \"it\" again."}
	_, connect := serving(t, Config{Start: new(starts).start, Begin: o.begin})
	c := connect()
	for _, name := range []string{"writes", "unlisted"} {
		body := c.tool("1", name, `{"text":"a","n":9}`)
		if want := `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"1: try 1"},{"text":"Connect \"it\" again.","type":"text"}],"isError":true}}`; body != want {
			t.Errorf("%s: %s", name, body)
		}
		c.tool("2", "forget", "")
	}
	for rest, want := range map[string]string{
		`"error":{"code":-32603,"message":"no"}`:             `"error":{"code":-32603,"message":"no\nConnect \"it\" again."}`,
		`"result":{"isError":true,"content":[]}`:             `"result":{"isError":true,"content":[{"text":"Connect \"it\" again.","type":"text"}]}`,
		`"result":{"isError":true}`:                          `"result":{"isError":true}`,
		`"result":{"isError":true,"content":"x"}`:            `"result":{"isError":true,"content":"x"}`,
		`"error":{"code":-32603,"data":{"message":"inner"}}`: `"error":{"code":-32603,"data":{"message":"inner"}}`,
	} {
		if got, want := c.tool("1", "raw once", `{"text":`+strconv.Quote(rest)+`}`), `{"jsonrpc":"2.0","id":1,`+want+`}`; got != want {
			t.Errorf("%s: %s", rest, got)
		}
	}
}
