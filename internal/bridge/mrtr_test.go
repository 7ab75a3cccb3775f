package bridge

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/task"
)

const allOffers = `{"sampling":{},"elicitation":{},"roots":{},"extensions":{"x":{}}}`

// asked is an answer that asks.
type asked struct {
	Result struct {
		ResultType    string
		InputRequests map[string]struct {
			Method string
			Params json.RawMessage
		}
		RequestState string
		Content      []struct{ Text string }
	}
	Error struct {
		Code    int
		Message string
	}
	code int
}

func (a asked) keys() []string {
	var keys []string
	for k, r := range a.Result.InputRequests {
		keys = append(keys, k+" "+r.Method)
	}
	slices.Sort(keys)
	return keys
}

// ask calls the tool that asks for these methods, as a client that offers all;
// more is further members of params.
func ask(t *testing.T, b *Bridge, client, methods, more string) asked {
	t.Helper()
	return askAs(t, b, client, allOffers, methods, more)
}

func askAs(t *testing.T, b *Bridge, client, offers, methods, more string) asked {
	t.Helper()
	w := httptest.NewRecorder()
	b.ServeHTTP(w, modernRequestOf(t.Context(), modernBody("7", "tools/call", offers, `"name":"ask","arguments":{"text":"`+methods+`"},`+more), task.ClientHeader, client))
	var a asked
	body := w.Body.Bytes()
	if _, data, ok := bytes.Cut(body, []byte("data: ")); ok {
		body = data
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&a); err != nil || !strings.Contains(w.Body.String(), `"id":7`) {
		t.Fatalf("%s: %v", w.Body, err)
	}
	a.code = w.Code
	return a
}

// again are the members of a retry.
func again(state, responses string) string {
	return fmt.Sprintf(`"requestState":%q,"inputResponses":%s,`, state, responses)
}

func (a asked) text() string {
	if len(a.Result.Content) != 1 {
		return fmt.Sprintf("%+v", a)
	}
	return a.Result.Content[0].Text
}

// What a legacy server asks while a call is under way reaches a modern client by
// the call's answer, and what it brings by the next call reaches the server.
func TestAskedByAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &played{legacy: true}
		b := New(Config{Start: server.start, PerClient: true})
		defer b.Close()
		const three = "elicitation/create sampling/createMessage roots/list"
		first := ask(t, b, "", three, "")
		want := []string{"input-1 elicitation/create", "input-2 sampling/createMessage", "input-3 roots/list"}
		if first.Result.ResultType != "input_required" || !slices.Equal(first.keys(), want) || first.Result.RequestState == "" {
			t.Fatalf("%+v", first)
		}
		if got := string(first.Result.InputRequests["input-2"].Params); got != `{"message":"m1"}` {
			t.Errorf("params %s", got)
		}
		// What is missing is asked for again; what nobody asked for is not looked at.
		second := ask(t, b, "", three, again(first.Result.RequestState, `{"input-1":{"action":"accept"},"input-3":7,"other":{}}`))
		if !slices.Equal(second.keys(), want[1:]) || second.Result.RequestState == first.Result.RequestState {
			t.Fatalf("%+v", second)
		}
		// A state is worth one retry.
		if replay := ask(t, b, "", three, again(first.Result.RequestState, `{}`)); replay.code != http.StatusBadRequest || replay.Error.Code != mcp.CodeParams {
			t.Errorf("replayed: %+v", replay)
		}
		last := ask(t, b, "", three, again(second.Result.RequestState, `{"input-2":{"role":"assistant"},"input-3":{"roots":[]}}`))
		if got := last.text(); got != `{"action":"accept"}; {"role":"assistant"}; {"roots":[]}` || last.Result.ResultType != "complete" {
			t.Errorf("%+v", last)
		}
		if server.starts != 2 { // one was asked for its era
			t.Errorf("%d processes", server.starts)
		}
	})
}

