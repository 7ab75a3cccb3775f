package gateway

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
)

// event is a REST proxy event as API Gateway sends it.
func event(method, path string, change ...func(*events.APIGatewayProxyRequest)) *events.APIGatewayProxyRequest {
	ev := &events.APIGatewayProxyRequest{Resource: "/{proxy+}", Path: path, HTTPMethod: method, MultiValueHeaders: map[string][]string{},
		RequestContext: events.APIGatewayProxyRequestContext{Stage: "prod", Path: "/prod" + path, DomainName: "abc.execute-api.eu-west-1.amazonaws.com",
			Identity: events.APIGatewayRequestIdentity{SourceIP: "192.0.2.7"}}}
	for _, f := range change {
		f(ev)
	}
	return ev
}

// TestPath: what the client sent is what the handler gets, escapes and all.
func TestPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ sent, path, escaped string }{
		{"/", "/", "/"},
		{"/mcp/servers", "/mcp/servers", "/mcp/servers"},
		{"/mcp/a%2Fb", "/mcp/a/b", "/mcp/a%2Fb"},
		{"/mcp/a%2fb", "/mcp/a/b", "/mcp/a%2fb"},
		{"/users/%C3%A4%20b", "/users/ä b", "/users/%C3%A4%20b"},
		{"/users/a+b", "/users/a+b", "/users/a+b"},
		{"/users/100%25", "/users/100%", "/users/100%25"},
		{"/a%3Fb%23c", "/a?b#c", "/a%3Fb%23c"},
		{"/prod/x", "/prod/x", "/prod/x"}, // no stage is cut off
		{"//evil.example/x", "//evil.example/x", "//evil.example/x"},
		{"/a/../b", "/a/../b", "/a/../b"},
		// What was decoded on its way, or never escaped.
		{"/users/ä b", "/users/ä b", "/users/%C3%A4%20b"},
		{"/me?admin=true", "/me?admin=true", "/me%3Fadmin=true"},
		{"/a#b", "/a#b", "/a%23b"},
		{"/100%", "/100%", "/100%25"},
		{"/a%zz", "/a%zz", "/a%25zz"},
		{"/a\x00\r\nb", "/a\x00\r\nb", "/a%00%0D%0Ab"},
		{`/a\b"<>`, `/a\b"<>`, "/a%5Cb%22%3C%3E"},
	} {
		r, err := Request(t.Context(), event("GET", c.sent))
		if err != nil {
			t.Errorf("%q: %v", c.sent, err)
			continue
		}
		if r.URL.Path != c.path || r.URL.EscapedPath() != c.escaped || r.URL.RawQuery != "" || r.URL.Fragment != "" || r.URL.Host != "" {
			t.Errorf("%q: path %q escaped %q query %q", c.sent, r.URL.Path, r.URL.EscapedPath(), r.URL.RawQuery)
		}
	}
}

