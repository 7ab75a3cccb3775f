package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// logged is a function's logger, whose lines a test can read.
type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logged) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.String(), "\n"), "\n")
}

func function(h http.HandlerFunc) (*Function, *logged) {
	l := &logged{}
	f := &Function{Logger: slog.New(slog.NewJSONHandler(l, nil))}
	if h != nil {
		f.HTTP = h
	}
	return f, l
}

func encode(t *testing.T, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func answer(t *testing.T, f *Function, ev *events.APIGatewayProxyRequest) events.APIGatewayProxyResponse {
	t.Helper()
	out, err := f.Handle(t.Context(), encode(t, ev))
	if err != nil {
		t.Fatal(err)
	}
	return out.(events.APIGatewayProxyResponse)
}

func TestBuffered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method  string
		handler http.HandlerFunc
		status  int
		body    string
		base64  bool
		header  string
	}{
		"nothing": {"GET", func(http.ResponseWriter, *http.Request) {}, 200, "", false, "map[]"},
		"text": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "99")
			w.WriteHeader(http.StatusCreated)
			w.WriteHeader(http.StatusTeapot) // too late
			w.Header().Set("X-Late", "1")
			_, _ = io.WriteString(w, `{"a":"ü"}`)
		}, 201, `{"a":"ü"}`, false, "map[Content-Type:[application/json]]"},
		"sniffed": {"GET", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<!doctype html><p>") },
			200, "<!doctype html><p>", false, "map[Content-Type:[text/html; charset=utf-8]]"},
		"cookies": {"POST", func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "1"})
			http.SetCookie(w, &http.Cookie{Name: "b", Value: "2"})
			http.Redirect(w, r, "/there", http.StatusSeeOther)
		}, 303, "", false, "map[Location:[/there] Set-Cookie:[a=1 b=2]]"},
		"binary": {"GET", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0xff, 0, 1}) },
			200, "/wAB", true, "map[Content-Type:[application/octet-stream]]"},
		"compressed": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "x")
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, "a")
		}, 200, "YQ==", true, "map[Content-Encoding:[x] Content-Type:[text/plain]]"},
		"head": {"HEAD", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
			200, "", false, "map[Content-Type:[text/plain; charset=utf-8]]"},
		"no content": {"DELETE", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusContinue)
			w.WriteHeader(http.StatusNoContent)
		}, 204, "", false, "map[]"},
		"flushed": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
			w.WriteHeader(http.StatusTeapot)
		}, 200, "", false, "map[]"},
	} {
		f, _ := function(c.handler)
		got := answer(t, f, event(c.method, "/x"))
		if got.StatusCode != c.status || got.Body != c.body || got.IsBase64Encoded != c.base64 || fmt.Sprint(got.MultiValueHeaders) != c.header || got.Headers != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestIdentity: who signed is known to the handler, by API Gateway's word alone.
func TestIdentity(t *testing.T) {
	t.Parallel()
	f, _ := function(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, UserARN(r.Context())) })
	const arn = "arn:aws:sts::123456789012:assumed-role/task/0123"
	got := answer(t, f, event("POST", "/tasks/v1/claim", func(ev *events.APIGatewayProxyRequest) { ev.RequestContext.Identity.UserArn = arn }))
	if got.Body != arn {
		t.Errorf("%q", got.Body)
	}
	if got := answer(t, f, event("POST", "/tasks/v1/claim")); got.Body != "" {
		t.Errorf("%q", got.Body)
	}
}

// TestPanic: one line says what happened, the client is told to try again, and
// the next request is served.
func TestPanic(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		f, log := function(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", "half=done")
			if r.URL.Path == "/panic" {
				panic("a reason\nof two lines")
			}
		})
		f.Stream = stream
		for _, path := range []string{"/panic", "/"} {
			out, err := f.Handle(t.Context(), encode(t, event("GET", path)))
			if err != nil {
				t.Fatal(err)
			}
			status, header, body := read(t, out)
			if path == "/panic" && (status != 500 || header.Get("Set-Cookie") != "" || !strings.Contains(body, `"hint"`)) || path == "/" && status != 200 {
				t.Errorf("%s, stream %v: %d %v %s", path, stream, status, header, body)
			}
		}
		if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "a reason") || !strings.Contains(lines[0], "function_test.go") {
			t.Errorf("logged %q", lines)
		}
	}
}

