package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/lanyardhq/lanyard/internal/refresh"
)

// Invoker is what asking another function takes. [*lambda.Client] has it.
type Invoker interface {
	Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// How long another function may take to answer: longer than a renewal that
// waits for another one, and than a tool of a remote server.
const (
	invokeTimeout = 75 * time.Second
	relayTimeout  = 5 * time.Minute
)

// NewLambda is a client for [RefreshFunction]: an answer takes as long as a
// provider does, and a call that was answered late is not made twice.
func NewLambda(cfg aws.Config) *lambda.Client { return newLambda(cfg, invokeTimeout, 2) }

// NewRelayLambda is a client for [RemoteFunction], by which no call is made
// twice.
func NewRelayLambda(cfg aws.Config) *lambda.Client { return newLambda(cfg, relayTimeout, 1) }

func newLambda(cfg aws.Config, timeout time.Duration, attempts int) *lambda.Client {
	return lambda.NewFromConfig(cfg, func(o *lambda.Options) {
		o.HTTPClient = awshttp.NewBuildableClient().WithTimeout(timeout).
			WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout })
		o.RetryMaxAttempts = attempts
	})
}

// RefreshFunction asks the function refresh of that name or ARN for tokens.
func RefreshFunction(api Invoker, name string) *refresh.Remote {
	return &refresh.Remote{Invoke: direct(api, name, "token")}
}

// RemoteFunction has the function of that name or ARN, which has a way out, send
// requests to remote servers: it is a [host.Service.Relay].
func RemoteFunction(api Invoker, name string) func(ctx context.Context, call []byte) ([]byte, error) {
	return direct(api, name, "remote")
}

// direct invokes a function of ours with a call of that kind.
func direct(api Invoker, name, kind string) func(ctx context.Context, call []byte) ([]byte, error) {
	return func(ctx context.Context, call []byte) ([]byte, error) {
		payload, err := json.Marshal(struct {
			Lanyard string          `json:"lanyard"`
			Call    json.RawMessage `json:"call"`
		}{kind, call})
		if err != nil {
			return nil, err
		}
		out, err := api.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Payload: payload})
		if err != nil {
			return nil, failed(err)
		}
		if out.FunctionError != nil {
			// What it says is in the function's own log.
			return nil, errors.New("the function " + name + " failed: " + aws.ToString(out.FunctionError))
		}
		return out.Payload, nil
	}
}