// The server is told what the client offers, and is refused the rest; other
// clients and other offers have other servers.
func TestAskedForWhatIsOffered(t *testing.T) {
	t.Parallel()
	server := &played{legacy: true}
	b := New(Config{Start: server.start, PerClient: true, Trusted: true})
	defer b.Close()
	const no = `{"code":-32601,"message":"the client does not offer sampling/createMessage"}`
	a := askAs(t, b, "alice", `{"roots":{},"tasks":{},"sampling":null}`, "sampling/createMessage", "")
	if got := a.text(); got != no {
		t.Errorf("%s", got)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, modernRequestOf(t.Context(), modernBody("1", "server/discover", `{"roots":{},"tasks":{}}`, ""), task.ClientHeader, "alice"))
	if !strings.Contains(w.Body.String(), `"instructions":"{'roots':{}}"`) {
		t.Errorf("the server was told %s", w.Body)
	}
	for range 2 {
		askAs(t, b, "alice", `{}`, "sampling/createMessage", "")
		askAs(t, b, "bob", `{}`, "sampling/createMessage", "")
	}
	if len(b.guests) != 3 || server.starts != 4 {
		t.Errorf("%d guests, %d processes", len(b.guests), server.starts)
	}
	for params, tc := range map[string][2]bool{ // by forms alone, by URLs alone
		`{}`: {true, false}, `{"mode":"form"}`: {true, false}, `{"mode":"url"}`: {false, true}, `[`: {false, false},
	} {
		form, url := offered{Elicitation: []byte(`{}`)}, offered{Elicitation: []byte(`{"url":{}}`)}
		if got := [2]bool{form.grants("elicitation/create", []byte(params)), url.grants("elicitation/create", []byte(params))}; got != tc {
			t.Errorf("%s: %v", params, got)
		}
	}
}

// A state is its client's, of its request, unchanged, for its time and by this
// bridge; whatever else it is, it resumes nothing.
func TestStateIsBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &played{legacy: true}
		b := New(Config{Start: server.start, PerClient: true, Trusted: true, SuspendFor: 10 * time.Minute})
		defer b.Close()
		other := New(Config{Start: (&played{legacy: true}).start, PerClient: true, Trusted: true})
		defer other.Close()
		state := ask(t, b, "alice", "roots/list", "").Result.RequestState
		raw, _ := base64.RawURLEncoding.DecodeString(state)
		flipped := func(i int) string {
			c := slices.Clone(raw)
			c[i] ^= 1
			return base64.RawURLEncoding.EncodeToString(c)
		}
		const answers = `{"input-1":{"roots":[]}}`
		for name, a := range map[string]asked{
			"another client":    ask(t, b, "bob", "roots/list", again(state, answers)),
			"other offers":      askAs(t, b, "alice", `{"roots":{}}`, "roots/list", again(state, answers)),
			"other arguments":   ask(t, b, "alice", "roots/list ", again(state, answers)),
			"another bridge":    ask(t, other, "alice", "roots/list", again(state, answers)),
			"tampered":          ask(t, b, "alice", "roots/list", again(flipped(len(raw)-1), answers)),
			"tampered nonce":    ask(t, b, "alice", "roots/list", again(flipped(0), answers)),
			"cut":               ask(t, b, "alice", "roots/list", again(state[:20], answers)),
			"no base64":         ask(t, b, "alice", "roots/list", again("!", answers)),
			"empty":             ask(t, b, "alice", "roots/list", again("", answers)),
			"no string":         ask(t, b, "alice", "roots/list", `"requestState":7,`),
			"answers no object": ask(t, b, "alice", "roots/list", again(state, `[]`)),
		} {
			if a.code != http.StatusBadRequest || a.Error.Code != mcp.CodeParams {
				t.Errorf("%s: %+v", name, a)
			}
		}
		// None of these has used it up.
		time.Sleep(10*time.Minute - time.Second)
		if got := ask(t, b, "alice", "roots/list", again(state, answers)).text(); got != `{"roots":[]}` {
			t.Errorf("%s", got)
		}
		// Answers without a state are of no call.
		if a := ask(t, b, "alice", "roots/list", `"inputResponses":`+answers+`,`); a.Result.ResultType != "input_required" {
			t.Errorf("%+v", a)
		}
	})
}