// read takes an answer apart, streamed or not.
func read(t *testing.T, out any) (int, http.Header, string) {
	t.Helper()
	switch out := out.(type) {
	case events.APIGatewayProxyResponse:
		body := out.Body
		if out.IsBase64Encoded {
			raw, err := base64.StdEncoding.DecodeString(body)
			if err != nil {
				t.Fatal(err)
			}
			body = string(raw)
		}
		return out.StatusCode, out.MultiValueHeaders, body
	case *events.APIGatewayProxyStreamingResponse:
		body, err := io.ReadAll(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		return out.StatusCode, out.MultiValueHeaders, string(body)
	}
	t.Fatalf("answered %T", out)
	return 0, nil, ""
}

// TestDispatch: each kind of event reaches its own, and what a function does
// not serve is an error that says so.
func TestDispatch(t *testing.T) {
	t.Parallel()
	whole, _ := function(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "http") })
	whole.Authorize = func(_ context.Context, r *http.Request, arn string) (events.APIGatewayCustomAuthorizerResponse, error) {
		if r.Header.Get("Authorization") == "" {
			return events.APIGatewayCustomAuthorizerResponse{}, ErrUnauthenticated
		}
		return events.APIGatewayCustomAuthorizerResponse{PrincipalID: r.URL.Path + " " + arn}, nil
	}
	whole.Direct = map[string]func(context.Context, json.RawMessage) (any, error){
		"sweep": func(_ context.Context, ev json.RawMessage) (any, error) { return "swept " + string(ev), nil },
		"boom":  func(context.Context, json.RawMessage) (any, error) { panic("boom") },
	}
	whole.Message = func(_ context.Context, body string) error {
		switch body {
		case "bad":
			return errors.New("not now")
		case "worse":
			panic("worse")
		}
		return nil
	}
	whole.Resource = func(context.Context, json.RawMessage) (any, error) { return "resource", nil }
	whole.Event = func(_ context.Context, ev events.EventBridgeEvent) error {
		return fmt.Errorf("told by %s: %s", ev.Source, ev.Detail)
	}
	none, _ := function(nil)
	const (
		proxy      = `{"httpMethod":"GET","path":"/x","requestContext":{}}`
		authorizer = `{"type":"REQUEST","methodArn":"arn:m","httpMethod":"POST","path":"/mcp/x","headers":{"authorization":"Bearer t"},"requestContext":{}}`
		stranger   = `{"type":"REQUEST","methodArn":"arn:m","httpMethod":"POST","path":"/mcp/x","headers":{},"requestContext":{}}`
		queue      = `{"Records":[{"eventSource":"aws:sqs","messageId":"1","body":"good"},{"eventSource":"aws:sqs","messageId":"2","body":"bad"},{"eventSource":"aws:sqs","messageId":"3","body":"worse"}]}`
		resource   = `{"RequestType":"Create","StackId":"arn:s","ResponseURL":"https://x.example"}`
	)
	for _, c := range []struct{ event, want, none string }{
		{proxy, `"body":"http"`, "a REST proxy event"},
		{authorizer, `"principalId":"/mcp/x arn:m"`, "a REQUEST authorizer's"},
		{stranger, "error: Unauthorized", "a REQUEST authorizer's"},
		{`{"lanyard":"sweep","at":1}`, `"swept {\"lanyard\":\"sweep\",\"at\":1}"`, `lanyard "sweep"`},
		{`{"lanyard":"else"}`, `error: this function does not serve such events: lanyard "else"; it serves "boom, sweep"`, `lanyard "else"`},
		{`{"lanyard":""}`, `lanyard ""`, `lanyard ""`},
		{`{"lanyard":"boom"}`, "error: the invocation panicked", `lanyard "boom"`},
		{queue, `{"batchItemFailures":[{"itemIdentifier":"2"},{"itemIdentifier":"3"}]}`, "a batch of SQS"},
		{resource, `"resource"`, "a CloudFormation custom resource"},
		{`{"version":"0","source":"aws.ecs","detail-type":"ECS Task State Change","detail":{"x":1}}`, `error: told by aws.ecs: {"x":1}`, "EventBridge's"},
		{`{"source":"aws.ecs","detail-type":"ECS Task State Change","resources":7}`, "it is malformed", "EventBridge's"},
		{`{"version":"2.0","routeKey":"$default","requestContext":{"http":{"method":"GET"}}}`, "a function URL's", "a function URL's"},
		{`{"Records":[{"eventSource":"aws:s3"}]}`, "it is none of", "it is none of"},
		{`{}`, "it is none of", "it is none of"},
		{`null`, "it is none of", "it is none of"},
		{`[]`, "not JSON of any kind", "not JSON of any kind"},
		{`{"Records":"canary"}`, "not JSON of any kind", "not JSON of any kind"},
		{`{"httpMethod":"GET","path":"/x","multiValueHeaders":7,"requestContext":{}}`, "it is malformed", "a REST proxy event"},
	} {
		for f, want := range map[*Function]string{whole: c.want, none: c.none} {
			out, err := f.Handle(t.Context(), json.RawMessage(c.event))
			got := "error: " + fmt.Sprint(err)
			if err == nil {
				got = string(encode(t, out))
			}
			if !strings.Contains(got, want) || strings.Contains(got, "canary") || f == none && err == nil {
				t.Errorf("%s\n%s", c.event, got)
			}
		}
	}
}

