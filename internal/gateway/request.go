package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-lambda-go/events"
)

// errEvent: what came is no request that API Gateway would have passed on.
var errEvent = errors.New("the proxy event cannot be made a request")

// identityKey is the context's key for who signed the request.
type identityKey struct{}

// UserARN is the IAM identity that API Gateway has verified for the request:
// of a route with AWS_IAM authorisation. It is empty on every other route, and
// no header can set it.
func UserARN(ctx context.Context) string {
	arn, _ := ctx.Value(identityKey{}).(string)
	return arn
}

// SessionName returns the role and the session of an assumed role,
// arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION. For a task's role the session
// is the ECS task's id.
func SessionName(arn string) (role, session string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "sts" {
		return "", "", false
	}
	names := strings.Split(parts[5], "/")
	if len(names) != 3 || names[0] != "assumed-role" || names[1] == "" || names[2] == "" {
		return "", "", false
	}
	return names[1], names[2], true
}

// Request makes a REST proxy event the request that the client sent. Its Host
// is the API's own name, whatever the client's header says; its RemoteAddr is
// whom API Gateway saw.
func Request(ctx context.Context, ev *events.APIGatewayProxyRequest) (*http.Request, error) {
	body, err := body(ev)
	if err != nil {
		return nil, err
	}
	target, err := target(ev)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, identityKey{}, ev.RequestContext.Identity.UserArn)
	r, err := http.NewRequestWithContext(ctx, ev.HTTPMethod, "/", strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: the method is malformed", errEvent)
	}
	r.URL = target
	r.RequestURI = target.RequestURI()
	r.Header = header(ev)
	r.Host = ev.RequestContext.DomainName
	r.ContentLength = int64(len(body))
	if body == "" {
		r.Body = http.NoBody
	} else {
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	r.RemoteAddr = net.JoinHostPort(ev.RequestContext.Identity.SourceIP, "0")
	return r, nil
}

func body(ev *events.APIGatewayProxyRequest) (string, error) {
	if !ev.IsBase64Encoded {
		return ev.Body, nil
	}
	raw, err := base64.StdEncoding.DecodeString(ev.Body)
	if err != nil {
		return "", fmt.Errorf("%w: the body is not the base64 that it is said to be", errEvent)
	}
	return string(raw), nil
}

// target is the address. REST APIs pass the path on as it was sent, still
// escaped, but the query decoded.
func target(ev *events.APIGatewayProxyRequest) (*url.URL, error) {
	if !strings.HasPrefix(ev.Path, "/") {
		return nil, fmt.Errorf("%w: the path does not begin with a slash", errEvent)
	}
	raw := escapeStray(ev.Path)
	path, err := url.PathUnescape(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: the path is malformed", errEvent)
	}
	query := url.Values(ev.MultiValueQueryStringParameters)
	if query == nil {
		query = url.Values{}
		for k, v := range ev.QueryStringParameters {
			query.Set(k, v)
		}
	}
	return &url.URL{Path: path, RawPath: raw, RawQuery: query.Encode()}, nil
}

// escapeStray escapes what cannot stand in an escaped path, and nothing else: a
// path that was sent escaped stays what it is, byte for byte, and one that was
// decoded on its way (HTTP APIs do that) cannot become a query.
func escapeStray(path string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]), 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z',
			'0' <= c && c <= '9', strings.IndexByte("-._~!$&'()*+,;=:@/[]", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// hop are headers that belong to the connection with API Gateway; Host is not
// trusted.
var hop = []string{"Host", "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Connection", "Content-Length"}

func header(ev *events.APIGatewayProxyRequest) http.Header {
	h := http.Header{}
	for name, values := range ev.MultiValueHeaders {
		for _, v := range values {
			add(h, name, v)
		}
	}
	if ev.MultiValueHeaders == nil {
		for name, v := range ev.Headers {
			add(h, name, v)
		}
	}
	for _, name := range hop {
		h.Del(name)
	}
	return h
}

// add leaves out what no HTTP server would have let through.
func add(h http.Header, name, value string) {
	if !isToken(name) || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		return
	}
	h.Add(name, value)
}

// isToken is RFC 9110 §5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", c)
	})
}
