package front

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/lanyardhq/lanyard/e2e/stack/lambdas"
)

// maxRequest is what API Gateway takes, in bytes.
const maxRequest = 10 << 20

// APIID is the API's id.
const APIID = "a1b2c3d4e5"

// event makes a request a REST proxy event: the path as it was sent, the query
// decoded. Without binary media types every body is text.
func event(r *http.Request, path string, n *node, params map[string]string, stage, userARN string) (*events.APIGatewayProxyRequest, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxRequest {
		return nil, errTooLarge
	}
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return nil, err
	}
	headers := r.Header.Clone()
	headers.Set("Host", r.Host)
	ev := &events.APIGatewayProxyRequest{
		Resource: n.path, Path: path, HTTPMethod: r.Method, MultiValueHeaders: headers, Headers: last(headers),
		Body: string(bytes.ToValidUTF8(body, []byte("\uFFFD"))),
		RequestContext: events.APIGatewayProxyRequestContext{
			AccountID: lambdas.Account, APIID: APIID, Stage: stage, DomainName: APIID + ".execute-api." + lambdas.Region + ".amazonaws.com",
			DomainPrefix: APIID, RequestID: requestID(), Protocol: r.Proto, ResourcePath: n.path, Path: "/" + stage + path, HTTPMethod: r.Method,
			RequestTimeEpoch: time.Now().UnixMilli(),
			Identity:         events.APIGatewayRequestIdentity{SourceIP: ip, UserAgent: r.UserAgent(), UserArn: userARN},
		},
	}
	if len(params) > 0 {
		ev.PathParameters = params
	}
	if query := r.URL.Query(); len(query) > 0 {
		ev.MultiValueQueryStringParameters, ev.QueryStringParameters = query, last(query)
	}
	return ev, nil
}

// last is the last value of each name.
func last(all map[string][]string) map[string]string {
	out := map[string]string{}
	for name, values := range all {
		out[name] = values[len(values)-1]
	}
	return out
}

func requestID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// methodARN is what an authorizer is asked about.
func methodARN(stage, method, path string) string {
	return "arn:aws:execute-api:" + lambdas.Region + ":" + lambdas.Account + ":" + APIID + "/" + stage + "/" + method + "/" + strings.TrimPrefix(path, "/")
}
