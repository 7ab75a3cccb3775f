package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lanyardhq/lanyard/presets"
)

const (
	maxBody        = 1 << 20
	requestTimeout = 30 * time.Second
)

// call is one request, ready but for its encoding.
type call struct {
	op       op
	method   string
	url      *url.URL
	header   http.Header
	encoding string
	params   map[string]string
	success  presets.Success
	// secrets are what must not come back in an error's words.
	secrets []string
	// format of the reply, as in presets.Response.
	format string
}

// reply is a success by status and by the provider's own sign of success.
type reply struct {
	status int
	doc    any // nil when the body was neither JSON nor a form
}

// send does the request once. The error is an *[Error], or wraps [ErrTarget]
// when the guard refused the address.
func (e *Engine) send(ctx context.Context, p presets.Provider, c call) (reply, error) {
	ctx, cancel := deadline(ctx)
	defer cancel()
	var reached atomic.Bool
	// From here on a request may leave; before there is a connection none can.
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { reached.Store(true) },
	})
	req, err := c.request(ctx)
	if err != nil {
		return reply{}, fmt.Errorf("%w: the request cannot be built", ErrTarget)
	}
	start := e.now()
	resp, err := GuardedClient(e.HTTP, e.AllowLoopback).Do(req)
	if err != nil {
		if errors.Is(err, ErrForbiddenAddress) {
			return reply{}, fmt.Errorf("%w: %s: %w", ErrTarget, p.DisplayName, ErrForbiddenAddress)
		}
		return reply{}, e.unanswered(ctx, p, c, err, reached.Load(), 0, start)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return reply{}, e.unanswered(ctx, p, c, err, true, resp.StatusCode, start)
	}
	var doc any
	if len(body) <= maxBody {
		doc = parse(body, c.format)
	}
	if succeeded(c.success, resp.StatusCode, doc) {
		e.log(ctx, p, c, resp.StatusCode, OK, start)
		return reply{status: resp.StatusCode, doc: doc}, nil
	}
	failed := c.failed(p, resp.StatusCode, doc)
	failed.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), e.now())
	e.log(ctx, p, c, resp.StatusCode, failed.Verdict, start)
	return reply{}, failed
}

// request encodes the call. GetBody stays nil and the connection is not kept,
// so that net/http cannot send it a second time by itself.
func (c call) request(ctx context.Context) (*http.Request, error) {
	target := *c.url
	var body string
	values := url.Values{}
	for name, value := range c.params {
		values.Set(name, value)
	}
	header := c.header.Clone()
	switch {
	case c.encoding == presets.EncodingJSON:
		data, err := json.Marshal(c.params)
		if err != nil {
			return nil, err
		}
		body = string(data)
		header.Set("Content-Type", "application/json")
	case c.encoding == presets.EncodingQuery || c.method == http.MethodGet:
		query := target.Query()
		for name := range values {
			query.Set(name, values.Get(name))
		}
		target.RawQuery = query.Encode()
	case len(values) > 0: // of no body, the type is nothing that a provider may refuse
		body = values.Encode()
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req, err := http.NewRequestWithContext(ctx, c.method, target.String(), nil)
	if err != nil {
		return nil, err
	}
	if body != "" {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Close = true
	return req, nil
}

// succeeded applies the provider's sign of success. By default it is the
// status alone; whether the reply holds what was asked for is seen by whoever
// reads it.
func succeeded(s presets.Success, status int, doc any) bool {
	if len(s.Status) == 0 && (status < 200 || status > 299) || len(s.Status) > 0 && !statusIn(s.Status, status) {
		return false
	}
	if s.Path == "" {
		return true
	}
	value, _ := text(lookup(doc, s.Path))
	return value == s.Equals
}

// failed judges a reply that is not a success, or not one of use.
func (c call) failed(p presets.Provider, status int, doc any) *Error {
	f := failure{op: c.op, status: status}
	for _, path := range orPaths(p.Response.Error.Code, "error") {
		f.codes = append(f.codes, texts(lookup(doc, path))...)
	}
	f.garbled = status < 300 && len(f.codes) == 0
	verdict, code := decide(p, f)
	var description string
	for _, path := range orPaths(p.Response.Error.Description, "error_description") {
		if description == "" {
			description, _ = text(lookup(doc, path))
		}
	}
	if description == "" && len(f.codes) == 0 {
		description = shape(status, doc)
	}
	return &Error{
		Verdict:     verdict,
		Code:        clean(code, maxCode, c.secrets),
		Description: clean(description, maxDescription, c.secrets),
		Status:      status,
		// A refusal with a code is an answer; everything else may hide that the
		// request was carried out.
		Ambiguous: status >= 500 || status == http.StatusRequestTimeout || status < 400 && len(f.codes) == 0,
		provider:  p.DisplayName,
		op:        c.op,
	}
}

// shape describes a reply that explains nothing itself.
func shape(status int, doc any) string {
	switch {
	case status >= 300 && status < 400:
		return "it sent a redirect, which is not followed"
	case doc == nil && status < 400:
		return "the reply is neither JSON nor a form"
	case status < 300:
		return "the reply lacks what was asked for"
	}
	return ""
}

// unanswered judges a request that got no reply, or not all of it.
func (e *Engine) unanswered(ctx context.Context, p presets.Provider, c call, err error, reached bool, status int, start time.Time) *Error {
	failed := &Error{Verdict: ProviderDown, Status: status, Ambiguous: reached, provider: p.DisplayName, op: c.op}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the outer one repeats the URL, which may hold a token
	}
	switch {
	case errors.Is(err, context.Canceled):
		failed.Verdict, failed.Description = Transient, "the request was abandoned"
	case errors.Is(err, context.DeadlineExceeded) && status != 0:
		failed.Description = "its answer did not end in time"
	case errors.Is(err, context.DeadlineExceeded):
		failed.Description = "no answer in time"
	case errors.Is(err, io.ErrUnexpectedEOF) && status != 0:
		failed.Description = "its answer broke off"
	default:
		failed.Description = clean(err.Error(), maxDescription, c.secrets)
	}
	e.log(ctx, p, c, status, failed.Verdict, start)
	return failed
}

func (e *Engine) log(ctx context.Context, p presets.Provider, c call, status int, v Verdict, start time.Time) {
	e.logger().DebugContext(ctx, "provider request", "provider", p.ID, "request", string(c.op),
		"status", status, "verdict", string(v), "took", e.now().Sub(start))
}
