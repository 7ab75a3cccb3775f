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

// invokeTimeout is longer than a renewal that waits for another one.
const invokeTimeout = 75 * time.Second

// NewLambda is a client for [RefreshFunction]: an answer takes as long as a
// provider does, and a call that was answered late is not made twice.
func NewLambda(cfg aws.Config) *lambda.Client {
	return lambda.NewFromConfig(cfg, func(o *lambda.Options) {
		o.HTTPClient = awshttp.NewBuildableClient().WithTimeout(invokeTimeout).
			WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout })
		o.RetryMaxAttempts = 2
	})
}

// RefreshFunction asks the function refresh of that name or ARN for tokens.
func RefreshFunction(api Invoker, name string) *refresh.Remote {
	return &refresh.Remote{Invoke: func(ctx context.Context, call []byte) ([]byte, error) {
		payload, err := json.Marshal(struct {
			Lanyard string          `json:"lanyard"`
			Call    json.RawMessage `json:"call"`
		}{"token", call})
		if err != nil {
			return nil, err
		}
		out, err := api.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Payload: payload})
		if err != nil {
			return nil, failed(err)
		}
		if out.FunctionError != nil {
			// What it says is in the function's own log.
			return nil, errors.New("the function refresh failed: " + aws.ToString(out.FunctionError))
		}
		return out.Payload, nil
	}}
}
