package front

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/lanyardhq/lanyard/e2e/stack/lambdas"
	"github.com/lanyardhq/lanyard/internal/web"
)

// Headers between the edge and the API.
const (
	challengeHeader = "X-Lanyard-Challenge"
	viewerHeader    = "X-Lanyard-Viewer"
	originHeader    = "X-Api-Key"
)

// integrationTimeout is how long API Gateway waits for a whole answer.
const integrationTimeout = 29 * time.Second

var errTooLarge = errors.New("the request is too large")

// Function is a function behind the API.
type Function interface {
	Invoke(ctx context.Context, payload []byte) (*lambdas.Response, error)
}

// API is the REST API at its own address, …/stage/…: what a task calls, and
// what CloudFront calls.
type API struct {
	// Routes are what it knows; nil: those of [web.Routes].
	Routes []web.Route
	Stage  string
	// OriginKey is the API key that routes want which nobody signs for.
	OriginKey  string
	Functions  map[string]Function
	Authorizer Function
	// Signer returns the ARN of whoever signed the request, or why its signature
	// does not count.
	Signer func(r *http.Request) (arn string, err error)
	// Log takes what failed on the way.
	Log io.Writer

	root *node
}

// New makes an API of its fields.
func New(a API) *API {
	if a.Routes == nil {
		a.Routes = web.Routes()
	}
	a.root = tree(a.Routes)
	return &a
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, ok := strings.CutPrefix(r.URL.EscapedPath(), "/"+a.Stage)
	if !ok || p != "" && p[0] != '/' {
		respond(w, http.StatusForbidden, map[string]string{"message": "Forbidden"}) // no such stage
		return
	}
	if p == "" {
		p = "/"
	}
	n, params := a.root.find(p)
	route, ok := n.route(r.Method)
	if !ok {
		gatewayResponse(w, r, missingAuthenticationToken)
		return
	}
	arn := ""
	if route.Auth == web.AuthIAM {
		var err error
		if arn, err = a.Signer(r); err != nil {
			fmt.Fprintf(a.Log, "api | %s %s: %v\n", r.Method, n.path, err)
			gatewayResponse(w, r, accessDenied)
			return
		}
	}
	ev, err := event(r, p, n, params, a.Stage, arn)
	switch {
	case errors.Is(err, errTooLarge):
		gatewayResponse(w, r, requestTooLarge)
		return
	case err != nil:
		return // the client has gone
	}
	if route.Auth == web.AuthBearer {
		if refusal := a.authorize(r, ev); refusal != nil {
			gatewayResponse(w, r, *refusal)
			return
		}
	}
	if route.Auth != web.AuthIAM && r.Header.Get(originHeader) != a.OriginKey {
		gatewayResponse(w, r, invalidAPIKey)
		return
	}
	a.integrate(w, r, route.Function, ev)
}

// authorize asks the REQUEST authorizer; nil lets the request pass.
func (a *API) authorize(r *http.Request, ev *events.APIGatewayProxyRequest) *gatewayKind {
	if r.Header.Get("Authorization") == "" { // the identity source
		return &unauthorized
	}
	arn := methodARN(a.Stage, r.Method, ev.Path)
	payload, err := json.Marshal(struct {
		Type      string `json:"type"`
		MethodARN string `json:"methodArn"`
		*events.APIGatewayProxyRequest
		Body string `json:"body,omitempty"` // an authorizer does not see it
	}{Type: "REQUEST", MethodARN: arn, APIGatewayProxyRequest: ev})
	if err != nil {
		return &authorizerFailure
	}
	resp, err := a.Authorizer.Invoke(r.Context(), payload)
	var out []byte
	if err == nil {
		out, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	var failed *lambdas.FunctionError
	if errors.As(err, &failed) {
		var e struct {
			ErrorMessage string `json:"errorMessage"`
		}
		if json.Unmarshal(failed.Payload, &e) == nil && e.ErrorMessage == "Unauthorized" {
			return &unauthorized
		}
	}
	var policy events.APIGatewayCustomAuthorizerResponse
	if err != nil || json.Unmarshal(out, &policy) != nil || policy.PrincipalID == "" {
		fmt.Fprintf(a.Log, "api | the authorizer failed: %v\n", err)
		return &authorizerFailure
	}
	if !allows(policy, arn) {
		return &accessDenied
	}
	return nil
}

// allows reports whether the policy allows the method: nothing is allowed that
// is not named, and a Deny wins.
func allows(p events.APIGatewayCustomAuthorizerResponse, arn string) bool {
	allowed := false
	for _, s := range p.PolicyDocument.Statement {
		for _, resource := range s.Resource {
			// "*" of a policy crosses slashes, which path.Match's does not.
			flat := strings.NewReplacer("/", "\x00")
			if ok, err := path.Match(flat.Replace(resource), flat.Replace(arn)); err == nil && ok {
				if s.Effect != "Allow" {
					return false
				}
				allowed = true
			}
		}
	}
	return allowed
}

// integrate is the AWS_PROXY integration.
func (a *API) integrate(w http.ResponseWriter, r *http.Request, function string, ev *events.APIGatewayProxyRequest) {
	payload, err := json.Marshal(ev)
	if err != nil {
		gatewayResponse(w, r, integrationFailure)
		return
	}
	f := a.Functions[function]
	if function == web.FunctionMCPRun || function == web.FunctionMCPRemote {
		err = streamed(w, r, f, payload)
	} else {
		err = whole(w, r, f, payload)
	}
	switch {
	case errors.Is(err, http.ErrAbortHandler):
		fmt.Fprintf(a.Log, "api | %s broke off\n", function)
		panic(http.ErrAbortHandler)
	case errors.Is(err, context.DeadlineExceeded):
		gatewayResponse(w, r, integrationTimedOut)
	case err != nil:
		fmt.Fprintf(a.Log, "api | %s %s: %s: %v\n", r.Method, ev.Resource, function, err)
		gatewayResponse(w, r, integrationFailure)
	}
}

// whole passes on an answer that came whole.
func whole(w http.ResponseWriter, r *http.Request, f Function, payload []byte) error {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() { // the function goes on, whether somebody waits or not
		resp, err := f.Invoke(context.WithoutCancel(r.Context()), payload)
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		done <- result{data, err}
	}()
	timer := time.NewTimer(integrationTimeout)
	defer timer.Stop()
	var got result
	select {
	case got = <-done:
	case <-timer.C:
		return context.DeadlineExceeded
	}
	var out events.APIGatewayProxyResponse
	if got.err != nil {
		return got.err
	}
	if err := json.Unmarshal(got.data, &out); err != nil || out.StatusCode == 0 {
		return errors.New("malformed Lambda proxy response")
	}
	copyHeaders(w.Header(), out.Headers, out.MultiValueHeaders)
	w.WriteHeader(out.StatusCode)
	_, _ = io.WriteString(w, out.Body) // in base64 as it is: the API has no binary media types
	return nil
}
