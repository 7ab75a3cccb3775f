package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/task"
)

// withToken is a call that wants to hear of its progress.
var withToken = strings.Replace(call, `"_meta":{`, `"_meta":{"progressToken":"p\u0031",`, 1)

// slowly is an answer, and when which part of it was written.
type slowly struct {
	*httptest.ResponseRecorder
	begun time.Time
	mu    sync.Mutex
	at    []time.Duration
}

func (s *slowly) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Since(s.begun))
	return s.ResponseRecorder.Write(p)
}

func (s *slowly) WriteString(text string) (int, error) { return s.Write([]byte(text)) }

// ask is a request in a bubble, where no network is: its server does not come up.
func (w *world) ask(ctx context.Context, c connection.Connection, body string, header ...string) *slowly {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/mcp/notes", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if strings.Contains(body, mcp.MetaVersion) {
		r.Header.Set(mcp.VersionHeader, mcp.Modern)
		r.Header.Set(mcp.MethodHeader, methodOf(body))
		r.Header.Set(mcp.NameHeader, "whoami")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := &slowly{ResponseRecorder: httptest.NewRecorder(), begun: time.Now()}
	w.service.Serve(rec, r, host.Visit{Connection: c, Holder: host.Holder{Tenant: c.Tenant, User: c.UserID, Client: "mct_1"},
		Say:  func(err error) (string, string) { return err.Error(), "code" },
		Deny: func(rw http.ResponseWriter, err error) { http.Error(rw, err.Error(), http.StatusMethodNotAllowed) }})
	return rec
}

// inBubble is a test in which time passes only where all wait. Its world is made
// outside, where the network is.
func inBubble(t *testing.T, test func(*testing.T, *world, *orders)) {
	w, o := newOrders(t, knownServer("notes", `{"tools":{}}`))
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		test(t, w, o)
	})
}

// events are the messages of a stream.
func events(t *testing.T, body string) (messages []string, comments int) {
	t.Helper()
	for part := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		switch data, ok := strings.CutPrefix(part, "event: message\ndata: "); {
		case ok && json.Valid([]byte(data)):
			messages = append(messages, data)
		case part == ": keep-alive":
			comments++
		default:
			t.Errorf("no event: %q", part)
		}
	}
	return messages, comments
}

// TestEarlyCall: a call whose server does not come up in time says that it is
// under way, and then what to do.
func TestEarlyCall(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world, _ *orders) {
		c := w.connect("ada", "notes")
		rec := w.ask(t.Context(), c, withToken)
		messages, _ := events(t, rec.Body.String())
		if took := time.Since(rec.begun); took < 44*time.Second || took > 46*time.Second {
			t.Errorf("it took %v", took)
		}
		if rec.at[0] != time.Second || len(messages) < 15 {
			t.Errorf("first said after %v, %d messages", rec.at[0], len(messages))
		}
		last := -2.0
		for _, m := range messages[:len(messages)-1] {
			var note struct {
				Method string
				Params struct {
					ProgressToken string
					Progress      float64
					Message       string
				}
			}
			if json.Unmarshal([]byte(m), &note) != nil || note.Method != "notifications/progress" || note.Params.ProgressToken != "p1" || note.Params.Message != "Starting The notes…" {
				t.Errorf("%s", m)
			}
			if note.Params.Progress <= last || note.Params.Progress >= 0 {
				t.Errorf("progress %v after %v", note.Params.Progress, last)
			}
			last = note.Params.Progress
		}
		want := `{"jsonrpc":"2.0","id":7,"result":{"content":[{"text":"The notes is still starting. Call again in a moment.","type":"text"}],"isError":true,"resultType":"complete"}}`
		if got := messages[len(messages)-1]; got != want {
			t.Errorf("%s", got)
		}

		rec = w.ask(t.Context(), c, call)
		if messages, comments := events(t, rec.Body.String()); len(messages) != 1 || messages[0] != want || comments != 2 || rec.at[0] != time.Second {
			t.Errorf("without a token: %v, %d comments, at %v", messages, comments, rec.at)
		}
		rec = w.ask(t.Context(), c, withToken, "Accept", "application/json")
		if rec.Body.String() != want || rec.Header().Get("Content-Type") != "application/json" {
			t.Errorf("JSON: %s", rec.Body)
		}
		rec = w.ask(t.Context(), c, ofModern(8, "completion/complete"), "Accept", "application/json")
		if !strings.Contains(rec.Body.String(), `"id":8,"error"`) || !strings.Contains(rec.Body.String(), host.ErrStarting.Error()) {
			t.Errorf("no call of a tool: %s", rec.Body)
		}
	})
}

