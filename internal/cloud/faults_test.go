package cloud_test

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/cloud"
	"github.com/lanyardhq/lanyard/internal/conformance"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/discover"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// trouble is what befalls a call on its way.
type trouble int

const (
	calm trouble = iota
	throttled
	serverError
	timedOut
	refusedConnection
	// lost: the service did what it was asked, and the answer did not arrive.
	lost
)

var troubles = map[trouble]string{throttled: "throttled", serverError: "500", timedOut: "timed out", refusedConnection: "no connection", lost: "answer lost"}

// weather decides what befalls each attempt of a call.
type weather struct {
	decide func(operation string, attempt string, id string) trouble
	mu     sync.Mutex
	count  map[trouble]int
}

// Do implements the SDK's HTTP client.
func (w *weather) Do(r *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	attempt := "1"
	for part := range strings.SplitSeq(r.Header.Get("Amz-Sdk-Request"), ";") {
		if n, ok := strings.CutPrefix(strings.TrimSpace(part), "attempt="); ok {
			attempt = n
		}
	}
	f := w.decide(operation, attempt, r.Header.Get("Amz-Sdk-Invocation-Id"))
	w.mu.Lock()
	if w.count == nil {
		w.count = map[trouble]int{}
	}
	w.count[f]++
	w.mu.Unlock()
	switch f {
	case throttled:
		return reply(r, 400, `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"too much"}`), nil
	case serverError:
		return reply(r, 500, `{"__type":"InternalServerError","message":"sorry"}`), nil
	case timedOut:
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: context.DeadlineExceeded}
	case refusedConnection:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	resp, err := http.DefaultClient.Do(r)
	if err == nil && f == lost {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return resp, err
}

func reply(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, Body: io.NopCloser(strings.NewReader(body))}
}

// under is the configuration in that weather. Tries follow each other at once,
// and no quota of theirs runs out: the racers of the suites fail by hundreds.
func under(cfg aws.Config, w *weather) aws.Config {
	cfg.HTTPClient = w
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff, o.RateLimiter = 3, time.Millisecond, ratelimit.None
		})
	}
	return cfg
}

// storm lets the first attempt of most calls fail, each in another way. What
// is repeated then must not be done twice, and must not be taken for somebody
// else's.
func storm() *weather {
	return &weather{decide: func(_, attempt, id string) trouble {
		if attempt != "1" {
			return calm
		}
		h := fnv.New32a()
		h.Write([]byte(id))
		return trouble(h.Sum32() % uint32(lost+1))
	}}
}

// TestStores in the storm: each contract holds although most calls fail once.
func TestStoresInTheStorm(t *testing.T) {
	for name, variable := range emulators {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calmConfig := awsConfig(t, variable)
			w := storm()
			table := func(t *testing.T) *cloud.Table {
				made := newTable(t, calmConfig)
				return reopened(under(calmConfig, w), made)
			}
			t.Run("suites", func(t *testing.T) {
				t.Run("Connections", func(t *testing.T) {
					conformance.Connections(t, func(t *testing.T) connection.Store { return table(t) })
				})
				t.Run("Slots", func(t *testing.T) {
					conformance.Slots(t, func(t *testing.T) vault.Slots { return table(t).Grants() })
				})
				t.Run("Flows", func(t *testing.T) {
					conformance.Flows(t, func(t *testing.T) flow.Store { return table(t) })
				})
				t.Run("SignIns", func(t *testing.T) {
					conformance.SignIns(t, func(t *testing.T) signin.Store { return table(t) })
				})
				t.Run("Tasks", func(t *testing.T) {
					conformance.Tasks(t, func(t *testing.T) host.Store { return table(t) })
				})
				t.Run("Pool", func(t *testing.T) {
					conformance.Pool(t, func(t *testing.T) host.Pool { return table(t) })
				})
				t.Run("Registrations", func(t *testing.T) {
					conformance.Registrations(t, func(t *testing.T) discover.Registrations { return table(t) })
				})
				t.Run("Catalogues", func(t *testing.T) {
					conformance.Catalogues(t, func(t *testing.T) host.Catalogues { return table(t) })
				})
				t.Run("Gates", func(t *testing.T) {
					conformance.Gates(t, func(t *testing.T) refresh.Gates { return table(t) })
				})
				t.Run("AuthServer", func(t *testing.T) {
					conformance.AuthServer(t, func(t *testing.T) authserver.Store { return table(t).AuthServer() })
				})
				t.Run("Audit", func(t *testing.T) {
					conformance.Audit(t, func(t *testing.T) conformance.AuditLog { return table(t).Audit() })
				})
			})
			for f, name := range troubles {
				if w.count[f] == 0 {
					t.Errorf("no call was %s", name)
				}
			}
		})
	}
}

// TestUnavailable: what does not pass is said to be ours and to be passing, and
// the call that failed is named.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	for f, name := range troubles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := awsConfig(t, "LANYARD_TEST_AWS")
			made := newTable(t, cfg)
			k := connection.Key{Tenant: "default", ID: "con_1"}
			now := clock()
			if err := made.Create(t.Context(), connection.Connection{Key: k, CreatedAt: now}); err != nil {
				t.Fatal(err)
			}
			table := reopened(under(cfg, &weather{decide: func(string, string, string) trouble { return f }}), made)
			calls := map[string]func(context.Context) error{
				"GetItem": func(ctx context.Context) error { _, err := table.Get(ctx, k); return err },
				"Query":   func(ctx context.Context) error { _, err := table.MCPTokens(ctx, k); return err },
				"PutItem": func(ctx context.Context) error { return table.PutFlow(ctx, flow.Flow{ID: "flo_1", ExpiresAt: now}) },
				"TransactWriteItems": func(ctx context.Context) error {
					return table.Create(ctx, connection.Connection{Key: connection.Key{Tenant: "default", ID: "con_2"}, CreatedAt: now})
				},
			}
			for operation, call := range calls {
				err := call(t.Context())
				if !errors.Is(err, connection.ErrUnavailable) || !strings.Contains(err.Error(), operation) {
					t.Errorf("%s: %v, want %v and the name of the call", operation, err, connection.ErrUnavailable)
				}
			}
		})
	}
}

// TestCancelled: who has gone is not told that the storage is down.
func TestCancelled(t *testing.T) {
	t.Parallel()
	table := newTable(t, awsConfig(t, "LANYARD_TEST_AWS"))
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, err := table.Get(ctx, connection.Key{}); !errors.Is(err, context.Canceled) || errors.Is(err, connection.ErrUnavailable) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

// TestDenied: what no waiting helps is not said to pass.
func TestDenied(t *testing.T) {
	t.Parallel()
	cfg := awsConfig(t, "LANYARD_TEST_AWS")
	table := reopened(cfg, &cloud.Table{Name: "no-such-table", Now: clock, AuditDays: 400})
	_, err := table.Get(t.Context(), connection.Key{})
	if err == nil || errors.Is(err, connection.ErrUnavailable) || errors.Is(err, connection.ErrNotFound) || !strings.Contains(err.Error(), "GetItem") {
		t.Errorf("a table that is not there: %v", err)
	}
}