// TestPathValue: a slash that was sent escaped stays in its segment.
func TestPathValue(t *testing.T) {
	t.Parallel()
	var got string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}/x", func(_ http.ResponseWriter, r *http.Request) { got = r.PathValue("id") })
	for sent, want := range map[string]string{"/users/a%2Fb/x": "a/b", "/users/%C3%A4/x": "ä", "/users/a%3Fb/x": "a?b", "/users/a%252Fb/x": "a%2Fb"} {
		r, err := Request(t.Context(), event("GET", sent))
		if err != nil {
			t.Fatal(err)
		}
		if mux.ServeHTTP(&buffer{header: http.Header{}}, r); got != want {
			t.Errorf("%s: %q", sent, got)
		}
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	r, err := Request(t.Context(), event("GET", "/x", func(ev *events.APIGatewayProxyRequest) {
		ev.QueryStringParameters = map[string]string{"state": "b"} // the last of each, which counts for nothing
		ev.MultiValueQueryStringParameters = map[string][]string{"state": {"a", "b"}, "return url": {"https://a.example/?x=1&y=2#z"}, "flag": {""}, "ü": {"%2F+ ;"}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"state": {"a", "b"}, "return url": {"https://a.example/?x=1&y=2#z"}, "flag": {""}, "ü": {"%2F+ ;"}}
	if got, err := url.ParseQuery(r.URL.RawQuery); err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(r.URL.Query(), want) {
		t.Errorf("%v %v", got, err)
	}
	if !strings.HasPrefix(r.RequestURI, "/x?") {
		t.Errorf("RequestURI %q", r.RequestURI)
	}
	r, err = Request(t.Context(), event("GET", "/x", func(ev *events.APIGatewayProxyRequest) {
		ev.QueryStringParameters = map[string]string{"a": "1"}
	}))
	if err != nil || r.URL.RawQuery != "a=1" {
		t.Errorf("%v %v", r.URL, err)
	}
}

// TestHeaders: each value arrives, none names the host or the caller, and
// nothing passes that would end a header.
func TestHeaders(t *testing.T) {
	t.Parallel()
	r, err := Request(t.Context(), event("POST", "/x", func(ev *events.APIGatewayProxyRequest) {
		ev.Body = "ü"
		ev.MultiValueHeaders = map[string][]string{
			"host": {"evil.example"}, "cookie": {"a=1", "b=2"}, "X-Forwarded-For": {"203.0.113.9, 192.0.2.7"}, "AUTHORIZATION": {"Bearer x"},
			"Connection": {"close, authorization"}, "transfer-encoding": {"chunked"}, "content-length": {"9999"},
			"x-bad": {"a\r\nSet-Cookie: b"}, "bad name": {"x"}, "x:y": {"x"}, "": {"x"}, "x-amzn-user-arn": {"arn:aws:sts::1:assumed-role/a/b"},
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{"Cookie": {"a=1", "b=2"}, "X-Forwarded-For": {"203.0.113.9, 192.0.2.7"}, "Authorization": {"Bearer x"},
		"X-Amzn-User-Arn": {"arn:aws:sts::1:assumed-role/a/b"}, "Content-Length": {"2"}}
	if !reflect.DeepEqual(r.Header, want) {
		t.Errorf("%v", r.Header)
	}
	if r.Host != "abc.execute-api.eu-west-1.amazonaws.com" || r.RemoteAddr != "192.0.2.7:0" || r.ContentLength != 2 || r.URL.Host != "" {
		t.Errorf("host %q, remote %q, length %d", r.Host, r.RemoteAddr, r.ContentLength)
	}
	if arn := UserARN(r.Context()); arn != "" {
		t.Errorf("a header made the caller %q", arn)
	}
	if len(r.CookiesNamed("b")) != 1 {
		t.Errorf("cookies %v", r.Cookies())
	}
	one, err := Request(t.Context(), event("GET", "/x", func(ev *events.APIGatewayProxyRequest) {
		ev.MultiValueHeaders, ev.Headers = nil, map[string]string{"accept": "a"}
		ev.RequestContext.Identity.SourceIP = "2001:db8::1"
	}))
	if err != nil || one.Header.Get("Accept") != "a" || one.RemoteAddr != "[2001:db8::1]:0" {
		t.Errorf("%v %v", one, err)
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body   string
		base64 bool
		want   string
		err    bool
	}{
		{`{"a":"ü"}`, false, `{"a":"ü"}`, false},
		{"AAEC/w==", true, "\x00\x01\x02\xff", false},
		{"AAEC/w==", false, "AAEC/w==", false},
		{"", false, "", false},
		{"", true, "", false},
		{"not base64 canary", true, "", true},
	} {
		r, err := Request(t.Context(), event("POST", "/x", func(ev *events.APIGatewayProxyRequest) { ev.Body, ev.IsBase64Encoded = c.body, c.base64 }))
		if c.err {
			if err == nil || strings.Contains(err.Error(), "canary") {
				t.Errorf("%q: %v", c.body, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.body, err)
			continue
		}
		got, err := io.ReadAll(r.Body)
		if err != nil || string(got) != c.want || r.ContentLength != int64(len(c.want)) || r.Body == http.NoBody != (c.want == "") {
			t.Errorf("%q: %q %v, length %d", c.body, got, err, r.ContentLength)
		}
	}
}

func TestMalformedEvents(t *testing.T) {
	t.Parallel()
	for name, ev := range map[string]*events.APIGatewayProxyRequest{
		"no path": event("GET", ""), "relative": event("GET", "x"), "absolute": event("GET", "http://evil.example/"), "method": event("GE T", "/"),
	} {
		if _, err := Request(t.Context(), ev); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestSessionName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ arn, role, session string }{
		{"arn:aws:sts::123456789012:assumed-role/lanyard-task/0123abc", "lanyard-task", "0123abc"},
		{"arn:aws:iam::123456789012:role/lanyard-task", "", ""},
		{"arn:aws:iam::123456789012:user/lanyard-task/x", "", ""},
		{"arn:aws:sts::123456789012:federated-user/x/y", "", ""},
		{"arn:aws:sts::123456789012:assumed-role/lanyard-task", "", ""},
		{"arn:aws:sts::123456789012:assumed-role/lanyard-task/", "", ""},
		{"arn:aws:sts::123456789012:assumed-role/a/b/c", "", ""},
		{"", "", ""},
	} {
		role, session, ok := SessionName(c.arn)
		if role != c.role || session != c.session || ok != (c.session != "") {
			t.Errorf("%s: %s %s", c.arn, role, session)
		}
	}
}

// FuzzRequest: whatever the event says, what comes of it is a request that
// net/http could have made, or an error.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		`{"httpMethod":"GET","path":"/a%2Fb","multiValueHeaders":{"cookie":["a=1","b=2"]},"multiValueQueryStringParameters":{"a":["1","2"]},"requestContext":{}}`,
		`{"httpMethod":"POST","path":"/ä?#%","body":"AAE=","isBase64Encoded":true,"headers":{"Host":"x","a\nb":"c"},"requestContext":{"identity":{"sourceIp":"::1"}}}`,
		`{"httpMethod":"","path":"//x","queryStringParameters":{"":"\u0000"}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var ev events.APIGatewayProxyRequest
		if json.Unmarshal([]byte(raw), &ev) != nil {
			return
		}
		r, err := Request(t.Context(), &ev)
		if err != nil {
			return
		}
		if r.Host != ev.RequestContext.DomainName || r.Header.Get("Host") != "" || r.URL.Host != "" || r.URL.Scheme != "" {
			t.Fatalf("host %q %q %q", r.Host, r.Header.Get("Host"), r.URL.Host)
		}
		again, err := url.ParseRequestURI("http://h" + r.URL.EscapedPath() + "?" + r.URL.RawQuery)
		if err != nil || again.Path != r.URL.Path || again.RawQuery != r.URL.RawQuery {
			t.Fatalf("%q does not survive being written: %v", r.URL, err)
		}
		r.Host = "h" // the API's own name is not looked at
		if err := r.Write(io.Discard); err != nil {
			t.Fatalf("it cannot be sent: %v", err)
		}
	})
}