// TestFailsWhileWaiting: that a server failed to start is said on the stream that
// has begun.
func TestFailsWhileWaiting(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world, o *orders) {
		c := w.connect("ada", "notes")
		go func() {
			s := <-o.started
			time.Sleep(20 * time.Second)
			_ = w.service.Report(t.Context(), s.Identity, task.Report{TaskID: s.TaskID, State: task.Failed, Detail: "its last words"})
		}()
		rec := w.ask(t.Context(), c, withToken)
		messages, _ := events(t, rec.Body.String())
		if got := messages[len(messages)-1]; !strings.Contains(got, `"id":7,"error"`) || !strings.Contains(got, "its last words") || time.Since(rec.begun) > 21*time.Second {
			t.Errorf("after %v: %s", time.Since(rec.begun), got)
		}
	})
}

// TestPlatformEndsTheRequest: the stream has an end before the platform cuts it,
// and a client that has left is told nothing.
func TestPlatformEndsTheRequest(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world, _ *orders) {
		c := w.connect("ada", "notes")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		rec := w.ask(ctx, c, withToken)
		messages, _ := events(t, rec.Body.String())
		if got := messages[len(messages)-1]; !strings.Contains(got, `"id":7,"error"`) || !strings.Contains(got, host.ErrTooLong.Error()) || time.Since(rec.begun) != 10*time.Second {
			t.Errorf("after %v: %s", time.Since(rec.begun), got)
		}
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, leave)
		rec = w.ask(ctx, c, call)
		if messages, _ := events(t, rec.Body.String()); len(messages) > 0 || time.Since(rec.begun) != 5*time.Second {
			t.Errorf("after %v: %v", time.Since(rec.begun), messages)
		}
	})
}

// TestCancelledWhileWaiting: a call that its client cancels before the server is
// up gets no answer, and is not made.
func TestCancelledWhileWaiting(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world, _ *orders) {
		c := w.connect("ada", "notes")
		id := w.ask(t.Context(), c, initialize).Header().Get(mcp.SessionHeader)
		other := w.ask(t.Context(), c, initialize).Header().Get(mcp.SessionHeader)
		cancel := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}`
		for _, step := range []struct {
			after   time.Duration
			session string
			id      string
		}{{time.Second, other, `"a"`}, {2 * time.Second, id, `"b"`}, {3 * time.Second, id, `"a"`}} {
			time.AfterFunc(step.after, func() {
				if rec := w.ask(t.Context(), c, fmt.Sprintf(cancel, step.id), mcp.SessionHeader, step.session); rec.Code != http.StatusAccepted {
					t.Errorf("%d %s", rec.Code, rec.Body)
				}
			})
		}
		rec := w.ask(t.Context(), c, `{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"whoami"}}`, mcp.SessionHeader, id, "Accept", "application/json")
		if rec.Code != http.StatusAccepted || rec.Body.Len() > 0 || time.Since(rec.begun) != 3*time.Second {
			t.Errorf("after %v: %d %s", time.Since(rec.begun), rec.Code, rec.Body)
		}
		time.Sleep(time.Second) // whoever cancelled returns
	})
}

// TestSubscribeInline: where a process serves one request at a time, who wants to
// hear of changes is told at once that there will be none.
func TestSubscribeInline(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t, knownServer("notes", `{"tools":{}}`))
	w.service.Inline = true
	_, body := w.post(w.mint(w.connect("ada", "notes")), strings.Replace(ofModern(5, "subscriptions/listen"), `"params":{`, `"params":{"notifications":{"toolsListChanged":true},`, 1))
	messages, _ := events(t, body)
	if len(messages) != 2 || messages[0] != `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":5},"notifications":{}}}` ||
		!strings.Contains(messages[1], `"id":5,"result":{"resultType":"complete"`) || len(o.started) > 0 {
		t.Errorf("%q, %d starts", messages, len(o.started))
	}
}

// TestAnswerOfALateServer: what the server says comes after what was said while
// it started, on the same stream, be it a stream or JSON.
func TestAnswerOfALateServer(t *testing.T) {
	t.Parallel()
	const answer = `{"jsonrpc":"2.0","id":7,"result":{"content":[],"resultType":"complete"}}`
	for kind, body := range map[string]string{
		"application/json":  strings.Replace(answer, "{", "{\n", 1),
		"text/event-stream": "event: message\ndata: " + `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p1","progress":0}}` + "\n\nevent: message\ndata: " + answer + "\n\n",
	} {
		w, o := newOrders(t, knownServer("notes", `{"tools":{}}`))
		m := w.mint(w.connect("ada", "notes"))
		p := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			rw.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(rw, body)
		})
		resp, err := w.send(t.Context(), http.MethodPost, m, withToken)
		if err != nil { // the stream has begun although no server is there
			t.Fatal(err)
		}
		p.play(w, o.next(t))
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		messages, _ := events(t, string(got))
		if err != nil || len(messages) < 2 || !strings.Contains(messages[0], "Starting The notes…") || strings.ReplaceAll(messages[len(messages)-1], "{ ", "{") != answer {
			t.Errorf("%s: %q, %v", kind, messages, err)
		}
	}
}