// A call whose client does not come back is cancelled at the server, which gets
// an answer to what it asked.
func TestSuspendedCallsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &played{legacy: true}
		b := New(Config{Start: server.start, PerClient: true, SuspendFor: time.Minute, MaxSuspended: 1})
		defer b.Close()
		first := ask(t, b, "", "roots/list", "")
		if got := ask(t, b, "", "roots/list", "").text(); !strings.Contains(got, "too many calls wait") {
			t.Errorf("one too many: %s", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(server.told("2 notifications/cancelled")); n != 1 {
			t.Errorf("told %d times: %q", n, server.heard)
		}
		if a := ask(t, b, "", "roots/list", again(first.Result.RequestState, `{"input-1":{}}`)); a.Error.Code != mcp.CodeParams {
			t.Errorf("too late: %+v", a)
		}
		p := b.guests["\x00"+strings.Replace(allOffers, `,"extensions":{"x":{}}`, "", 1)].backend.processes()[0]
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.pending) != 0 || len(p.asked) != 0 || len(b.waits.calls) != 0 {
			t.Errorf("left: %d calls, %d questions, %d waiting", len(p.pending), len(p.asked), len(b.waits.calls))
		}
	})
}

// What happens to the server while a call is suspended is told by the retry.
func TestServerEndsWhileSuspended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &played{legacy: true}
		b := New(Config{Start: server.start, PerClient: true, Drain: time.Minute})
		defer b.Close()
		// A swap lets it wait for as long as for any call.
		a := ask(t, b, "", "roots/list", "")
		if err := b.Swap(t.Context(), server.start, true); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, b, "", "roots/list", again(a.Result.RequestState, `{"input-1":{"old":1}}`)).text(); got != `{"old":1}` {
			t.Errorf("%s", got)
		}
		a = ask(t, b, "", "roots/list", "")
		if err := b.Swap(t.Context(), server.start, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if a := ask(t, b, "", "roots/list", again(a.Result.RequestState, `{"input-1":{}}`)); a.Error.Code != mcp.CodeInternal || !strings.Contains(a.Error.Message, "not known: check before you repeat it") {
			t.Errorf("%+v", a)
		}
	})
}

// A server that takes its question back, or that answers without waiting, gets
// its answer through.
func TestWithdrawnQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &played{legacy: true}
		b := New(Config{Start: server.start, PerClient: true})
		defer b.Close()
		a := ask(t, b, "", "roots/list sampling/createMessage", "")
		server.mu.Lock()
		tell, answers := server.tells[1], server.answers
		server.mu.Unlock()
		tell(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q2-1"}}`)
		synctest.Wait()
		answers[`"q2-1"`] <- heard{Error: []byte("withdrawn")}
		if got := ask(t, b, "", "roots/list sampling/createMessage", again(a.Result.RequestState, `{"input-1":{"a":1},"input-2":{"b":2}}`)).text(); got != `{"a":1}; withdrawn` {
			t.Errorf("%s", got)
		}
	})
}

