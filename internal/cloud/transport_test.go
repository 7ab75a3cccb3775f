package cloud_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/lanyardhq/lanyard/internal/cloud"
)

// transport stands between a client and the emulator. It breaks calls as it is
// told, and mends where the emulator is not like AWS: KMS answers
// IncorrectKeyException to a key that another one wrapped, and moto knows
// AccessDeniedException only.
type transport struct {
	t *testing.T
	// fault decides on the n-th call (from 1) of the operation.
	fault func(operation string, n int) fault

	mu    sync.Mutex
	calls map[string]int
}

// fault is what goes wrong with a call: nothing, if it is zero.
type fault struct {
	// status and code answer in the service's place.
	status int
	code   string
	// lost: the call is made, but its answer does not arrive.
	lost bool
	// hangs: no answer comes at all, and the call is not made.
	hangs bool
}

var errConnection = errors.New("read: connection reset by peer")

func (tr *transport) Do(r *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	tr.mu.Lock()
	if tr.calls == nil {
		tr.calls = map[string]int{}
	}
	tr.calls[operation]++
	var f fault
	if tr.fault != nil {
		f = tr.fault(operation, tr.calls[operation])
	}
	tr.mu.Unlock()
	switch {
	case f.hangs:
		<-r.Context().Done()
		return nil, r.Context().Err()
	case f.status != 0:
		return answerOf(r, f.status, f.code, "as the test wants it"), nil
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if f.lost {
		return nil, errConnection
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close()
	if operation == "Decrypt" && bytes.Contains(body, []byte("AccessDeniedException")) {
		return answerOf(r, 400, "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation."), nil
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

func answerOf(r *http.Request, status int, code, message string) *http.Response {
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amzn-Requestid": {"test"}},
		Body:   io.NopCloser(strings.NewReader(fmt.Sprintf(`{"__type":%q,"message":%q}`, code, message))),
	}
}

func (tr *transport) count(operation string) int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.calls[operation]
}

// on breaks the operation's calls numbered from to to (from 1) with f.
func on(operation string, from, to int, f fault) func(string, int) fault {
	return func(called string, n int) fault {
		if called == operation && from <= n && n <= to {
			return f
		}
		return fault{}
	}
}

const always = 1 << 30

// through is a configuration for moto behind a transport that breaks calls.
func through(t *testing.T, broken func(operation string, n int) fault) (aws.Config, *transport) {
	t.Helper()
	tr := &transport{t: t, fault: broken}
	cfg := awsConfig(t, "LANYARD_TEST_AWS")
	cfg.HTTPClient = tr
	cfg.Retryer = func() aws.Retryer { // as ours, but without the pauses
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.Backoff = 3, retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
			o.RateLimiter = ratelimit.None
		})
	}
	return cfg, tr
}

// newKMS makes a key, and its adapter on the configuration.
func newKMS(t *testing.T, cfg aws.Config) *cloud.Keys {
	t.Helper()
	plain, _ := through(t, nil)
	out, err := kms.NewFromConfig(plain).CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	return &cloud.Keys{KMS: kms.NewFromConfig(cfg), ID: *out.KeyMetadata.Arn}
}

// newSecrets is a Secrets Manager of the test's own.
func newSecrets(t *testing.T, cfg aws.Config) *cloud.SecretStore {
	t.Helper()
	return &cloud.SecretStore{Client: secretsmanager.NewFromConfig(cfg), Prefix: fmt.Sprintf("lanyard-%d-%d", os.Getpid(), tables.Add(1))}
}

// TestRequestsAreWhole: header and body of a request arrive together.
func TestRequestsAreWhole(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	first := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			first <- err.Error()
			return
		}
		defer conn.Close()
		got := make([]byte, 1<<16)
		n, _ := conn.Read(got)
		first <- string(got[:n])
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
	}()
	cfg, err := cloud.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body := struct{ io.Reader }{strings.NewReader("the body")} // of a type that net/http does not know
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+listener.Addr().String(), body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(len("the body"))
	response, err := cfg.HTTPClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if got := <-first; !strings.HasPrefix(got, "POST / ") || !strings.HasSuffix(got, "\r\n\r\nthe body") {
		t.Errorf("at first came %q", got)
	}
}