// TestBatch: the messages of a batch do not wait for each other, and the answer
// waits for all of them and for what they have begun.
func TestBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, _ := function(nil)
		done, settled := 0, -1
		var mu sync.Mutex
		f.Message = func(_ context.Context, body string) error {
			time.Sleep(time.Minute)
			mu.Lock()
			defer mu.Unlock()
			if done++; body == "bad" {
				return errors.New("not now")
			}
			return nil
		}
		f.Settle = func() { settled = done }
		var records []string
		for i := range 10 {
			body := "good"
			if i == 7 {
				body = "bad"
			}
			records = append(records, fmt.Sprintf(`{"eventSource":"aws:sqs","messageId":"%d","body":%q}`, i, body))
		}
		begun := time.Now()
		out, err := f.Handle(t.Context(), json.RawMessage(`{"Records":[`+strings.Join(records, ",")+`]}`))
		if err != nil || string(encode(t, out)) != `{"batchItemFailures":[{"itemIdentifier":"7"}]}` {
			t.Errorf("%s, %v", encode(t, out), err)
		}
		if took := time.Since(begun); took != time.Minute || settled != 10 {
			t.Errorf("it took %v, and was settled after %d messages", took, settled)
		}
	})
}

// TestDeadline: the request ends before the invocation must, and a handler that
// does not care is not waited for.
func TestDeadline(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"heeds it": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "begun ")
			<-r.Context().Done()
			_, _ = io.WriteString(w, "ended")
		},
		"does not": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "begun ")
			time.Sleep(time.Hour)
		},
		"says nothing": func(http.ResponseWriter, *http.Request) { time.Sleep(time.Hour) },
	} {
		synctest.Test(t, func(t *testing.T) {
			f, _ := function(handler)
			f.Stream = true
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
			defer cancel()
			out, err := f.Handle(ctx, encode(t, event("POST", "/mcp/x")))
			if err != nil {
				t.Fatal(err)
			}
			status, _, body := read(t, out)
			took := time.Since(start)
			want := map[string]string{"heeds it": "begun ended", "does not": "begun ", "says nothing": late}[name]
			if body != want || status != map[bool]int{true: 504, false: 200}[name == "says nothing"] {
				t.Errorf("%s: %d %q", name, status, body)
			}
			if took < 15*time.Minute-endBefore || took > 15*time.Minute-lastBefore {
				t.Errorf("%s: after %v", name, took)
			}
			time.Sleep(time.Hour) // the handler's own end
		})
	}
}
