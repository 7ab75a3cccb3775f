package front

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"github.com/lanyardhq/lanyard/e2e/stack/lambdas"
	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/gateway"
	"github.com/lanyardhq/lanyard/presets"
)

// noServers offers nothing.
type noServers struct{}

func (noServers) Server(string) (presets.Server, bool) { return presets.Server{}, false }
func (noServers) Servers() []presets.Server            { return nil }

// told is the challenge of the endpoint that the tests ask.
const told = `Bearer resource_metadata="https://edge.test/.well-known/oauth-protected-resource/mcp/notes"`

// inProcess is a function without the process: the adapter that is in each.
type inProcess struct{ *gateway.Function }

func (f inProcess) Invoke(_ context.Context, payload []byte) (*lambdas.Response, error) {
	out, err := f.Handle(context.Background(), payload)
	if err != nil {
		return nil, &lambdas.FunctionError{Payload: fmt.Appendf(nil, `{"errorMessage":%q}`, err)}
	}
	if stream, ok := out.(*events.APIGatewayProxyStreamingResponse); ok {
		return &lambdas.Response{ContentType: stream.ContentType(), Body: stream}, nil
	}
	raw, err := json.Marshal(out)
	return &lambdas.Response{ContentType: "application/json", Body: io.NopCloser(bytes.NewReader(raw))}, err
}

// serve is an edge before functions that all have the handler.
func serve(t *testing.T, h http.HandlerFunc) (edge, api *httptest.Server) {
	t.Helper()
	function := func(stream bool) Function {
		return inProcess{&gateway.Function{HTTP: h, Stream: stream, Logger: slog.New(slog.DiscardHandler),
			Authorize: func(_ context.Context, r *http.Request, arn string) (out events.APIGatewayCustomAuthorizerResponse, err error) {
				switch r.Header.Get("Authorization") {
				case "Bearer good":
					out.PrincipalID = "somebody"
					out.PolicyDocument.Statement = []events.IAMPolicyStatement{{Action: []string{"execute-api:Invoke"}, Effect: "Allow", Resource: []string{arn}}}
					return out, nil
				case "Bearer elsewhere":
					out.PrincipalID = "somebody"
					out.PolicyDocument.Statement = []events.IAMPolicyStatement{{Action: []string{"execute-api:Invoke"}, Effect: "Allow", Resource: []string{arn + "x"}}}
					return out, nil
				case "Bearer broken":
					return out, errors.New("the table does not answer")
				}
				return out, gateway.ErrUnauthenticated
			}}}
	}
	a := New(API{Stage: "live", OriginKey: "origin-key", Authorizer: function(false), Log: t.Output(),
		Functions: map[string]Function{"connect": function(false), "callback": function(false), "refresh": function(false), "mcprun": function(true)},
		Signer: func(r *http.Request) (string, error) {
			if r.Header.Get("Authorization") != "AWS4-HMAC-SHA256 good" {
				return "", errors.New("not signed")
			}
			return "arn:aws:sts::123456789012:assumed-role/task/0123", nil
		}})
	edge, api = httptest.NewServer(Edge{a, &authserver.Server{BaseURL: "https://edge.test", Catalogue: noServers{}}}), httptest.NewServer(a)
	t.Cleanup(edge.Close)
	t.Cleanup(api.Close)
	return edge, api
}

func send(t *testing.T, method, url string, header http.Header, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(data)
}

// TestThere: what a client sends is what the handler gets.
func TestThere(t *testing.T) {
	t.Parallel()
	edge, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		host, _, _ := strings.Cut(r.RemoteAddr, ":")
		fmt.Fprintf(w, "%s %s ? %s | %s | %s | %s | %s", r.Method, r.URL.EscapedPath(), r.URL.RawQuery, body, host, r.Header.Get("X-A"), r.Header.Get("Cookie"))
	})
	for _, c := range []struct{ method, path, query, body string }{
		{"GET", "/", "", ""},
		{"POST", "/static/a%2Fb%20c", "a=1&a=2&b=%26", "hello"},
		{"PUT", "/users/%C3%A4%3F", "q=%C3%A4+b", "ünï"},
		{"DELETE", "/api/v1/connections/con_1", "", ""},
		{"POST", "/api/v1/connections/con_1/tools/a%2Fb", "x=", "{}"},
		{"PATCH", "/api/v1/connections/c%25", "", "{}"},
	} {
		header := http.Header{"X-A": {"v"}, "Cookie": {"a=1; b=2"}, "Host": {"evil.example"}}
		resp, got := send(t, c.method, edge.URL+c.path+"?"+c.query, header, c.body)
		want := fmt.Sprintf("%s %s ? %s | %s | 127.0.0.1 | v | a=1; b=2", c.method, c.path, c.query, c.body)
		if resp.StatusCode != 200 || got != want {
			t.Errorf("%d %s\nwant %s", resp.StatusCode, got, want)
		}
	}
}

