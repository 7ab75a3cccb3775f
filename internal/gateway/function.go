package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// Function is what one Lambda function serves. A field that is nil is a kind of
// event that it refuses.
type Function struct {
	// HTTP answers the REST API's requests.
	HTTP http.Handler
	// Stream sends HTTP's answers while they are made: the integration's
	// response transfer mode must be STREAM then, and must not otherwise be.
	Stream bool
	// Authorize lets a request of the REST API pass. Its error ErrUnauthenticated
	// becomes API Gateway's UNAUTHORIZED answer.
	Authorize func(ctx context.Context, r *http.Request, methodARN string) (events.APIGatewayCustomAuthorizerResponse, error)
	// Direct are the invocations of our own, by what "lanyard" says in them.
	Direct map[string]func(ctx context.Context, event json.RawMessage) (any, error)
	// Message attends one message of a queue, beside the others of its batch. One
	// that fails comes again.
	Message func(ctx context.Context, body string) error
	// Settle, when set, is called when a batch was attended, and returns when
	// nothing that was begun for it is under way any more.
	Settle func()
	// Resource answers CloudFormation, which waits for it at a URL in the event.
	Resource func(ctx context.Context, event json.RawMessage) (any, error)
	// Event takes what EventBridge tells. If it fails, Lambda has it come again.
	Event func(ctx context.Context, event events.EventBridgeEvent) error
	// Logger is needed.
	Logger *slog.Logger
}

// ErrUnauthenticated is the very text that API Gateway wants from an authorizer
// for a 401; any other error is a 500 to it.
var ErrUnauthenticated = errors.New("Unauthorized") //nolint:staticcheck // the text is theirs

var (
	errNotServed = errors.New("this function does not serve such events")
	errAborted   = errors.New("the answer was aborted")
)

// failed is what is answered when a handler panicked, and late when it does not
// end.
const (
	failed = `{"error":"internal","error_description":"something went wrong on our side","hint":"Try again in a moment. Whoever runs this finds the cause in the function's log."}` + "\n"
	late   = `{"error":"timeout","error_description":"this took too long","hint":"Try again in a moment."}` + "\n"
)

func problemHeader() http.Header {
	return http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}
}

// shape are the parts of an event by which its kind is told.
type shape struct {
	Lanyard        *string          `json:"lanyard"`
	Type           string           `json:"type"`
	MethodARN      string           `json:"methodArn"`
	HTTPMethod     string           `json:"httpMethod"`
	RequestContext *json.RawMessage `json:"requestContext"`
	Version        string           `json:"version"`
	RequestType    string           `json:"RequestType"`
	StackID        string           `json:"StackId"`
	DetailType     string           `json:"detail-type"`
	Source         string           `json:"source"`
	Records        []struct {
		EventSource string `json:"eventSource"`
	} `json:"Records"`
}

// Handle serves one invocation: it is what the Lambda runtime is started with.
// A panic is logged and becomes an error, and the process goes on.
func (f *Function) Handle(ctx context.Context, raw json.RawMessage) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			f.log(ctx, "an invocation panicked", p)
			out, err = nil, fmt.Errorf("the invocation panicked: see the log")
		}
	}()
	var s shape
	if json.Unmarshal(raw, &s) != nil {
		// The cause could quote the event.
		return nil, errors.New("the event is not JSON of any kind that is known")
	}
	switch {
	case s.Lanyard != nil:
		return f.direct(ctx, *s.Lanyard, raw)
	case s.Type == "REQUEST" && s.MethodARN != "":
		return f.authorize(ctx, raw)
	case s.HTTPMethod != "" && s.RequestContext != nil:
		return f.http(ctx, raw)
	case s.RequestType != "" && s.StackID != "":
		if f.Resource == nil {
			return nil, fmt.Errorf("%w: a CloudFormation custom resource", errNotServed)
		}
		return f.Resource(ctx, raw)
	case len(s.Records) > 0 && s.Records[0].EventSource == "aws:sqs":
		return f.messages(ctx, raw)
	case s.DetailType != "" && s.Source != "":
		return nil, f.event(ctx, raw)
	case s.Version == "2.0":
		return nil, fmt.Errorf("%w: an HTTP API's or a function URL's; a REST API's integration is needed", errNotServed)
	}
	return nil, fmt.Errorf("%w: it is none of a REST proxy event, a REQUEST authorizer's, {\"lanyard\": …}, a batch of SQS, EventBridge's and a custom resource", errNotServed)
}

