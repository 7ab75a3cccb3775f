package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// The times of a call: an attempt that hangs is given up, and the call tried
// again, well within what a person waits.
const (
	attemptTimeout = 5 * time.Second
	dialTimeout    = 2 * time.Second
	attempts       = 4
)

// Load reads the SDK's own settings (region, credentials, endpoints) from the
// environment.
func Load(ctx context.Context) (aws.Config, error) {
	client := awshttp.NewBuildableClient().WithTimeout(attemptTimeout).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = 100 })
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client), config.WithRetryer(func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = attempts, 2*time.Second })
	}))
	if err != nil {
		return cfg, fmt.Errorf("read the AWS settings: %w", err)
	}
	if cfg.Region == "" {
		return cfg, errors.New("no AWS region is set: set AWS_REGION, or choose a profile with AWS_PROFILE")
	}
	cfg.HTTPClient = whole{cfg.HTTPClient}
	return cfg, nil
}

// whole sends each request as one: of a body that net/http does not know to lie
// in memory, as those of the SDK, it sends the header alone first.
type whole struct{ aws.HTTPClient }

func (w whole) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.ContentLength > 0 && r.ContentLength < maxWhole {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, err
		}
		if err := r.Body.Close(); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return w.HTTPClient.Do(r)
}

// maxWhole is the longest body that is sent so: no request of ours is as long.
const maxWhole = 1 << 20

// failed is an error of AWS itself: one that may pass is
// [connection.ErrUnavailable]. Its text names the service and the call, for
// the operator's log.
func failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return err
	case passing(err):
		return fmt.Errorf("%w: %w", connection.ErrUnavailable, err)
	}
	return err
}

// passing reports whether the same call may succeed later, with nobody
// changing anything.
func passing(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		if _, ok := retry.DefaultThrottleErrorCodes[api.ErrorCode()]; ok {
			return true
		}
		if _, ok := retry.DefaultRetryableErrorCodes[api.ErrorCode()]; ok {
			return true
		}
		if api.ErrorFault() == smithy.FaultServer {
			return true
		}
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() >= 500 {
		return true
	}
	// Not an answer at all: the connection failed.
	var network net.Error
	return api == nil && errors.As(err, &network)
}
