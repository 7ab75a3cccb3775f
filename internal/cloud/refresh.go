package cloud

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/lanyardhq/lanyard/internal/refresh"
)

// Invoker is what asking another function takes. [*lambda.Client] has it.
type Invoker interface {
	Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
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