// Idle clients lose their servers; many at once get their own answers.
func TestGuests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &played{legacy: true}
		b := New(Config{Start: server.start, PerClient: true, Trusted: true, MaxSessions: 8, IdleAfter: time.Minute, SuspendFor: time.Hour})
		defer b.Close()
		var wg sync.WaitGroup
		for i := range 8 {
			client := fmt.Sprint("c", i)
			wg.Go(func() {
				for n := range 3 {
					a := ask(t, b, client, "roots/list", "")
					time.Sleep(10 * time.Minute) // whoever thinks about an answer is not idle
					value := fmt.Sprintf(`{"of":"%s-%d"}`, client, n)
					if got := ask(t, b, client, "roots/list", again(a.Result.RequestState, `{"input-1":`+value+`}`)).text(); got != value {
						t.Errorf("%s: %s", client, got)
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(b.guests) != 0 || server.starts != 9 { // one was asked for its era
			t.Errorf("%d guests are left of %d processes", len(b.guests), server.starts)
		}
		for _, end := range server.ends {
			<-end
		}
	})
}

// A call that waits for its client keeps its place, until it has waited too long.
func TestSuspendedIsInUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &played{legacy: true}
		b := New(Config{Start: server.start, PerClient: true, Trusted: true, MaxSessions: 1, SuspendFor: time.Minute})
		defer b.Close()
		a := ask(t, b, "one", "roots/list", "")
		if got := ask(t, b, "two", "roots/list", ""); !strings.Contains(got.Error.Message, "too many sessions are in use") {
			t.Errorf("%+v", got)
		}
		if got := ask(t, b, "one", "roots/list", again(a.Result.RequestState, `{"input-1":{"a":1}}`)).text(); got != `{"a":1}` {
			t.Errorf("%s", got)
		}
		ask(t, b, "one", "roots/list", "")
		time.Sleep(2 * time.Minute)
		if got := ask(t, b, "two", "roots/list", ""); got.Result.RequestState == "" {
			t.Errorf("%+v", got)
		}
	})
}

// What a server asks is bounded, and is looked at before it is passed on.
func TestHostileQuestions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &played{legacy: true}
		b := New(Config{Start: server.start, PerClient: true})
		defer b.Close()
		many := strings.TrimSuffix(strings.Repeat("roots/list ", maxQuestions+1), " ")
		if a := ask(t, b, "", many, ""); len(a.Result.InputRequests) != maxQuestions {
			t.Errorf("%d questions", len(a.Result.InputRequests))
		}
		server.mu.Lock()
		tell := server.tells[1]
		server.mu.Unlock()
		waits := open(t, b, modernBody("1", "tools/call", allOffers, `"name":"wait","arguments":{},`))
		synctest.Wait()
		tell(`{"jsonrpc":"2.0","id":"big","method":"roots/list","params":{"x":"%s"}}`, strings.Repeat("x", maxQuestion))
		tell(`{"jsonrpc":"2.0","id":"bad","method":"roots/list","params":{"x":nope}}`)
		tell(`{"jsonrpc":"2.0","id":"odd","method":"tools/call","params":{}}`)
		tell(`{"jsonrpc":"2.0","id":"ping","method":"ping"}`)
		tell(`{"jsonrpc":"2.0","id":"none","method":"roots/list"}`)
		select {
		case got := <-waits.lines:
			if !strings.Contains(got, `"inputRequests":{"input-1":{"method":"roots/list"}}`) {
				t.Errorf("%s", got)
			}
		case <-time.After(time.Minute):
			t.Error("it is not asked")
		}
	})
}

// FuzzState: nothing but what was sealed opens, for anybody.
func FuzzState(f *testing.F) {
	s := newStates()
	now := time.Unix(1_800_000_000, 0)
	of := claims{Client: []byte("c"), Method: "tools/call", Digest: []byte("d")}
	good := of
	good.Call, good.Expires = "id", now.Unix()+1
	sealed := s.seal(good)
	f.Add(sealed, "c")
	f.Add(sealed[:len(sealed)-1], "c")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, state, client string) {
		want := of
		want.Client = []byte(client)
		call, err := s.open(state, want, now)
		raw, _ := base64.RawURLEncoding.DecodeString(state)
		first, _ := base64.RawURLEncoding.DecodeString(sealed)
		if (err == nil) != (slices.Equal(raw, first) && client == "c") || err == nil && call != "id" {
			t.Errorf("%q of %q: %q, %v", state, client, call, err)
		}
	})
}