// TestListening: who listens hears one server after the other, starts none, and
// keeps none.
func TestListening(t *testing.T) {
	t.Parallel()
	w, o := newOrders(t, knownServer("notes", `{"tools":{"listChanged":true}}`), knownServer("mail", `{"tools":{}}`))
	w.service.OnlyForCalls = true
	c := w.connect("ada", "notes")
	m := w.mint(c)
	id := w.initialized(m)
	resp, err := w.send(t.Context(), http.MethodGet, m, "", mcp.SessionHeader, id)
	if err != nil || resp.StatusCode != http.StatusOK || len(o.started) > 0 {
		t.Fatalf("%v, %v, %d starts", resp, err, len(o.started))
	}
	defer resp.Body.Close()
	for _, word := range []string{"one", "two"} {
		event := "event: message\ndata: {\"method\":\"" + word + "\"}\n\n"
		p := newPuppet(t, func(rw http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.Header.Get(mcp.SessionHeader) == "" || r.Header.Get("Lanyard-Session") == "" {
				t.Errorf("%s %v", r.Method, r.Header)
			}
			rw.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(rw, event)
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		})
		s := w.begin(o, c)
		p.play(w, s)
		got := make([]byte, len(event))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != event {
			t.Fatalf("%q, %v", got, err)
		}
		w.clock.advance(time.Hour)
		w.service.Sweep(t.Context())
		if id := <-o.stopped; id != s.TaskID {
			t.Errorf("%s was stopped", id)
		}
		p.CloseClientConnections()
	}
	for name, header := range map[string][]string{
		"of the modern era": {mcp.VersionHeader, mcp.Modern}, "another session": {mcp.SessionHeader, "canary"}, "without a session": {mcp.SessionHeader, ""},
	} {
		resp, err := w.send(t.Context(), http.MethodGet, m, "", append([]string{mcp.SessionHeader, id}, header...)...)
		if err != nil || resp.StatusCode == http.StatusOK {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
		resp.Body.Close()
	}
	silent := w.mint(w.connect("ada", "mail"))
	resp, err = w.send(t.Context(), http.MethodGet, silent, "", mcp.SessionHeader, w.initialized(silent))
	if err != nil || resp.StatusCode == http.StatusOK {
		t.Errorf("of a server that says nothing by itself: %v, %v", resp, err)
	}
	resp.Body.Close()
}