func (f *Function) direct(ctx context.Context, what string, raw json.RawMessage) (any, error) {
	if do := f.Direct[what]; do != nil {
		return do(ctx, raw)
	}
	var names []string
	for name := range f.Direct {
		names = append(names, name)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("%w: lanyard %.40q; it serves %q", errNotServed, what, strings.Join(names, ", "))
}

func (f *Function) event(ctx context.Context, raw json.RawMessage) error {
	var ev events.EventBridgeEvent
	if f.Event == nil {
		return fmt.Errorf("%w: EventBridge's", errNotServed)
	}
	if json.Unmarshal(raw, &ev) != nil {
		return fmt.Errorf("%w: it is malformed", errEvent)
	}
	return f.Event(ctx, ev)
}

func (f *Function) authorize(ctx context.Context, raw json.RawMessage) (any, error) {
	var ev struct {
		events.APIGatewayProxyRequest
		MethodARN string `json:"methodArn"`
	}
	if f.Authorize == nil {
		return nil, fmt.Errorf("%w: a REQUEST authorizer's", errNotServed)
	}
	if json.Unmarshal(raw, &ev) != nil {
		return nil, fmt.Errorf("%w: it is malformed", errEvent)
	}
	r, err := Request(ctx, &ev.APIGatewayProxyRequest)
	if err != nil {
		return nil, err
	}
	return f.Authorize(ctx, r, ev.MethodARN)
}

func (f *Function) http(ctx context.Context, raw json.RawMessage) (any, error) {
	var ev events.APIGatewayProxyRequest
	if f.HTTP == nil {
		return nil, fmt.Errorf("%w: a REST proxy event", errNotServed)
	}
	if json.Unmarshal(raw, &ev) != nil {
		return nil, fmt.Errorf("%w: it is malformed", errEvent)
	}
	if f.Stream {
		return f.stream(ctx, &ev)
	}
	ctx, cancel := ending(ctx)
	defer cancel()
	r, err := Request(ctx, &ev)
	if err != nil {
		return nil, err
	}
	b := &buffer{header: http.Header{}}
	if p := f.serve(b, r); p != nil {
		b = &buffer{header: problemHeader()}
		b.WriteHeader(http.StatusInternalServerError)
		b.body.WriteString(failed)
	}
	return b.response(r.Method), nil
}

// messages attends a batch, one message beside the other: those that failed are
// named, and alone come again.
func (f *Function) messages(ctx context.Context, raw json.RawMessage) (any, error) {
	if f.Message == nil {
		return nil, fmt.Errorf("%w: a batch of SQS", errNotServed)
	}
	var ev events.SQSEvent
	if json.Unmarshal(raw, &ev) != nil {
		return nil, fmt.Errorf("%w: the batch is malformed", errEvent)
	}
	errs := make([]error, len(ev.Records))
	var all sync.WaitGroup
	for i, m := range ev.Records {
		all.Go(func() { errs[i] = f.attend(ctx, m.Body) })
	}
	all.Wait()
	if f.Settle != nil {
		f.Settle()
	}
	out := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	for i, m := range ev.Records {
		if errs[i] != nil {
			f.Logger.WarnContext(ctx, "a message was not attended and comes again", "message", m.MessageId, "err", errs[i])
			out.BatchItemFailures = append(out.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
		}
	}
	return out, nil
}

func (f *Function) attend(ctx context.Context, body string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			f.log(ctx, "attending a message panicked", p)
			err = errors.New("it panicked")
		}
	}()
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.Message(ctx, body)
}

// serve runs the handler and returns what it panicked with.
func (f *Function) serve(w http.ResponseWriter, r *http.Request) (panicked any) {
	defer func() {
		if panicked = recover(); panicked != nil && panicked != http.ErrAbortHandler {
			f.log(r.Context(), "a handler panicked", panicked)
		}
	}()
	f.HTTP.ServeHTTP(w, r)
	return nil
}

// log is one line, stack and all.
func (f *Function) log(ctx context.Context, what string, panicked any) {
	f.Logger.ErrorContext(ctx, what, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
}

// Before the invocation must be over, in which API Gateway would otherwise see
// it fail: endBefore ends the request, and lastBefore does not wait longer.
const (
	endBefore  = time.Second
	lastBefore = 300 * time.Millisecond
)

// ending returns a context that ends a little before the invocation must.
func ending(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-endBefore))
}

// lastMoment calls f shortly before the invocation of an ending context must be
// over, unless stop is called first.
func lastMoment(ctx context.Context, f func()) (stop func() bool) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return func() bool { return true }
	}
	return time.AfterFunc(time.Until(deadline)+endBefore-lastBefore, f).Stop
}