// TestBack: cookies stay apart, and a challenge of a function's own is renamed.
func TestBack(t *testing.T) {
	t.Parallel()
	edge, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "1"})
		http.SetCookie(w, &http.Cookie{Name: "b", Value: "2"})
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
	})
	for _, path := range []string{"/l/x", "/api/v1/connections/x/tools"} { // whole, streamed
		resp, _ := send(t, "GET", edge.URL+path, nil, "")
		if resp.StatusCode != 401 || len(resp.Cookies()) != 2 || resp.Header.Get("WWW-Authenticate") != "" || resp.Header.Get("X-Amzn-Remapped-Www-Authenticate") != "Bearer" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
	}
}

// TestWhoPasses: who reaches a handler, and as whom.
func TestWhoPasses(t *testing.T) {
	t.Parallel()
	edge, api := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "as "+gateway.UserARN(r.Context()))
	})
	origin := func(more http.Header) http.Header {
		h := more.Clone()
		if h == nil {
			h = http.Header{}
		}
		h.Set("X-Api-Key", "origin-key")
		return h
	}
	bearer := func(s string) http.Header { return http.Header{"Authorization": {s}} }
	for name, c := range map[string]struct {
		url       string
		header    http.Header
		status    int
		body      string
		challenge string
	}{
		"through the edge":              {edge.URL + "/l/x", nil, 200, "as ", ""},
		"past the edge":                 {api.URL + "/live/l/x", nil, 403, "not for use from outside", ""},
		"past the edge with a key":      {api.URL + "/live/l/x", origin(nil), 200, "as ", ""},
		"another stage":                 {api.URL + "/prod/l/x", origin(nil), 403, "Forbidden", ""},
		"no bearer":                     {edge.URL + "/mcp/notes", nil, 401, "invalid_token", told},
		"a wrong one":                   {edge.URL + "/mcp/notes", bearer("Bearer bad"), 401, "invalid_token", told + `, error="invalid_token"`},
		"a challenge of the client's":   {edge.URL + "/mcp/notes", http.Header{"X-Lanyard-Challenge": {"Basic"}}, 401, "invalid_token", told},
		"a good one":                    {edge.URL + "/mcp/notes", bearer("Bearer good"), 200, "as ", ""},
		"a good one, past the edge":     {api.URL + "/live/mcp/notes", bearer("Bearer good"), 403, "not for use from outside", ""},
		"for another server":            {edge.URL + "/mcp/notes", bearer("Bearer elsewhere"), 403, "refused", ""},
		"the authorizer broken":         {edge.URL + "/mcp/notes", bearer("Bearer broken"), 500, "unavailable", ""},
		"a task":                        {api.URL + "/live/tasks/v1/claim", bearer("AWS4-HMAC-SHA256 good"), 200, "as arn:aws:sts::123456789012:assumed-role/task/0123", ""},
		"a task through the edge":       {edge.URL + "/tasks/v1/claim", bearer("AWS4-HMAC-SHA256 good"), 200, "as arn:aws:sts::123456789012:assumed-role/task/0123", ""},
		"no task":                       {api.URL + "/live/tasks/v1/claim", origin(nil), 403, "refused", ""},
		"a task's route without a name": {api.URL + "/live/tasks/v1/else", origin(nil), 404, "not_found", ""},
	} {
		resp, body := send(t, "POST", c.url, c.header, "{}")
		if resp.StatusCode != c.status || !strings.Contains(body, c.body) || resp.Header.Get("WWW-Authenticate") != c.challenge {
			t.Errorf("%s: %d %s %q", name, resp.StatusCode, body, resp.Header.Get("WWW-Authenticate"))
		}
	}
}

// TestStreamed: chunks pass while the handler goes on, and an answer that
// breaks off is no whole one.
func TestStreamed(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	edge, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for s := range next {
			if s == "" {
				panic(http.ErrAbortHandler)
			}
			_, _ = io.WriteString(w, s)
		}
	})
	req, err := http.NewRequestWithContext(t.Context(), "POST", edge.URL+"/mcp/notes", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good")
	go func() { next <- "one\n" }()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	for _, want := range []string{"one\n", "two\n"} {
		if got, err := body.ReadString('\n'); got != want || err != nil {
			t.Fatalf("%q %v", got, err)
		}
		if want == "one\n" {
			next <- "two\n"
		}
	}
	next <- ""
	if rest, err := io.ReadAll(body); err == nil {
		t.Errorf("it looks whole: %q", rest)
	}
}
